"""What the making of an image says while it runs: typed events, ``Started``, ``StepDone`` ..., ``Finished``.

An event is true at the moment it is yielded: ``event.image`` of a step is made when it is asked for, and the image may
have changed when it is asked for later.
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
    """Nothing was computed yet."""

    sizes: tuple[Size, ...]  #: height and width of the image in each stage
    steps: int  #: steps of all stages together


@dataclass(frozen=True)
class StepDone(Event):
    """The optimizer made a step."""

    step: int  #: 1-based, over all stages
    size: Size  #: height and width of the image now
    losses: Mapping[str, Tensor] = field(repr=False)  #: the weighted terms of the loss before the step, scalars
    current: Callable[[], Tensor] = field(repr=False)

    @property
    def loss(self) -> float:
        """The loss before the step. Reading it waits for a GPU."""
        return float(sum(float(value) for value in self.losses.values()))

    @property
    def image(self) -> Tensor:
        """The image as it would be finished now, (1, C, H, W) of 0..1."""
        return self.current()


@dataclass(frozen=True)
class Finished(Event):
    """The image is made."""

    image: Tensor = field(repr=False)  #: (1, C, H, W) of 0..1
    losses: Mapping[str, float]  #: the weighted terms of the loss before the last step
    seconds: float
