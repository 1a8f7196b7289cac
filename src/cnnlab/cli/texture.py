"""``cnnlab texture``: a new picture with the texture of a picture."""

from __future__ import annotations

from typing import Annotated

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
    make_image,
    open_for_images,
    print_image,
)
from cnnlab.cli._options import Device, Json, LooksFolder, Photo, Seed


def texture(
    picture: Photo,
    size: Size = 256,
    width: Annotated[int, typer.Option(min=1, help="Width relative to --height.")] = 1,
    height: Annotated[int, typer.Option(min=1, help="Height relative to --width.")] = 1,
    loss: Kind = "wasserstein",
    smoothness: Annotated[float, typer.Option(min=0, help="Weight of the total variation.")] = 1.0,
    texture_scale: Annotated[float, typer.Option(help="Size of the picture relative to the result.")] = 1.0,
    steps: Steps = 150,
    layer: Layers = None,
    network: NetworkName = "efficientnet_lite0",
    weights: WeightsFile = None,
    inputs: Inputs = None,
    gif: Gif = False,
    seed: Seed = 0,
    out: LooksFolder = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make a new picture, from noise, that has the texture of a picture.

    Examples: `cnnlab texture bricks.jpg` · `cnnlab texture starry_night.jpg --size 384 --width 3 --height 2 --gif`
    """
    from dataclasses import replace

    from cnnlab.generate.descent import Descent
    from cnnlab.generate.style import StyleSettings
    from cnnlab.generate.texture import texture_job
    from cnnlab.runs.folder import new_folder

    opened = open_for_images([picture], network, weights, inputs, device, as_json)
    settings = StyleSettings(
        loss, tuple(layer or ()), tv_weight=smoothness, style_scale=texture_scale,
        descent=Descent(size, steps=steps, first_steps=2 * steps, seed=seed),
    )  # fmt: skip
    job, expected = fitting(
        lambda side: texture_job(
            opened, picture, replace(settings, descent=replace(settings.descent, size=side)), (height, width)
        ),
        size,
        as_json,
    )
    path = new_folder(out, f"texture-{picture.stem}", "looks") / "texture.png"
    print_image(as_json, path, make_image(job, path, gif, as_json), gif, forecast=expected)
