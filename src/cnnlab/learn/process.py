"""A check in another process, so that a loop without end can be stopped and a crash does no harm.

A :class:`Checker` keeps one process that has loaded the exercise and its library. For each check that process forks, so
that a verdict comes at once and no answer sees what another left behind; where there is no fork (Windows), a new
process is started each time. Requests and verdicts are lines of JSON.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from cnnlab.errors import RunError
from cnnlab.learn.exercise import Exercise
from cnnlab.learn.verdict import Verdict
from cnnlab.scripts import Line, process_environment, python_command

TIME_LIMIT = 10.0  # seconds that a check may take
_GRACE = 2.0  # seconds after which an answer that does not stop by itself is killed
_LOADING = 120.0  # seconds in which the process must have loaded the exercise, torch perhaps, on a busy machine


class Checker:
    """Checks files with answers to one exercise in a process of its own.

    ::

        with Checker(exercise) as checker:
            verdict = checker.check(path)

    Args:
        exercise: the exercise.
        time_limit: seconds that a check may take.
    """

    def __init__(self, exercise: Exercise, time_limit: float = TIME_LIMIT) -> None:
        self.exercise, self.time_limit = exercise, time_limit
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def check(self, path: Path) -> Verdict:
        """Return the verdict on the answer in a file.

        Raises:
            RunError: the other process cannot be started.
        """
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        if not self._next_line(_LOADING):
            self._stop()
            raise RunError("The process for the check did not start. Try again.")
        with suppress(OSError):
            self._process.stdin.write(json.dumps({"path": str(path), "seconds": self.time_limit}) + "\n")
            self._process.stdin.flush()
        line = self._next_line(self.time_limit + _GRACE)
        if line:
            if not hasattr(os, "fork"):  # the process answers one request
                self._stop()
            return Verdict.from_dict(json.loads(line))
        ended = self._process.poll()
        self._stop()
        if ended is None:
            return time_is_over(self.exercise, self.time_limit)
        return Verdict(self.exercise.name, "error", f"the answer ended the whole process (exit code {ended}).")

    def _start(self) -> None:
        # One thread for each process: faster for small arrays, and a process with threads must not fork.
        try:
            self._process = subprocess.Popen(
                python_command("cnnlab.learn._worker", self.exercise.name), env=process_environment(threads=1),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            )  # fmt: skip
        except OSError as error:
            raise RunError(f"No process could be started for the check: {error}. Try again.") from None
        self._lines = queue.Queue()
        threading.Thread(target=_read, args=(self._process, self._lines), daemon=True).start()

    def _next_line(self, seconds: float) -> str:
        """Return the next line of the process, or ``""`` when it ended or none came in time."""
        with suppress(queue.Empty):
            return self._lines.get(timeout=seconds)
        return ""

    def _stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()  # the process then kills an answer that still runs, and ends
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def check_isolated(path: Path, exercise: Exercise, time_limit: float = TIME_LIMIT) -> Verdict:
    """Return the verdict on the answer in a file, checked in another process that is stopped after ``time_limit`` s.

    Raises:
        RunError: the other process cannot be started.
    """
    with Checker(exercise, time_limit) as checker:
        return checker.check(path)


def time_is_over(exercise: Exercise, seconds: float, line: Line | None = None) -> Verdict:
    """Return the verdict on an answer that did not end in time; it was in ``line`` when it was stopped."""
    message = f"stopped after {seconds:g} s. Is there a loop without end?"
    line = line or Line()
    return Verdict(exercise.name, "timeout", message, line=line.number, code=line.text, seconds=seconds)


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put("")
