"""The base of those who write a stream of training events into a run folder while passing it on."""

from __future__ import annotations

import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from cnnlab.errors import DivergedError, ProcessLostError, RunError
from cnnlab.runs.training_folder import TrainingFolder
from cnnlab.training import distributed
from cnnlab.training.events import EpochDone, Event, Started, StepDone
from cnnlab.training.loop import CHECK_EVERY

Folder = TypeVar("Folder", bound=TrainingFolder)

# A long epoch is saved in its middle, so that a killed process loses at most this many seconds of work.
SAVE_SECONDS = 600.0


class EventRecorder(ABC, Generic[Folder]):
    """A consumer of training events that writes a run folder and passes the events on.

    A subclass says in :meth:`write` what an event leaves in the folder, and in :meth:`write_state` what a state is.

    Args:
        out: the folder to make; the next free name in ``root`` when ``None``.
        root: the folder of runs.
        run: an existing run to record into, instead of making one.
        stop: function that is called after every step; when it returns True the state is saved and the stream ends.

    Attributes:
        run: the run folder, once the first event has passed; None on all processes but the first.
        folder: the place of the run folder, which all processes know once the first event has passed.
        interrupted: whether ``stop`` ended the stream.
    """

    #: the events after which the training can go on, so that closing the stream there saves the state
    resumable: ClassVar[tuple[type[Event], ...]] = (Started, StepDone, EpochDone)

    def __init__(
        self,
        out: str | os.PathLike[str] | None = None,
        root: str | Path = "runs",
        *,
        run: Folder | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.out, self.root, self.run, self.stop = out, root, run, stop
        self.interrupted = False
        self.folder: Path | None = None
        self._saved_at = time.monotonic()

    @abstractmethod
    def write(self, event: Event) -> None:
        """Write what an event leaves in the folder."""

    @abstractmethod
    def write_state(self, session: Any) -> None:
        """Write the state of a training; every process calls it."""

    def record(self, events: Iterator[Event]) -> Generator[Event, None, None]:
        """Yield ``events`` unchanged; every event is on the disk before it is passed on.

        Closing the generator between two events saves the state first, as Ctrl-C on the command line does.

        Raises:
            RunError: the folder cannot be written. The state saved before stays.
            ProcessLostError: another process does not answer any more. The state saved before stays.
        """
        last: Event | None = None
        try:
            for event in events:
                last = event
                self.write(event)
                yield event
                if isinstance(event, StepDone) and self._asked_to_stop(event):
                    self._interrupt(event.session)
                    return
        except GeneratorExit:
            if isinstance(last, self.resumable) and distributed.world() == 1:
                self._interrupt(last.session)
            raise
        except ProcessLostError as error:
            if self.folder is None:
                raise
            command = f"`torchrun ... -m cnnlab resume {self.folder}`"
            raise ProcessLostError(f"{error} Go on from the last state with {command}, on every machine.") from error
        except RunError as error:
            if self.run and self.run.state.is_file():
                raise RunError(f"{error} Then go on with `cnnlab resume {self.run.path}`.") from error
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

    def _interrupt(self, session: Any) -> None:
        self.interrupted = True
        self.save_state(session)
        if self.run:
            self.run.update_summary(status="interrupted", epochs_done=session.epoch)

    def save_state(self, session: Any) -> None:
        """Save the state, after giving the one before it a second name."""
        if self.run and self.run.state.is_file():
            # A second name for the same file costs nothing and survives the replacement.
            self.run.previous_state.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # some file systems have no hard links
                os.link(self.run.state, self.run.previous_state)
        self.write_state(session)
        self._saved_at = time.monotonic()

    def save_in_long_epoch(self, session: Any) -> None:
        """Save the state after a step, when the last one is old."""
        due = time.monotonic() - self._saved_at > SAVE_SECONDS
        if distributed.world() > 1:
            # The clocks of processes differ: they agree now and then, because asking waits for the slowest.
            due = session.step % CHECK_EVERY == 0 and distributed.any_process(due)
        if due:
            self.save_state(session)
