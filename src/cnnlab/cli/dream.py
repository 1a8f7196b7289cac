"""``cnnlab dream``: a photo in which the activations of a network are amplified."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnlab.cli._options import Device, Json, LooksFolder, Network, Photo, Seed, layer_option
from cnnlab.cli._output import print_result


def dream(
    run: Network,
    photo: Photo,
    layer: Annotated[str | None, layer_option("the block before the last stage")] = None,
    target: Annotated[str | None, typer.Option(help="Dream of this class instead.")] = None,
    size: Annotated[int | None, typer.Option(min=8, help="Side in pixels; what the network takes by default.")] = None,
    octaves: Annotated[int, typer.Option(min=1, help="How many sizes.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Steps in each size.")] = 10,
    rate: Annotated[float, typer.Option(help="Change of the mean pixel in a step.")] = 0.015,
    seed: Seed = 0,
    out: LooksFolder = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Amplify in a photo what a layer of a network responds to: a deep dream.

    Examples: `cnnlab dream efficientnet_lite0 clouds.jpg --size 448` ·
    `cnnlab dream efficientnet_lite0 clouds.jpg --target peacock`
    """
    from cnnlab.runs.changed_photos import dream_photo, save_picture
    from cnnlab.runs.classifier import open_classifier
    from cnnlab.runs.folder import new_folder

    network = open_classifier(run, device, as_trained=False)
    dreamt = dream_photo(
        network, photo, layer=layer, target=target, size=size, octaves=octaves, steps=steps, rate=rate, seed=seed
    )
    folder = new_folder(out, f"dream-{network.name}", "looks")
    picture = save_picture(dreamt.pictures[1], folder / "dream.png")
    both = dreamt.save(folder / "before-after.png")
    values = {
        "objective": dreamt.objective, "history": list(dreamt.history), "sizes": [list(size) for size in dreamt.sizes],
        "seconds": dreamt.seconds, "picture": str(picture), "before_after": str(both),
    }  # fmt: skip
    print_result(as_json, values, [
        f"more of {dreamt.objective}, in {dreamt.seconds:.2g} s", f"picture: {picture}", f"before and after: {both}",
    ])  # fmt: skip
