"""``cnnlab style``: a photo in the style of paintings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.cli._generate import (
    Gif,
    Inputs,
    Kind,
    Layers,
    NetworkName,
    Size,
    Steps,
    WeightsFile,
    fitting,
    open_for_images,
    print_image,
    run_to_end,
)
from cnnlab.cli._options import Device, Json, LooksFolder, Photo, Seed, is_named

if TYPE_CHECKING:
    from cnnlab.generate.descent import Job


StyleScale = Annotated[
    float, typer.Option(help="Size of the paintings relative to the photo; above 1: larger strokes.")
]
OriginalColours = Annotated[
    bool, typer.Option("--original-colours", help="Keep the colours of the photo; only lightness is transferred.")
]
Course = Annotated[
    str | None,
    typer.Option(
        help="Do what CS231n does, with squeezenet1_1 and its own sizes, steps and weights of the losses: "
        "composition-vii, scream, starry-night, inversion or texture."
    ),
]


def style(
    context: typer.Context,
    photo: Photo,
    styles: Annotated[list[Path], typer.Argument(metavar="STYLE...", help="One painting or several.")],
    size: Size = 512,
    loss: Kind = "wasserstein",
    content: Annotated[
        float, typer.Option(min=0, help="Weight of the content loss; that of the style loss is 1.")
    ] = 0.03,
    smoothness: Annotated[float, typer.Option(min=0, help="Weight of the total variation.")] = 1.0,
    weight: Annotated[
        list[float] | None, typer.Option("--weight", "-w", help="Weight of a painting, one per STYLE; repeat it.")
    ] = None,
    style_scale: StyleScale = 1.0,
    original_colours: OriginalColours = False,
    steps: Steps = 80,
    layer: Layers = None,
    content_layer: Annotated[
        str | None, typer.Option(help="Layer of the content loss; by default one of the network's stages.")
    ] = None,
    network: NetworkName = "efficientnet_lite0",
    weights: WeightsFile = None,
    inputs: Inputs = None,
    course: Course = None,
    gif: Gif = False,
    seed: Seed = 0,
    out: LooksFolder = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Paint a photo in the style of one painting or several.

    The picture in the output folder is rewritten every two seconds. Examples: `cnnlab style cat.jpg starry_night.jpg` ·
    `cnnlab style cat.jpg wave.jpg scream.jpg -w 2 -w 1 --original-colours --gif` ·
    `cnnlab style cat.jpg scream.jpg --course scream --weights squeezenet.npz --inputs caffe`
    """
    from cnnlab.generate.descent import Descent, optimise
    from cnnlab.generate.style import StyleSettings, style_job
    from cnnlab.runs.folder import new_folder

    if course is not None:
        network = _check_course(course, styles, context, network)
    opened = open_for_images([photo, *styles], network, weights, inputs, device, as_json)

    def job_of(side: int) -> Job:
        settings = StyleSettings(
            loss, tuple(layer or ()), content_layer, content, smoothness, tuple(weight or ()), style_scale,
            original_colours, descent=Descent(side, steps=steps, first_steps=2 * steps, seed=seed),
        )  # fmt: skip
        return style_job(opened, photo, styles, settings)

    if course is not None:
        from cnnlab.generate.cs231n import PRESETS, course_transfer

        events, values = course_transfer(opened, photo, styles[0], PRESETS[course]), {}
    else:
        job, expected = fitting(job_of, size, as_json)
        events, values = optimise(job), {"forecast": expected}
    picture = new_folder(out, f"style-{photo.stem}", "looks") / "styled.png"
    print_image(as_json, picture, run_to_end(events, picture, gif, as_json), gif, **values)


def _check_course(course: str, styles: list[Path], context: typer.Context, network: str) -> str:
    """Refuse what the course does not have, and options that its settings replace; return the network to take."""
    from cnnlab.errors import UnknownNameError, UsageError
    from cnnlab.generate.cs231n import PRESETS

    if course not in PRESETS:
        raise UnknownNameError("setting of the course", course, PRESETS)
    if len(styles) > 1:
        raise UsageError(f"The course takes one painting, not {len(styles)}. Give one, or leave --course out.")
    named = {name for name in context.params if is_named(context, name)}
    usable = {"photo", "styles", "network", "weights", "inputs", "course", "gif", "out", "device", "as_json"}
    if unused := [name for name in context.params if name in named - usable]:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        raise UsageError(f"--course {course} has settings of its own and takes no {names}. Leave out one or the other.")
    return network if "network" in named else "squeezenet1_1"
