"""Write the events of the training of a captioning network into its run folder while passing them on."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import torch

from cnnlab import figures
from cnnlab.files import finite_values
from cnnlab.generate.captions.captioner import Captioner
from cnnlab.generate.captions.events import EPOCH_COLUMNS, CaptionEpoch, CaptionsFinished, CaptionStep
from cnnlab.generate.captions.folder import CaptionFolder, create_caption_run
from cnnlab.generate.captions.pictures import attention_figure, caption_grid, training_curves
from cnnlab.generate.captions.session import CaptionSession
from cnnlab.generate.captions.state import save_caption_state
from cnnlab.runs.event_recorder import EventRecorder
from cnnlab.runs.recorder import event_values
from cnnlab.training.events import Event, FeaturesComputed, Started, StepDone

SHOWN = 12  # number of validation images that are drawn with their captions


class CaptionRecorder(EventRecorder[CaptionFolder]):
    """A consumer of the events of :func:`cnnlab.generate.captions.loop.fit_captions` that writes the run folder.

    Its arguments and attributes are those of :class:`~cnnlab.runs.event_recorder.EventRecorder`.
    """

    resumable: ClassVar[tuple[type[Event], ...]] = (Started, FeaturesComputed, StepDone, CaptionEpoch)

    def write(self, event: Event) -> None:
        """Write the files that belong to an event."""
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, CaptionStep):
            if event.step % max(1, len(event.session.train_loader) // 20) == 0:
                self._log(event)
            self.save_in_long_epoch(event.session)
        elif isinstance(event, CaptionEpoch):
            self._epoch(event)
        elif isinstance(event, CaptionsFinished):
            self._finish(event)

    def write_state(self, session: CaptionSession) -> None:
        """Write the state of the training to ``last/``."""
        assert self.run
        save_caption_state(session, self.run.state)

    def _start(self, event: Started) -> None:
        session: Any = event.session
        new = self.run is None
        self.run = self.run or create_caption_run(session.recipe, self.out, self.root)
        self.run.state.parent.mkdir(exist_ok=True)
        self.run.update_summary(
            status="running", parameters=event.parameters, epochs=event.epochs, notes=list(event.notes)
        )
        if new:
            self.run.write_metrics([])
            self.write_state(session)
        else:
            self.run.write_recipe(session.recipe)
            # Rows of epochs that the saved state does not know will be written again.
            self.run.write_metrics([row for row in self.run.metrics if row["epoch"] <= session.epoch])
        self._log(event)

    def _epoch(self, event: CaptionEpoch) -> None:
        assert self.run
        row = {name: getattr(event, name) for name in EPOCH_COLUMNS}
        self.run.write_metrics([*(r for r in self.run.metrics if r["epoch"] < event.epoch), row])
        if event.is_best:
            self.run.write_network(event.session)
        self.run.update_summary(epochs_done=event.epoch)
        self._log(event)
        self.save_state(event.session)

    def _finish(self, event: CaptionsFinished) -> None:
        assert self.run
        session = event.session
        self.run.write_network(session)
        self.run.figures.mkdir(exist_ok=True)
        figures.save(training_curves(self.run.metrics), self.run.figures / "training.png")
        self._draw_captions(session)
        self.run.update_summary(
            status=event.reason,
            epochs_done=session.epoch,
            kept_epoch=event.kept_epoch,
            val_loss=event.val_loss,
            val_bleu=event.val_bleu,
            seconds=event.seconds,
        )
        self._log(event)

    def _draw_captions(self, session: CaptionSession) -> None:
        """Draw the first validation images with their sentences, and one with the attention for every word."""
        assert self.run
        split = session.data.val
        if session.preprocess is None or split.images is None:
            return
        captioner = Captioner(self.run.name, session.network, session.preprocess, session.max_length)
        rows = torch.arange(min(SHOWN, len(split)))
        described = captioner.describe(captioner.inputs(split, rows))
        pixels = captioner.pictures(split, rows)
        figures.save(caption_grid(list(pixels), described.sentences), self.run.figures / "captions.png")
        if described.decoded.attention is not None:
            words = described.sentences[0].split()
            figure = attention_figure(pixels[0], words, described.decoded.attention[0])
            figures.save(figure, self.run.figures / "attention.png")

    def _log(self, event: Event) -> None:
        assert self.run
        self.run.append_event({"time": round(time.time(), 3), **caption_event_values(event)})


def caption_event_values(event: Event) -> dict[str, Any]:
    """Return the plain values of an event for ``events.jsonl`` and ``--json``; values that are not finite are null."""
    values = event_values(event)
    if isinstance(event, CaptionEpoch):
        values |= {name: getattr(event, name) for name in EPOCH_COLUMNS}
    elif isinstance(event, CaptionsFinished):
        names = ("reason", "kept_epoch", "val_loss", "val_bleu", "seconds")
        values |= {name: getattr(event, name) for name in names}
    return finite_values(values)
