"""What a training says while it runs: typed events, in order.

::

    Started, FeaturesComputed ..., (StepDone ..., EpochDone) per epoch, Finished

``FeaturesComputed`` comes only where everything but the last layer is frozen.

An event is true at the moment it is yielded: ``event.session`` is the live state (network, optimizer, position), which
may be looked at between two steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from cnnlab.training.session import Session


@dataclass(frozen=True)
class Event:
    """Base of all events."""

    session: Session = field(repr=False)


@dataclass(frozen=True)
class Started(Event):
    """Everything is built; nothing was trained yet in this process."""

    epochs: int
    steps_per_epoch: int
    parameters: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FeaturesComputed(Event):
    """The frozen part of the network has run over some more images, once and for all epochs."""

    done: int
    total: int


@dataclass(frozen=True)
class StepDone(Event):
    """The optimizer made a step."""

    epoch: int  #: 1-based
    step: int  #: 1-based, within the epoch
    images: int
    lr: float
    loss_tensor: torch.Tensor = field(repr=False)

    @property
    def loss(self) -> float:
        """Mean loss of the batch. Reading it waits for a GPU, so read it only as often as it is shown."""
        return float(self.loss_tensor)

    @property
    def numbers(self) -> str:
        """The loss as a progress bar shows it; reading it waits for a GPU."""
        return f"loss {self.loss:.3f}"


@dataclass(frozen=True)
class EpochDone(Event):
    """An epoch is trained and evaluated.

    ``train_*`` are running means over the epoch's batches, augmented and in training mode; ``val_*`` come from
    ``split`` ("val", or "test" where no validation split exists: then shown only, and never used to choose weights).

    Each value is a column of ``metrics.csv`` and a key of the JSON lines; a new one is declared
    here and computed in :func:`cnnlab.training.loop.finish_epoch`.
    """

    epoch: int  #: 1-based
    step: int  #: optimizer steps since the start of the run
    lr: float
    train_loss: float
    train_accuracy: float
    split: str
    val_loss: float
    val_accuracy: float
    seconds: float  #: training and evaluation of this epoch
    images_per_second: float  #: images per second of the training part
    is_best: bool


@dataclass(frozen=True)
class Finished(Event):
    """The training is over; the kept weights were evaluated on ``split``."""

    reason: str  #: "completed" or "early_stopping"
    kept_epoch: int  #: number of the epoch whose weights are kept (1-based)
    split: str
    accuracy: float
    loss: float
    logits: np.ndarray = field(repr=False)  #: (N, K) float32
    labels: np.ndarray = field(repr=False)  #: (N,) int64
    seconds: float = 0.0  #: seconds of training, interruptions left out
    tta_accuracy: float | None = None  #: accuracy with test-time augmentation, where the recipe asks for it
