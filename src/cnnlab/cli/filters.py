"""``cnnlab filters``: the filters of a convolution as pictures."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cnnlab.cli._options import Device, Json, LooksFolder, Network, layer_option
from cnnlab.cli._output import print_result


def filters(
    run: Network,
    layer: Annotated[str | None, layer_option("the first convolution")] = None,
    before: Annotated[bool, typer.Option("--before", help="Draw the filters before the training beside them.")] = False,
    out: LooksFolder = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw the filters of a convolution: in colour for three input channels, slice by slice otherwise.

    Examples: `cnnlab filters runs/lenet5-mnist5k-1 --before` · `cnnlab filters efficientnet_lite0`
    """
    from cnnlab import figures
    from cnnlab.explain.activations.filters import filters as filters_of
    from cnnlab.runs.classifier import initial_model, open_classifier
    from cnnlab.runs.folder import new_folder

    network = open_classifier(run, device, as_trained=False)
    bank = filters_of(network.model, layer)
    earlier = filters_of(initial_model(run), bank.layer) if before else None
    path = new_folder(out, f"filters-{network.name}", "looks") / f"{bank.layer}.png"
    figures.save(bank.figure(earlier), path)
    count, channels, height, width = bank.weights.shape
    values: dict[str, Any] = {"layer": bank.layer, "shape": list(bank.weights.shape), "picture": str(path)}
    lines = [f"{bank.layer}: {count} filters of {height} x {width} on {channels} channel{'s' * (channels != 1)}"]
    if earlier is not None:
        values["change"] = bank.change(earlier)
        lines.append(f"the training moved the weights by {bank.change(earlier):.0%} of their length")
    print_result(as_json, values, [*lines, f"picture: {path}"])
