"""The events of the training of a GAN, in order.

::

    Started, (GanStep ..., GanEpoch) per epoch, GanFinished

``Started`` is that of :mod:`cnnlab.training.events`. ``event.session`` is the state of the training in memory, a
:class:`~cnnlab.generate.gans.session.GanSession`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch

from cnnlab.training.events import Event, StepDone


@dataclass(frozen=True)
class GanStep(StepDone):
    """Each of the two optimizers made a step; ``loss_tensor`` is the discriminator's loss."""

    session: Any = field(repr=False)
    generator_loss_tensor: torch.Tensor = field(repr=False)

    @property
    def generator_loss(self) -> float:
        """The generator's loss. Reading it waits for a GPU."""
        return float(self.generator_loss_tensor)

    @property
    def numbers(self) -> str:
        """Both losses as a progress bar shows them; reading them waits for a GPU."""
        return f"loss D {self.loss:.3f} G {self.generator_loss:.3f}"


@dataclass(frozen=True)
class GanEpoch(Event):
    """An epoch is over. Losses and logits are means over its images, in training mode.

    Each value is a column of ``metrics.csv``.
    """

    session: Any = field(repr=False)
    epoch: int  #: 1-based
    step: int  #: number of steps since the start of the run
    discriminator_loss: float  #: mean loss of the discriminator, without the penalty
    generator_loss: float  #: mean loss of the generator
    real_logit: float  #: mean logit of the discriminator for real images
    fake_logit: float  #: mean logit of the discriminator for generated images, before its step
    penalty: float  #: mean R1 penalty, without its weight; NaN where it is not computed
    seconds: float  #: time of the training of this epoch, in seconds
    images_per_second: float  #: real images per second


@dataclass(frozen=True)
class GanFinished(Event):
    """The training is over."""

    session: Any = field(repr=False)
    reason: str = "completed"
    seconds: float = 0.0  #: seconds of training, interruptions left out


EPOCH_COLUMNS = {field.name: str(field.type) for field in fields(GanEpoch) if field.name != "session"}
