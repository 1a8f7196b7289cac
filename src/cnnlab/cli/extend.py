"""``cnnlab extend``: add epochs to a finished run."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnlab.cli._options import DeviceOfRecipe, Json, MovedData, RunPath, Tensorboard
from cnnlab.cli._training import run_to_end


def extend(
    run: RunPath,
    epochs: Annotated[int, typer.Option(min=1, help="How many epochs to add.")],
    lr: Annotated[
        float | None, typer.Option(min=0.0, help="Rate to start from; a tenth of the recipe's by default.")
    ] = None,
    data: MovedData = None,
    device: DeviceOfRecipe = None,
    tensorboard: Tensorboard = False,
    as_json: Json = False,
) -> None:
    """Add epochs to a finished run; the learning rate falls from --lr to zero by half a cosine."""
    from cnnlab import runs

    opened = runs.open_run(run)
    events = runs.extend(opened, epochs, lr, data=data, device=device)
    run_to_end(events, runs.Recorder(run=opened), tensorboard, as_json)
