"""The events of the training of a captioning network, in order.

::

    Started, FeaturesComputed ..., (CaptionStep ..., CaptionEpoch) per epoch, CaptionsFinished

``Started`` and ``FeaturesComputed`` are those of :mod:`cnnlab.training.events`; the latter comes only where a frozen
network is the encoder. ``event.session`` is the state of the training in memory, a
:class:`~cnnlab.generate.captions.session.CaptionSession`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from cnnlab.training.events import Event, StepDone


@dataclass(frozen=True)
class CaptionStep(StepDone):
    """The optimizer made a step; ``loss_tensor`` is the mean loss per word."""

    session: Any = field(repr=False)


@dataclass(frozen=True)
class CaptionEpoch(Event):
    """An epoch was trained and validated. Losses are cross-entropies per word, with END as a word.

    Each value is a column of ``metrics.csv``.
    """

    session: Any = field(repr=False)
    epoch: int  #: 1-based
    step: int  #: number of steps since the start of the run
    lr: float  #: learning rate of the last step
    train_loss: float  #: mean over the words of the epoch, in training mode
    val_loss: float  #: mean over the words of the first ``val_limit`` validation images
    val_bleu: float  #: BLEU of greedy sentences about the same images, 0..1
    seconds: float  #: time of training and validation of this epoch, in seconds
    images_per_second: float  #: training images per second, without the validation
    is_best: bool  #: whether the validation loss is the smallest so far


@dataclass(frozen=True)
class CaptionsFinished(Event):
    """The training is over; the network has the weights of its best epoch."""

    session: Any = field(repr=False)
    kept_epoch: int  #: number of the epoch whose weights are kept, from 1
    val_loss: float  #: its validation loss per word
    val_bleu: float  #: its BLEU on the validation split, 0..1
    reason: str = "completed"
    seconds: float = 0.0  #: seconds of training, interruptions left out


EPOCH_COLUMNS = {field.name: str(field.type) for field in fields(CaptionEpoch) if field.name != "session"}
