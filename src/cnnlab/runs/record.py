"""Write a stream of training events into a run folder while passing it on; resume and extend."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnnlab.data import ImageData
from cnnlab.errors import CheckpointError, DivergedError, OtherDataError, RunError
from cnnlab.files import replacing, write_text
from cnnlab.runs.folder import METRICS, Run, create_run
from cnnlab.training import distributed
from cnnlab.training.checkpoint import ModelFile
from cnnlab.training.events import EpochDone, Event, Finished, Started, StepDone
from cnnlab.training.loop import CHECK_EVERY, fit
from cnnlab.training.recipe import Recipe
from cnnlab.training.session import Session, prepare
from cnnlab.training.state import restore_state, save_state

# A long epoch is saved in its middle, so that a killed process loses at most this many seconds of work. With several
# processes, whose clocks differ, states are saved between epochs only.
SAVE_SECONDS = 600.0
# An epoch on cached features is over sooner than the whole network is saved: the state waits for at most so long.
FEATURE_SAVE_SECONDS = 10.0
STATE = Path("last") / "state.safetensors"
PREVIOUS = Path("last") / "previous.safetensors"


class Recorder:
    """Consumes training events, writes the run folder, passes the events on.

    Args:
        out: the folder to make (see :func:`create_run`); None for the next free name in ``root``.
        root: the folder of runs.
        run: record into this existing run (resume, extend) instead of making one.
        stop: asked after every step; when it answers True the state is saved and the stream ends.

    Attributes:
        run: the run folder, once the first event has passed.
        interrupted: whether ``stop`` ended the stream.
    """

    def __init__(
        self,
        out: str | os.PathLike[str] | None = None,
        root: str | Path = "runs",
        *,
        run: Run | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.out, self.root, self.run, self.stop = out, root, run, stop
        self.interrupted = False
        self._saved_at = time.monotonic()

    def record(self, events: Iterator[Event]) -> Generator[Event, None, None]:
        """Yield ``events`` unchanged; every event is on the disk before it is passed on.

        Closing the generator between two events saves the state first, as Ctrl-C on the command line does.

        Raises:
            RunError: the folder cannot be written. The state saved before stays.
        """
        last: Event | None = None
        try:
            for event in events:
                last = event
                self._write(event)
                yield event
                if isinstance(event, StepDone) and self._asked_to_stop(event):
                    self._interrupt(event.session)
                    return
        except GeneratorExit:
            if isinstance(last, (Started, StepDone, EpochDone)) and distributed.world() == 1:
                self._interrupt(last.session)
            raise
        except DivergedError as error:
            if self.run:
                self.run.update_summary(status="diverged", error=str(error))
                raise DivergedError(f"{error} What was reached before is saved in {self.run.path}.") from None
            raise
        finally:
            if isinstance(events, Generator):
                events.close()

    def _asked_to_stop(self, event: StepDone) -> bool:
        if distributed.world() == 1:
            return self.stop()
        # All must stop after the same step, and asking them waits for the slowest.
        asked = event.step % CHECK_EVERY == 0 or event.step == len(event.session.train_loader)
        return asked and distributed.any_process(self.stop())

    def _write(self, event: Event) -> None:
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, StepDone):
            self._step(event)
        elif isinstance(event, EpochDone):
            self._epoch(event)
        elif isinstance(event, Finished) and distributed.rank() == 0:
            self._finish(event)

    def _start(self, event: Started) -> None:
        session = event.session
        new = self.run is None
        if new and distributed.rank() == 0:
            self.run = create_run(session.recipe, self.out, self.root)
        path = distributed.broadcast(str(self.run.path) if self.run else None)
        if distributed.rank() != 0:
            self.run = None
        self._state = Path(path) / STATE
        if self.run:
            (self.run.path / "last").mkdir(exist_ok=True)
            self.run.update_summary(
                status="running",
                parameters=event.parameters,
                epochs=event.epochs,
                processes=distributed.world(),
                notes=list(event.notes),
                skipped=[list(item) for item in session.data.skipped],
            )
            if new:
                self._write_model(session)
                self._write_split(session.data)
                self.run.write_metrics([])
            else:
                write_text(self.run.path / "recipe.yaml", session.recipe.to_yaml())
                self.run.__dict__.pop("recipe", None)  # the one that was read before
                # Rows of epochs that the saved state does not know will be written again.
                self.run.write_metrics([row for row in self.run.metrics if row["epoch"] <= session.epoch])
            self._log(event)
        if new:
            save_state(session, self._state)

    def _step(self, event: StepDone) -> None:
        every = max(1, len(event.session.train_loader) // 20)
        if self.run and event.step % every == 0:
            self._log(event)
        if distributed.world() == 1 and time.monotonic() - self._saved_at > SAVE_SECONDS:
            self._save_state(event.session)

    def _epoch(self, event: EpochDone) -> None:
        if self.run:
            row = {key: getattr(event, key) for key in METRICS}
            self.run.write_metrics([*(r for r in self.run.metrics if r["epoch"] < event.epoch), row])
            if event.is_best:
                reached = {f"{event.split}_accuracy": event.val_accuracy} if event.split else {}
                self._write_model(event.session, {"epoch": event.epoch, **reached})
            self.run.update_summary(epochs_done=event.epoch)
            self._log(event)
        if self._due(event.session):
            self._save_state(event.session)

    def _due(self, session: Session) -> bool:
        """Whether the state is to be saved after this epoch, on every process or on none."""
        last = session.epoch >= session.recipe.total_epochs or session.out_of_patience
        waits = session.on_features and time.monotonic() - self._saved_at < FEATURE_SAVE_SECONDS
        return bool(distributed.broadcast(last or not waits))

    def _finish(self, event: Finished) -> None:
        assert self.run
        session = event.session
        metrics = {"epoch": event.kept_epoch, "split": event.split, "accuracy": event.accuracy, "loss": event.loss}
        self._write_model(session, metrics)
        with replacing(self.run.path / "scores.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, logits=event.logits, labels=event.labels)
        split = {"test": session.data.test, "val": session.data.val, "train": session.data.train}[event.split]
        assert split is not None
        write_text(
            self.run.path / "predictions.csv",
            predictions_csv(event.logits, event.labels, session.data.classes, event.split, split.names),
        )
        self.run.update_summary(
            status=event.reason,
            split=event.split,
            n=len(event.labels),
            images=split.fingerprint(),
            accuracy=event.accuracy,
            loss=event.loss,
            kept_epoch=event.kept_epoch,
            epochs_done=session.epoch,
            selected_on="val" if session.selects else None,
            seconds=event.seconds,
        )
        self._log(event)

    def _interrupt(self, session: Session) -> None:
        self.interrupted = True
        self._save_state(session)
        if self.run:
            self.run.update_summary(status="interrupted", epochs_done=session.epoch)

    def _save_state(self, session: Session) -> None:
        if distributed.rank() == 0 and self._state.is_file():
            # A second name for the same file costs nothing and survives the replacement.
            previous = self._state.with_name(PREVIOUS.name)
            previous.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # some file systems have no hard links
                os.link(self._state, previous)
        save_state(session, self._state)
        self._saved_at = time.monotonic()

    def _write_model(self, session: Session, metrics: dict[str, Any] | None = None) -> None:
        assert self.run
        file = ModelFile(session.model.arch, session.data.classes, session.preprocess, metrics or {})
        file.save(self.run.path, session.evaluated.state_dict())

    def _write_split(self, data: ImageData) -> None:
        """Photos: which file is where. Data sets with fixed splits need no such list."""
        assert self.run
        if data.train.names is None:
            return
        rows = data.split_rows()
        text = io.StringIO()
        writer = csv.DictWriter(text, ["split", "index", "name", "label"], lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.run.path / "split.csv", text.getvalue())

    def _log(self, event: Event) -> None:
        if self.run:
            line = json.dumps({"time": round(time.time(), 3), **event_values(event)}, ensure_ascii=False)
            try:
                with open(self.run.path / "events.jsonl", "a", encoding="utf-8") as file:
                    file.write(line + "\n")
            except OSError as error:
                raise RunError(f"Could not write {self.run.path / 'events.jsonl'}: {error.strerror}.") from None


def event_values(event: Event) -> dict[str, Any]:
    """The plain values of an event, as they go into ``events.jsonl`` and to ``--json``; not-a-number becomes null."""
    values: dict[str, Any] = {"event": type(event).__name__}
    if isinstance(event, Started):
        values |= {"epochs": event.epochs, "steps_per_epoch": event.steps_per_epoch, "parameters": event.parameters}
        values |= {"notes": list(event.notes), "epoch": event.session.epoch, "step": event.session.step}
    elif isinstance(event, StepDone):
        values |= {"epoch": event.epoch, "step": event.step, "lr": event.lr, "loss": event.loss}
    elif isinstance(event, EpochDone):
        values |= {key: getattr(event, key) for key in METRICS}
    elif isinstance(event, Finished):
        names = ("reason", "kept_epoch", "split", "accuracy", "loss", "seconds")
        values |= {key: getattr(event, key) for key in names}
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def predictions_csv(
    logits: np.ndarray, labels: np.ndarray, classes: list[str], split: str, names: list[str] | None
) -> str:
    """CSV text with a row per image: split, index, file, label, prediction, confidence, correct."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    confidence = shifted.max(axis=1) / shifted.sum(axis=1)
    chosen = logits.argmax(axis=1)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["split", "index", "file", "label", "prediction", "confidence", "correct"])
    for index, (label, guess) in enumerate(zip(labels.tolist(), chosen.tolist(), strict=True)):
        file = names[index] if names else ""
        sure = f"{confidence[index]:.6f}"
        writer.writerow([split, index, file, classes[label], classes[guess], sure, int(label == guess)])
    return text.getvalue()


def train(
    recipe: Recipe,
    *,
    out: str | os.PathLike[str] | None = None,
    root: str | Path = "runs",
    data: ImageData | None = None,
) -> Run:
    """Train as ``recipe`` says, write the run folder and its report, and return the run.

    To watch or to stop on the way, use ``Recorder(...).record(fit(recipe))`` instead.

    Raises:
        CnnlabError: see :func:`cnnlab.training.fit` and :class:`Recorder`.
    """
    recorder = Recorder(out, root)
    for event in recorder.record(fit(recipe, data=data)):
        data = event.session.data
    assert recorder.run is not None
    recorder.run.report(data)
    return recorder.run


def resume(
    run: Run, *, data: ImageData | None = None, device: str | None = None, previous: bool = False
) -> Iterator[Event]:
    """Return the stream of events of the rest of ``run``; record it with ``Recorder(run=run)``.

    On a CPU with the same number of threads the result equals that of an uninterrupted run bit for bit.

    Args:
        run: an unfinished run.
        data: use this instead of loading the recipe's.
        device: go on there instead of where the run was started.
        previous: go on from the state saved before the last one (when the last one is damaged).

    Raises:
        RunError: the run is finished.
        CheckpointError: its state is damaged.
    """
    if run.finished:
        raise RunError(f"{run.path} is finished. `cnnlab extend {run.path} --epochs 5` adds epochs to it.")
    session = prepare(_moved(run.recipe, device), data, load_weights=False)
    try:
        restore_state(session, run.path / (PREVIOUS if previous else STATE))
    except CheckpointError as error:
        if previous or isinstance(error, OtherDataError) or not (run.path / PREVIOUS).is_file():
            raise
        raise CheckpointError(
            f"{error} The state saved before it is there: `cnnlab resume {run.path} --previous` goes on from that."
        ) from None
    if previous and distributed.rank() == 0:
        # From now on it is the state: the damaged one must not take its place when the next is written.
        replacement = run.path / STATE.with_name("state.restored")
        shutil.copyfile(run.path / PREVIOUS, replacement)
        os.replace(replacement, run.path / STATE)
    if run.env.get("threads") != torch.get_num_threads():
        session.notes.append(
            f"started with {run.env.get('threads')} threads, now {torch.get_num_threads()}: the last digits will differ"
        )
    return fit(session.recipe, session=session)


def extend(
    run: Run, epochs: int, lr: float | None = None, *, data: ImageData | None = None, device: str | None = None
) -> Iterator[Event]:
    """Return the stream of events of ``epochs`` more epochs of a finished ``run``, for ``Recorder(run=run)``.

    The learning rate starts at ``lr`` (a tenth of the recipe's by default) and falls to zero by half a cosine.

    Raises:
        RunError: the run is not finished.
        RecipeError: the number of epochs or the rate makes no sense.
        CheckpointError: its state is damaged.
    """
    if not run.finished:
        raise RunError(f"{run.path} is not finished ({run.status}). Finish it first: `cnnlab resume {run.path}`.")
    recipe = run.recipe
    rate = recipe.lr / 10 if lr is None else lr
    values = _moved(recipe, device).values()
    values["extensions"].append({"epochs": epochs, "lr": rate})
    if run.status == "early_stopping":  # the added epochs come after those that were done, not after those planned
        values["stopped_at"] = run.summary["epochs_done"]
    longer = Recipe.make(values, "extension")
    session = prepare(longer, data, load_weights=False)
    restore_state(session, run.path / STATE)
    session.notes.append(f"{epochs} epochs are added: the learning rate starts at {rate:g} and falls to 0")
    return fit(session.recipe, session=session)


def _moved(recipe: Recipe, device: str | None) -> Recipe:
    return recipe if device is None else recipe.with_overrides([f"device={device}"])
