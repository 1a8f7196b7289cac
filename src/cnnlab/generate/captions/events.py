"""What the training of a captioning network says while it runs: typed events, in order.

::

    Started, FeaturesComputed ..., (CaptionStep ..., CaptionEpoch) per epoch, CaptionsFinished

``Started`` and ``FeaturesComputed`` are those of :mod:`cnnlab.training.events`; the latter comes only where a frozen
network is the encoder. ``event.session`` is the live state of the training, a
:class:`~cnnlab.generate.captions.session.CaptionSession`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from cnnlab.training.events import Event, StepDone


@dataclass(frozen=True)
class CaptionStep(StepDone):
    """The optimizer made a step; ``loss_tensor`` is the mean loss of a word."""

    session: Any = field(repr=False)


@dataclass(frozen=True)
class CaptionEpoch(Event):
    """An epoch is trained and judged on the validation split. Losses are cross-entropies per word, END included.

    Each value is a column of ``metrics.csv``.
    """

    session: Any = field(repr=False)
    epoch: int  #: 1-based
    step: int  #: steps since the start of the run
    lr: float
    train_loss: float  #: mean over the epoch's steps, in training mode
    val_loss: float
    val_bleu: float  #: BLEU of greedy sentences, 0..1
    seconds: float  #: training and judging of this epoch
    images_per_second: float  #: images per second of the training part
    is_best: bool  #: whether the validation loss is the smallest so far


@dataclass(frozen=True)
class CaptionsFinished(Event):
    """The training is over; the network has the weights of its best epoch."""

    session: Any = field(repr=False)
    kept_epoch: int  #: number of the epoch whose weights are kept, from 1
    val_loss: float  #: its validation loss per word
    val_bleu: float  #: its BLEU on the validation split
    reason: str = "completed"
    seconds: float = 0.0  #: seconds of training, interruptions left out


EPOCH_COLUMNS = {field.name: str(field.type) for field in fields(CaptionEpoch) if field.name != "session"}
