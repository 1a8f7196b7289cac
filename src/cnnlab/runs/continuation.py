"""Go on with a run: resume one that was stopped, extend one that is finished."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cnnlab.data import ImageData, data_sets
from cnnlab.errors import CheckpointError, DataNotFoundError, OtherDataError, RunError
from cnnlab.runs.folder import RunFolder
from cnnlab.runs.training_folder import TrainingFolder, is_run, kind_of_run, run_folders
from cnnlab.training import distributed
from cnnlab.training.build import prepare, start_device
from cnnlab.training.events import Event
from cnnlab.training.loop import fit
from cnnlab.training.recipe import Recipe
from cnnlab.training.session import Session
from cnnlab.training.shipped import absolute_data
from cnnlab.training.state import restore_state


def begun_run(recipe: Recipe, out: str | os.PathLike[str] | None, root: str | Path = "runs") -> RunFolder | None:
    """Return the run that this torchrun was training before it started its processes anew, None if there is none.

    Args:
        recipe: the recipe of the training, for the device on which the processes meet.
        out, root: the folders as in :class:`~cnnlab.runs.recorder.Recorder`.

    Raises:
        RunError: this machine does not see the folder of the run.
    """
    if not distributed.launched():
        return None
    start_device(recipe)
    if not distributed.restarted():
        return None
    folders = run_folders(root) if out is None else [Path(out)]
    begun = [path for path in folders if is_run(path) and _is_of_this_launch(path)]
    path = distributed.broadcast(max(begun, key=lambda path: (path / "env.json").stat().st_mtime, default=None))
    return distributed.together(lambda: RunFolder(path)) if path else None


def _is_of_this_launch(path: Path) -> bool:
    if kind_of_run(path) != RunFolder.kind:
        return False
    run, name = RunFolder(path), distributed.launch_name()
    return name is not None and run.summary.get("launch") == name and run.state.is_file()


def resume(
    run: RunFolder,
    *,
    data: str | os.PathLike[str] | ImageData | None = None,
    device: str | None = None,
    previous: bool = False,
) -> Iterator[Event]:
    """Return the stream of events of the rest of ``run``; record it with ``Recorder(run=run)``.

    On a CPU with the same number of threads the result equals that of an uninterrupted run bit for bit.

    Args:
        run: an unfinished run.
        data: the path of the run's data, when it was moved, or the data itself; it must hold the same
            images. The path in the recipe when ``None``.
        device: the device to go on with; that of the recipe when ``None``.
        previous: whether the training goes on from the last state but one, because the last one is damaged.

    Raises:
        RunError: the run is finished.
        DataNotFoundError: the data is not where it was.
        OtherDataError: the data is not the data that the run was trained on.
        CheckpointError: the state of the run is damaged.
    """
    if run.finished:
        raise RunError(f"{run.path} is finished. `cnnlab extend {run.path} --epochs 5` adds epochs to it.")
    session = _prepared(_elsewhere(run.recipe, data, device), data)
    session.notes += distributed.together(lambda: restore_saved(run, partial(restore_state, session), previous))
    return fit(session.recipe, session=session)


def restore_saved(run: TrainingFolder, restore: Callable[[Path], None], previous: bool) -> list[str]:
    """Restore a session from the last state of its run, or from the one before it; return notes for the reader.

    Args:
        run: the run, of any kind.
        restore: function that restores the session from the file of a state.
        previous: whether the state before the last one is taken, which then becomes the last one.

    Raises:
        OtherDataError: the data is not the data that the run was trained on.
        CheckpointError: the state is damaged; the message says whether there is one before it.
    """
    try:
        restore(run.previous_state if previous else run.state)
    except CheckpointError as error:
        if previous or isinstance(error, OtherDataError) or not run.previous_state.is_file():
            raise
        raise CheckpointError(
            f"{error} The state saved before it is there: `cnnlab resume {run.path} --previous` goes on from that."
        ) from None
    if previous and distributed.rank() == 0:
        run.keep_previous_state()
    before, now = run.env.get("threads"), torch.get_num_threads()
    return [] if before == now else [f"started with {before} threads, now {now}: the last digits will differ"]


def extend(
    run: RunFolder,
    epochs: int,
    lr: float | None = None,
    *,
    data: str | os.PathLike[str] | ImageData | None = None,
    device: str | None = None,
) -> Iterator[Event]:
    """Return the stream of events of ``epochs`` more epochs of a finished ``run``, for ``Recorder(run=run)``.

    The learning rate starts at ``lr`` and falls to zero by half a cosine.

    Args:
        run: a finished run.
        epochs: the number of epochs to add.
        lr: the learning rate to start from; a tenth of the recipe's when ``None``.
        data, device: see :func:`resume`.

    Raises:
        RunError: the run is not finished.
        RecipeError: the number of epochs or the rate makes no sense.
        DataNotFoundError: the data is not where it was.
        OtherDataError: the data is not the data that the run was trained on.
        CheckpointError: the state of the run is damaged.
    """
    if not run.finished:
        raise RunError(f"{run.path} is not finished ({run.status}). Finish it first: `cnnlab resume {run.path}`.")
    recipe = run.recipe
    rate = recipe.lr / 10 if lr is None else lr
    values = _elsewhere(recipe, data, device).values()
    values["extensions"].append({"epochs": epochs, "lr": rate})
    if run.status == "early_stopping":  # the added epochs come after those that were done, not after those planned
        values["stopped_at"] = run.summary["epochs_done"]
    longer = Recipe.make(values, "extension")
    session = _prepared(longer, data)
    restore_state(session, run.state)
    session.notes.append(f"{epochs} epochs are added: the learning rate starts at {rate:g} and falls to 0")
    return fit(session.recipe, session=session)


def _elsewhere(recipe: Recipe, data: Any, device: str | None) -> Recipe:
    """Return the recipe for another device, and for data at another path."""
    changes = {} if device is None else {"device": device}
    if isinstance(data, str | os.PathLike):
        names: Container[str] = data_sets if isinstance(data, str) else ()  # a Path is never the name of a data set
        changes["data"] = absolute_data(os.fspath(data), names)
    return Recipe.make(recipe.values() | changes, "recipe") if changes else recipe


def _prepared(recipe: Recipe, data: str | os.PathLike[str] | ImageData | None) -> Session:
    """Build the session of a run that goes on; its weights come from its state."""
    try:
        return prepare(recipe, data if isinstance(data, ImageData) else None, load_weights=False)
    except DataNotFoundError as error:
        if data is not None:
            raise
        raise DataNotFoundError(f"{error} If the data has moved, say where it is now with --data.") from error
