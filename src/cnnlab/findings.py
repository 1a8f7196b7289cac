"""A finding of a doctor, about data or about a training. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """A finding of a doctor.

    Args:
        kind: short name of the problem, such as ``"unreadable"``.
        severity: ``error`` hurts training, ``warning`` may, ``note`` is handled or harmless.
        message: description of the finding, with counts.
        advice: next step to take.
        files: the files concerned; ``train[12]`` for images in memory.
        groups: the files of each picture that occurs more than once.
    """

    kind: str
    severity: Severity
    message: str
    advice: str
    files: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
