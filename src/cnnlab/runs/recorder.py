"""Write a stream of training events into a run folder while passing it on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from cnnlab.files import finite_values
from cnnlab.runs.event_recorder import EventRecorder
from cnnlab.runs.folder import EPOCH_COLUMNS, RunFolder, create_run
from cnnlab.training import distributed
from cnnlab.training.checkpoint import ModelFile
from cnnlab.training.events import EpochDone, Event, Finished, Started, StepDone
from cnnlab.training.session import Session
from cnnlab.training.state import save_state

# An epoch on cached features is over sooner than the whole network is saved: the state waits for at most so long.
FEATURE_SAVE_SECONDS = 10.0


class Recorder(EventRecorder[RunFolder]):
    """A consumer of the events of :func:`cnnlab.training.fit` that writes the run folder and passes the events on.

    Its arguments and attributes are those of :class:`~cnnlab.runs.event_recorder.EventRecorder`.
    """

    def write(self, event: Event) -> None:
        """Write what an event leaves in the folder."""
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
        new, first = self.run is None, distributed.rank() == 0
        if new:
            self.run = distributed.together(lambda: create_run(session.recipe, self.out, self.root) if first else None)
        self.folder = Path(distributed.broadcast(str(self.run.path) if self.run else None))
        self._state = self.folder / "last" / "state.safetensors"
        if not first:
            self.run = None
        if self.run:
            self._state.parent.mkdir(exist_ok=True)
            self.run.update_summary(
                status="running",
                parameters=event.parameters,
                epochs=event.epochs,
                processes=distributed.world(),
                launch=distributed.launch_name(),
                notes=list(event.notes),
                skipped=[list(item) for item in session.data.skipped],
            )
            if new:
                self._write_model(session)
                self.run.write_split(session.data)
                self.run.write_metrics([])
                self._keep_epoch(session)
            else:
                self.run.write_recipe(session.recipe)
                # Rows and weights of epochs that the saved state does not know will be written again.
                self.run.remove_epochs_after(session.epoch)
                self.run.write_metrics([row for row in self.run.metrics if row["epoch"] <= session.epoch])
            self._log(event)
        if new:
            self.write_state(session)

    def _step(self, event: StepDone) -> None:
        every = max(1, len(event.session.train_loader) // 20)
        if self.run and event.step % every == 0:
            self._log(event)
        self.save_in_long_epoch(event.session)

    def _epoch(self, event: EpochDone) -> None:
        if self.run:
            row = {name: getattr(event, name) for name in EPOCH_COLUMNS}
            self.run.write_metrics([*(r for r in self.run.metrics if r["epoch"] < event.epoch), row])
            if event.is_best:
                reached = {f"{event.split}_accuracy": event.val_accuracy} if event.split else {}
                self._write_model(event.session, {"epoch": event.epoch, **reached})
            self._keep_epoch(event.session)  # before the state, which says that the epoch is done
            self.run.update_summary(epochs_done=event.epoch)
            self._log(event)
        if self._due(event.session):
            self.save_state(event.session)

    def _due(self, session: Session) -> bool:
        """Return whether the state is to be saved after this epoch, on every process or on none."""
        last = session.epoch >= session.recipe.total_epochs or session.out_of_patience
        waits = session.on_features and time.monotonic() - self._saved_at < FEATURE_SAVE_SECONDS
        return bool(distributed.broadcast(last or not waits))

    def _finish(self, event: Finished) -> None:
        assert self.run
        session = event.session
        metrics = {"epoch": event.kept_epoch, "split": event.split, "accuracy": event.accuracy, "loss": event.loss}
        self._write_model(session, metrics)
        if session.clock:
            self.run.write_recipe(session.recipe)  # with the number of epochs there was time for
        split = session.data.splits()[event.split]
        self.run.write_scores(event.logits, event.labels, session.data.classes, event.split, split.names)
        self.run.update_summary(
            status=event.reason,
            split=event.split,
            n=len(event.labels),
            images=split.fingerprint(),
            accuracy=event.accuracy,
            loss=event.loss,
            **({} if event.tta_accuracy is None else {"tta_accuracy": event.tta_accuracy}),
            kept_epoch=event.kept_epoch,
            epochs=session.recipe.total_epochs,
            epochs_done=session.epoch,
            selected_on="val" if session.selects else None,
            seconds=event.seconds,
        )
        self._log(event)

    def write_state(self, session: Session) -> None:
        """Write the state of a training; every process calls it."""
        save_state(session, self._state)

    def _keep_epoch(self, session: Session) -> None:
        """Keep the weights of the epoch that has just ended, if the recipe says so."""
        assert self.run
        if session.recipe.keeps_epoch(session.epoch):
            self.run.write_epoch(session.epoch, session.evaluated)

    def _write_model(self, session: Session, metrics: dict[str, Any] | None = None) -> None:
        assert self.run
        file = ModelFile(session.model.arch, session.data.classes, session.preprocess, metrics or {})
        self.run.write_model(file, session.evaluated.state_dict())

    def _log(self, event: Event) -> None:
        if self.run:
            self.run.append_event({"time": round(time.time(), 3), **event_values(event)})


def event_values(event: Event) -> dict[str, Any]:
    """Return the plain values of an event for ``events.jsonl`` and ``--json``; what is not finite becomes null."""
    values: dict[str, Any] = {"event": type(event).__name__}
    if isinstance(event, Started):
        values |= {"epochs": event.epochs, "steps_per_epoch": event.steps_per_epoch, "parameters": event.parameters}
        values |= {"notes": list(event.notes), "epoch": event.session.epoch, "step": event.session.step}
    elif isinstance(event, StepDone):
        values |= {"epoch": event.epoch, "step": event.step, "lr": event.lr, "loss": event.loss}
    elif isinstance(event, EpochDone):
        values |= {name: getattr(event, name) for name in EPOCH_COLUMNS}
    elif isinstance(event, Finished):
        names = ("reason", "kept_epoch", "split", "accuracy", "loss", "seconds", "tta_accuracy")
        values |= {key: getattr(event, key) for key in names}
    return finite_values(values)
