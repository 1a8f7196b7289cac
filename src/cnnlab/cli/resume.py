"""``cnnlab resume``: go on with a run that was stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnlab.cli._options import DeviceOfRecipe, Json, MovedData, RunPath, Tensorboard
from cnnlab.cli._training import run_to_end


def resume(
    run: RunPath,
    previous: Annotated[bool, typer.Option("--previous", help="Go on from the state before the last one.")] = False,
    data: MovedData = None,
    device: DeviceOfRecipe = None,
    tensorboard: Tensorboard = False,
    as_json: Json = False,
) -> None:
    """Go on with a run that was stopped; the result is that of an uninterrupted one."""
    from cnnlab import runs

    opened = runs.open_run(run)
    events = runs.resume(opened, data=data, device=device, previous=previous)
    run_to_end(events, runs.Recorder(run=opened), tensorboard, as_json)
