"""The time that an advice may take, and what it says on the way."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class TrialStep:
    """Something that the advice did or learned on the way.

    Attributes:
        text: one line that says what.
        share: share of the time for the advice that has passed, 0..1.
        passing: whether the line says what is being done now and is of no interest afterwards.
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
        """Seconds since the clock was made."""
        return time.perf_counter() - self.started

    def step(self, text: str, passing: bool = False) -> TrialStep:
        """Return a step that is taken now."""
        return TrialStep(text, min(1.0, self.elapsed / self.budget), passing)
