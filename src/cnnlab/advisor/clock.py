"""The time budget of an advice, and the progress steps that it reports."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class TrialStep:
    """A step of the advice: something that it did or measured.

    Attributes:
        text: one line that describes the step.
        share: share of the time for the advice that has passed, 0..1.
        passing: whether the line only reports progress and is of no interest afterwards.
    """

    text: str
    share: float
    passing: bool = False


class Clock:
    """Counts the seconds of an advice against its budget."""

    def __init__(self, budget: float) -> None:
        self.budget, self.started = budget, time.perf_counter()

    @property
    def elapsed(self) -> float:
        """The seconds since the clock was created."""
        return time.perf_counter() - self.started

    def step(self, text: str, passing: bool = False) -> TrialStep:
        """Return a step with the share of the time that has passed by now."""
        return TrialStep(text, min(1.0, self.elapsed / self.budget), passing)
