"""The trials of a tuning: begun, kept alive, repeated when their process was killed, and read as plain rows.

States in the database: ``COMPLETE`` is a training to its end, or one that failed (accuracy 0, with its reason);
``PRUNED`` one that was stopped early as worse than the median; ``FAIL`` one that was interrupted, which does not count
and is repeated.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnlab.experiments.tuning.space import SearchSpace

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial, TrialState

_BEAT_SECONDS = 10.0
_LOST_SECONDS = 120.0  # without a sign of life of another machine, whose clock may differ a little
RESULT, FAILURE = "result", "failure"
_WORKER, _REPEATS = "worker", "repeats"


@dataclass(frozen=True)
class TrialRow:
    """A trial as people read it.

    Attributes:
        number: its number in the study, from 0.
        state: completed, pruned, failed, interrupted or running.
        accuracy: its accuracy on the validation split: of the epoch whose weights are kept, of the last one where it
            was pruned; None where there is none.
        values: key -> value.
        epochs: number of epochs that were trained.
        kept_epoch: the epoch whose weights are kept.
        loss: the loss on the validation split in that epoch.
        seconds: seconds of training.
        host: name of the machine.
        reason: why it failed.
        by_epoch: epoch -> accuracy on the validation split, for the epochs that were evaluated.
    """

    number: int
    state: str
    accuracy: float | None
    values: dict[str, Any]
    epochs: int = 0
    kept_epoch: int | None = None
    loss: float | None = None
    seconds: float | None = None
    host: str = ""
    reason: str = ""
    by_epoch: Mapping[int, float] | None = None

    @property
    def is_done(self) -> bool:
        """Whether it counts as one of the trials that were asked for."""
        return self.state in ("completed", "pruned", "failed")


def read_trials(study: Study, space: SearchSpace) -> list[TrialRow]:
    """Return the trials of a study in the order of their numbers; those that only wait are left out."""
    return [row_of(trial, space) for trial in study.get_trials(deepcopy=False) if trial.state.name != "WAITING"]


def row_of(trial: FrozenTrial, space: SearchSpace) -> TrialRow:
    """Return a trial of the database as a plain row."""
    reason = trial.user_attrs.get(FAILURE, "")
    state = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "interrupted"}.get(trial.state.name, "running")
    result = trial.user_attrs.get(RESULT, {})
    return TrialRow(
        number=trial.number,
        state="failed" if reason else state,
        accuracy=None if reason or not trial.values else trial.values[0],
        values=space.read(trial.params),
        epochs=result.get("epochs", max(trial.intermediate_values, default=0)),
        kept_epoch=result.get("kept_epoch"),
        loss=result.get("loss"),
        seconds=result.get("seconds"),
        host=trial.user_attrs.get(_WORKER, {}).get("host", ""),
        reason=reason,
        by_epoch=dict(trial.intermediate_values),
    )


def best_of(rows: list[TrialRow]) -> TrialRow | None:
    """Return the completed trial with the highest accuracy, the first of several; None without one."""
    completed = [row for row in rows if row.state == "completed" and row.accuracy is not None]
    return max(completed, key=lambda row: (row.accuracy, -row.number), default=None)


@contextmanager
def alive(trial: Trial) -> Iterator[None]:
    """Write a sign of life into the database every few seconds while the block runs."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_BEAT_SECONDS):
            with suppress(Exception):  # the block itself meets a database that is gone, and says so
                sign_of_life(trial)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def sign_of_life(trial: Trial) -> None:
    """Write which process has a trial, and when it was last seen."""
    trial.set_user_attr(_WORKER, {"host": platform.node(), "process": os.getpid(), "time": time.time()})


def repeat_lost(study: Study, space: SearchSpace) -> list[int]:
    """Give up the running trials whose process is gone and queue them again; return their numbers."""
    from optuna.trial import TrialState

    numbers = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_lost(trial) and give_up(study, trial.number):
            numbers.append(trial.number)
            if set(trial.params) == set(space.varied):
                study.enqueue_trial(trial.params, user_attrs={_REPEATS: trial.number})
    return numbers


def finish(study: Study, trial: Trial, state: TrialState, accuracy: float | None) -> None:
    """Tell the study how a trial of this process ended; nothing if another process gave it up meanwhile as lost."""
    study.tell(trial, accuracy, state, skip_if_finished=True)


def give_up(study: Study, number: int) -> bool:
    """Mark a trial as interrupted; return False when another process did so before."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    try:
        study.tell(number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):
        return False
    return True


def repeat(study: Study, trial: Trial, space: SearchSpace) -> None:
    """Mark a trial of this process as interrupted and queue it again."""
    if give_up(study, trial.number) and set(trial.params) == set(space.varied):
        study.enqueue_trial(trial.params, user_attrs={_REPEATS: trial.number})


def is_repeat(trial: Trial) -> bool:
    """Whether a trial has the values of one that was interrupted."""
    return _REPEATS in trial.user_attrs


def _is_lost(trial: FrozenTrial) -> bool:
    worker = trial.user_attrs.get(_WORKER)
    if worker is None:  # its process has only just begun it, or was killed in that moment
        return trial.datetime_start is not None and time.time() - trial.datetime_start.timestamp() > _LOST_SECONDS
    if worker["host"] == platform.node() and not _runs(worker["process"]):
        return True
    return time.time() - worker["time"] > _LOST_SECONDS


def _runs(process: int) -> bool:
    """Whether a process of this machine runs."""
    if os.name == "nt":
        return True  # there, asking would end it; the sign of life tells
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
