"""Write the events of the training of a GAN into its run folder while passing them on."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from cnnlab import figures
from cnnlab.files import finite_values
from cnnlab.generate.gans.events import EPOCH_COLUMNS, GanEpoch, GanFinished, GanStep
from cnnlab.generate.gans.folder import GanFolder, create_gan_run
from cnnlab.generate.gans.pair import generate
from cnnlab.generate.gans.pictures import grid, interpolate, loss_curves, write_gif
from cnnlab.generate.gans.report import write_gan_report
from cnnlab.generate.gans.session import GanSession, seeded_noise
from cnnlab.generate.gans.state import save_gan_state
from cnnlab.runs.event_recorder import EventRecorder
from cnnlab.runs.recorder import event_values
from cnnlab.training.events import Event, Started, StepDone

ROWS = 8  # number of lines in the figure of interpolations
INTERPOLATION = 2**40 + 1  # the position of the random numbers for its noise


class GanRecorder(EventRecorder[GanFolder]):
    """A consumer of the events of :func:`cnnlab.generate.gans.loop.fit_gan` that writes the run folder.

    Its arguments and attributes are those of :class:`~cnnlab.runs.event_recorder.EventRecorder`.
    """

    resumable: ClassVar[tuple[type[Event], ...]] = (Started, StepDone, GanEpoch)

    def write(self, event: Event) -> None:
        """Write the files that belong to an event."""
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, GanStep):
            if event.step % max(1, len(event.session.train_loader) // 20) == 0:
                self._log(event)
            self.save_in_long_epoch(event.session)
        elif isinstance(event, GanEpoch):
            self._epoch(event)
        elif isinstance(event, GanFinished):
            self._finish(event)

    def write_state(self, session: GanSession) -> None:
        """Write the state of the training to ``last/``."""
        assert self.run
        save_gan_state(session, self.run.state)

    def _start(self, event: Started) -> None:
        session: Any = event.session
        new = self.run is None
        self.run = self.run or create_gan_run(session.recipe, self.out, self.root)
        self.run.state.parent.mkdir(exist_ok=True)
        self.run.update_summary(
            status="running",
            parameters=event.parameters,
            epochs=event.epochs,
            notes=list(event.notes),
            skipped=[list(item) for item in session.data.skipped],
        )
        if new:
            self.run.write_metrics([])
            self._write_images(session)
            self.write_state(session)
        else:
            self.run.write_recipe(session.recipe)
            # Rows of epochs that the saved state does not know will be written again.
            self.run.write_metrics([row for row in self.run.metrics if row["epoch"] <= session.epoch])
        self._log(event)

    def _epoch(self, event: GanEpoch) -> None:
        assert self.run
        row = {name: getattr(event, name) for name in EPOCH_COLUMNS}
        self.run.write_metrics([*(r for r in self.run.metrics if r["epoch"] < event.epoch), row])
        self._write_images(event.session)
        self.run.update_summary(epochs_done=event.epoch)
        self._log(event)
        self.save_state(event.session)

    def _finish(self, event: GanFinished) -> None:
        assert self.run
        session = event.session
        self.run.figures.mkdir(exist_ok=True)
        write_gif(self.run.sample_files(), self.run.figures / "samples.gif")
        noise = seeded_noise(2 * ROWS, session.recipe.noise_size, session.recipe.seed, INTERPOLATION)
        images = interpolate(session.sampler, noise.to(session.device).unflatten(0, (2, ROWS)))
        self.run.write_figure("interpolation.png", grid(images.flatten(0, 1), columns=images.shape[1]))
        figures.save(loss_curves(self.run.metrics), self.run.figures / "losses.png")
        self.run.update_summary(status=event.reason, epochs_done=session.epoch, seconds=event.seconds)
        write_gan_report(self.run)
        self._log(event)

    def _write_images(self, session: GanSession) -> None:
        assert self.run
        self.run.write_samples(session.epoch, grid(generate(session.sampler, session.fixed_noise)))
        self.run.write_generator(session)

    def _log(self, event: Event) -> None:
        assert self.run
        self.run.append_event({"time": round(time.time(), 3), **gan_event_values(event)})


def gan_event_values(event: Event) -> dict[str, Any]:
    """Return the plain values of an event for ``events.jsonl`` and ``--json``; values that are not finite are null."""
    values = event_values(event)
    if isinstance(event, GanStep):
        values |= {"generator_loss": event.generator_loss}
    elif isinstance(event, GanEpoch):
        values |= {name: getattr(event, name) for name in EPOCH_COLUMNS}
    elif isinstance(event, GanFinished):
        values |= {"reason": event.reason, "seconds": event.seconds}
    return finite_values(values)
