"""The registry of checks: one file in ``why/checks/`` is one check, found by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from cnnlab.registry import Registry
from cnnlab.why.diagnosis import Finding
from cnnlab.why.exam import Exam


@dataclass(frozen=True)
class CheckFacts:
    """The facts about a check.

    Args:
        title: what it looks at, in a few words.
        place: position of its findings in the chain of causes: 100 data, 200 network, 300 loss, 400 step,
            500 optimizer, 600 learning rate, 700 regularisation, 900 symptoms.
    """

    title: str
    place: int


class Check(Protocol):
    """A check: a function from an examination to findings."""

    def __call__(self, exam: Exam) -> Iterator[Finding]:
        """Yield what is wrong."""


checks: Registry[CheckFacts] = Registry("check", "cnnlab.why.checks", "Each file in cnnlab/why/checks is one.")


def check(title: str, place: int) -> Callable[[Check], Check]:
    """Register the decorated function as a check; see :class:`CheckFacts`."""
    return checks.register(CheckFacts(title, place))
