"""``cnnlab resume``: go on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path
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
    from cnnlab.runs.training_folder import kind_of_run

    others = {"GAN": _resume_gan, "captioning network": _resume_captions}
    if resume_other := others.get(kind_of_run(run)):
        resume_other(run, data, device, previous, as_json)
        return
    opened = runs.open_run(run)
    events = runs.resume(opened, data=data, device=device, previous=previous)
    run_to_end(events, runs.Recorder(run=opened), tensorboard, as_json)


def _resume_gan(run: Path, data: Path | None, device: str | None, previous: bool, as_json: bool) -> None:
    from cnnlab.cli._gan import train_gan
    from cnnlab.data import data_sets
    from cnnlab.generate.gans.continuation import resume_gan
    from cnnlab.generate.gans.folder import GanFolder
    from cnnlab.generate.gans.recorder import GanRecorder
    from cnnlab.training.shipped import absolute_data

    opened = GanFolder(run)
    place = absolute_data(str(data), data_sets) if data else None
    train_gan(resume_gan(opened, data=place, device=device, previous=previous), GanRecorder(run=opened), None, as_json)


def _resume_captions(run: Path, data: Path | None, device: str | None, previous: bool, as_json: bool) -> None:
    from cnnlab.cli._caption import train_captions
    from cnnlab.generate.captions.continuation import resume_captions
    from cnnlab.generate.captions.folder import CaptionFolder
    from cnnlab.generate.captions.recipe import NAMED_DATA
    from cnnlab.generate.captions.recorder import CaptionRecorder
    from cnnlab.training.shipped import absolute_data

    opened = CaptionFolder(run)
    place = absolute_data(str(data), NAMED_DATA) if data else None
    events = resume_captions(opened, data=place, device=device, previous=previous)
    train_captions(events, CaptionRecorder(run=opened), opened.summary.get("beam", 3), as_json)
