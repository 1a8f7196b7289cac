"""A file watched: a verdict each time it is saved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from cnnlab.learn.exercise import Exercise
from cnnlab.learn.process import Checker
from cnnlab.learn.progress import record
from cnnlab.learn.verdict import Verdict

_PAUSE = 0.1  # seconds between two looks at the file


def watch(path: Path, exercise: Exercise) -> Iterator[Verdict]:
    """Yield the verdict on a file now and after each save, until it passes; every verdict is remembered.

    Args:
        path: the file.
        exercise: its exercise.

    Raises:
        RunError: the process for the checks cannot be started.
    """
    with Checker(exercise) as checker:
        while True:
            saved = _state(path)
            verdict = checker.check(path)
            record(verdict)
            yield verdict
            if verdict.passed:
                return
            while _state(path) in (saved, None):  # None: an editor replaces the file
                time.sleep(_PAUSE)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
