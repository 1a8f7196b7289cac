"""The findings of the data doctor, and the checks that need labels alone, not the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnnlab.data.base import ImageData, class_counts

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """A finding of the data doctor.

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


def class_findings(data: ImageData, imbalance: float = 10.0) -> Iterator[Finding]:
    """Yield the findings about labels alone: a single class, classes missing in a split, imbalance. Takes no time.

    Args:
        data: loaded data.
        imbalance: ratio of the class sizes that is reported, see :func:`examine`.
    """
    if len(data.classes) < 2:
        yield Finding("single class", "error", f'the only class is "{data.classes[0]}"', "Add images of another class.")
    counts = {name: class_counts(split, data.classes).numpy() for name, split in data.splits().items()}
    for name, per_class in counts.items():
        missing = [label for label, count in zip(data.classes, per_class, strict=True) if count == 0]
        if missing:
            message = f"{name} has no image of {_some(missing)}"
            these = "this class" if len(missing) == 1 else "these classes"
            advice = f"Add images of {these} to {name}: what is not there is not measured."
            yield Finding("missing class", "warning" if name == "test" else "error", message, advice)
    train = counts["train"]
    most, least = int(train.argmax()), int(np.where(train > 0, train, train.max()).argmin())
    ratio = train[most] / train[least]
    if ratio > imbalance:
        numbers = f'{train[most]} images of "{data.classes[most]}" and {train[least]} of "{data.classes[least]}"'
        advice = "Add images of the rare classes, or train with class_weights=auto; accuracy alone will mislead."
        yield Finding("imbalance", "warning", f"train has {numbers}: {ratio:.0f} to 1", advice)


def left_aside(data: ImageData) -> Iterator[Finding]:
    """Yield a finding where more files were left aside than used, and one where more folders were."""
    used = sum(len(split) for split in data.splits().values())
    if data.ignored_files > used:
        message = f"{used} images are used and {data.ignored_files} other files are not"
        advice = "The notes say which: convert them, or move them into class folders."
        yield Finding("most files ignored", "warning", message, advice)
    if data.ignored_folders > len(data.classes):
        message = f"{len(data.classes)} folders are classes and {data.ignored_folders} folders are ignored"
        advice = "The notes say which: name the folder that holds the classes, or choose with --layout."
        yield Finding("most folders ignored", "warning", message, advice)


def counted(number: int, what: str) -> str:
    """Return the number with the noun, in the plural where it is not one."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _some(names: Sequence[str], most: int = 5) -> str:
    listed = ", ".join(names[:most])
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"
