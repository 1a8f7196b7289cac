"""The events of making an image, in order: ``Started``, a ``StepDone`` per step, ``Finished``.

Read an event when it is yielded: ``event.image`` of a step is computed when it is read, and the optimisation may have
changed the image later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True)
class Started(Event):
    """The optimisation begins; no step was made yet."""

    sizes: tuple[Size, ...]  #: height and width of the image in each stage
    steps: int  #: number of steps of all stages together


@dataclass(frozen=True)
class StepDone(Event):
    """The optimizer made a step."""

    step: int  #: number of the step, 1-based, over all stages
    size: Size  #: height and width of the image in this stage
    losses: Mapping[str, Tensor] = field(repr=False)  #: the weighted terms of the loss before the step, scalars
    current: Callable[[], Tensor] = field(repr=False)  #: function that returns :attr:`image`

    @property
    def loss(self) -> float:
        """The loss before the step. Reading it waits for a GPU."""
        return float(sum(float(value) for value in self.losses.values()))

    @property
    def image(self) -> Tensor:
        """The result that stopping now would give, (1, C, H, W) of 0..1."""
        return self.current()


@dataclass(frozen=True)
class Finished(Event):
    """The optimisation is over."""

    image: Tensor = field(repr=False)  #: the result, (1, C, H, W) of 0..1
    losses: Mapping[str, float]  #: the weighted terms of the loss before the last step
    seconds: float  #: time since the start, in seconds
