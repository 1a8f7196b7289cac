"""Resuming the training of a captioning network that was stopped."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from cnnlab.errors import RunError
from cnnlab.generate.captions.data import CaptionData
from cnnlab.generate.captions.folder import CaptionFolder
from cnnlab.generate.captions.loop import fit_captions
from cnnlab.generate.captions.session import prepare_captions
from cnnlab.generate.captions.state import restore_caption_state
from cnnlab.runs.continuation import restore_saved
from cnnlab.training.events import Event


def resume_captions(
    run: CaptionFolder,
    *,
    data: str | CaptionData | None = None,
    device: str | None = None,
    previous: bool = False,
) -> Iterator[Event]:
    """Return the events of the remaining training of ``run``; record them with ``CaptionRecorder(run=run)``.

    On a CPU with the same number of threads the result equals that of an uninterrupted run bit for bit.

    Args:
        run: an unfinished run.
        data: the path of the run's data, when it was moved, or the data itself; it must hold the same images.
        device: the device to go on with; that of the recipe when ``None``.
        previous: whether the training goes on from the state before the last one, because the last one is damaged.

    Raises:
        RunError: the run is finished.
        OtherDataError: the data is not the data that the run was trained on.
        CheckpointError: the state of the run is damaged.
    """
    if run.finished:
        raise RunError(f"{run.path} is finished after {run.recipe.epochs} epochs. Start a new run with more of them.")
    changes = {"data": data} if isinstance(data, str) else {}
    changes |= {"device": device} if device else {}
    session = prepare_captions(run.recipe.with_overrides(**changes), data if isinstance(data, CaptionData) else None)
    session.notes += restore_saved(run, partial(restore_caption_state, session), previous)
    return fit_captions(session.recipe, session=session)
