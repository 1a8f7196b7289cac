"""TensorBoard event files from the stream of training events (extra ``tensorboard``)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cnnlab.errors import UsageError
from cnnlab.runs.recorder import Recorder
from cnnlab.training.events import EpochDone, Event, Started, StepDone


def write_tensorboard(events: Iterator[Event], recorder: Recorder) -> Iterator[Event]:
    """Pass ``events`` on and write loss, accuracy, rate and speed into ``<run>/tensorboard``.

    Raises:
        UsageError: the extra is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError('TensorBoard is not installed: pip install "cnnlab[tensorboard]".') from None
    writer = None
    try:
        for event in events:
            if isinstance(event, Started):
                assert recorder.run is not None
                writer = SummaryWriter(str(recorder.run.path / "tensorboard"))
            elif isinstance(event, StepDone) and writer is not None and event.step % 10 == 0:
                step = (event.epoch - 1) * len(event.session.train_loader) + event.step
                writer.add_scalar("loss/step", event.loss, step)
                writer.add_scalar("lr", event.lr, step)
            elif isinstance(event, EpochDone) and writer is not None:
                writer.add_scalar("loss/train", event.train_loss, event.step)
                writer.add_scalar("accuracy/train", event.train_accuracy, event.step)
                if not math.isnan(event.val_loss):
                    writer.add_scalar(f"loss/{event.split}", event.val_loss, event.step)
                    writer.add_scalar(f"accuracy/{event.split}", event.val_accuracy, event.step)
                writer.add_scalar("images_per_second", event.images_per_second, event.step)
            yield event
    finally:
        if writer is not None:
            writer.close()
