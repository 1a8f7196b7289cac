"""``cnnlab features``: the feature maps of a layer for a photo."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from cnnlab.cli._options import Device, Json, LooksFolder, Network, Photo, layer_option
from cnnlab.cli._output import print_result


class View(StrEnum):
    """The layout of feature maps."""

    grid = "grid"
    strongest = "strongest"
    mean = "mean"


def features(
    run: Network,
    photo: Photo,
    layer: Annotated[str | None, layer_option("the first convolution")] = None,
    view: Annotated[View, typer.Option(help="All channels, the eight strongest, or their mean.")] = View.grid,
    channel: Annotated[
        int | None, typer.Option(help="Also work out one number of this channel of a convolution: its largest.")
    ] = None,
    row: Annotated[int | None, typer.Option(help="Row of the number instead.")] = None,
    column: Annotated[int | None, typer.Option(help="Column of the number instead.")] = None,
    out: LooksFolder = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw the feature maps of a layer for a photo, and on request the arithmetic of one number.

    Examples: `cnnlab features efficientnet_lite0 cat.jpg` · `cnnlab features RUN digit.png --layer conv2` ·
    `cnnlab features RUN digit.png --channel 3 --row 10 --column 12`
    """
    from cnnlab import figures
    from cnnlab.errors import UsageError
    from cnnlab.explain import layer_pixel
    from cnnlab.explain.activations.features import features as features_of
    from cnnlab.runs.classifier import open_classifier
    from cnnlab.runs.folder import new_folder

    if channel is None and (row is not None or column is not None):
        raise UsageError("--row and --column say which number of a channel is worked out: give --channel too.")
    network = open_classifier(run, device, as_trained=False)
    image = network.input(photo)
    activations = features_of(network.model, image, layer)
    one = None if channel is None else layer_pixel(network.model, image, activations.layer, channel, row, column)
    folder = new_folder(out, f"features-{network.name}", "looks")
    path = folder / f"{activations.layer}-{view.value}.png"
    figures.save(activations.figure(view.value, network.views(photo)[1]), path)
    count, height, width = activations.maps.shape
    strongest = [int(channel) for channel in activations.strongest(5)]
    values: dict[str, Any] = {"layer": activations.layer, "shape": [count, height, width]}
    values |= {"strongest": strongest, "silent": activations.silent}
    first = (
        f"{activations.layer}: {count} channels of {height} x {width}, the strongest: {', '.join(map(str, strongest))}"
    )
    lines = [first, f"{activations.silent} of them are zero everywhere in this photo", f"picture: {path}"]
    values |= {"picture": str(path)}
    if one is not None:
        figure = one.save(folder / f"{activations.layer}-{channel}-{one.row}-{one.column}.png")
        values["number"] = {"channel": channel, "row": one.row, "column": one.column, "value": one.value}
        values["number"] |= {"sum": one.sum, "bias": one.bias, "picture": str(figure)}
        lines.append(f"channel {channel}, row {one.row}, column {one.column}: {one.value:.4g}, worked out in {figure}")
    print_result(as_json, values, lines)
