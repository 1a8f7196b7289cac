"""``cnnlab invert``: feature inversion, images with the same layer outputs as a photo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.cli._generate import (
    Inputs,
    Layers,
    NetworkName,
    Size,
    Steps,
    WeightsFile,
    fitting,
    make_image,
    open_for_images,
)
from cnnlab.cli._options import Device, Json, LooksFolder, Photo, Seed
from cnnlab.cli._output import print_result

if TYPE_CHECKING:
    from cnnlab.generate.descent import Job


def invert(
    photo: Photo,
    layer: Layers = None,
    size: Size = 224,
    smoothness: Annotated[
        float | None, typer.Option(min=0, help="Weight of the total variation; by default larger for later layers.")
    ] = None,
    steps: Steps = 150,
    network: NetworkName = "efficientnet_lite0",
    weights: WeightsFile = None,
    inputs: Inputs = None,
    seed: Seed = 0,
    out: LooksFolder = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make images, from noise, with the same layer outputs as a photo: they show what a layer keeps of it.

    Without --layer the outputs of all stages are inverted, from early to late. Examples: `cnnlab invert cat.jpg` ·
    `cnnlab invert cat.jpg -l blocks.1 -l blocks.4 --size 320`
    """
    from dataclasses import replace
    from functools import partial

    from cnnlab import figures
    from cnnlab.generate.descent import Descent
    from cnnlab.generate.inversion import InversionSettings, inversion_job
    from cnnlab.generate.photos import as_picture, read_photo
    from cnnlab.runs.folder import new_folder

    opened = open_for_images([photo], network, weights, inputs, device, as_json)
    layers = layer or list(opened.stage_layers)
    descent = Descent(size, max(64, size // 2), steps, 2 * steps, seed=seed)

    def job_of(name: str, side: int) -> Job:
        return inversion_job(opened, photo, name, InversionSettings(smoothness, replace(descent, size=side)))

    for name in layers:  # what is wrong with a layer is said before the first image is made
        job_of(name, size)
    folder = new_folder(out, f"invert-{photo.stem}", "looks")
    pictures, titles, losses = [as_picture(read_photo(photo, opened.channels, size))], ["the photo"], {}
    for name in layers:
        job, _ = fitting(partial(job_of, name), size, as_json)
        finished = make_image(job, folder / f"{name}.png", False, as_json)
        losses[name] = finished.losses["content"]
        pictures.append(as_picture(finished.image))
        titles.append(f"{name}\n{losses[name]:.1%} of its output missed")
    figure = figures.save(figures.image_grid(pictures, titles, cell=2.4), folder / "inversion.png")
    lines = [f"{name}: {value:.1%} of the layer's output is missed" for name, value in losses.items()]
    print_result(as_json, {"figure": str(figure), "missed": losses}, [*lines, f"figure: {figure}"])
