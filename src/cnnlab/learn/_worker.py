"""The process in which answers are checked: ``python -m cnnlab.learn._worker EXERCISE``; see ``process.py``.

It writes the line ``ready`` before each request, reads the request, ``{"path": ..., "seconds": ...}``, and writes the
verdict, each a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from cnnlab.learn.checking import check_answer, check_file
from cnnlab.learn.exercise import Exercise, get_exercise
from cnnlab.learn.process import time_is_over
from cnnlab.learn.runs import typical_runs
from cnnlab.learn.verdict import Verdict
from cnnlab.scripts import last_line


class _TimeIsOver(BaseException):
    """Raised inside the answer when its time is over; not an Exception, so ``except Exception`` lets it through."""


def main(name: str) -> None:
    """Answer requests until the input ends."""
    exercise = get_exercise(name)
    check_answer(exercise.solution, exercise)  # loads what the exercise needs, before the first request
    typical_runs(exercise)
    while True:
        print("ready", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        path, seconds = Path(request["path"]), float(request["seconds"])
        if hasattr(os, "fork"):
            print(_check_in_child(exercise, path, seconds), flush=True)
        else:  # the next request gets a new process
            with contextlib.redirect_stdout(sys.stderr):
                verdict = check_file(path, exercise)
            print(json.dumps(verdict.as_dict()), flush=True)
            return


def _check_in_child(exercise: Exercise, path: Path, seconds: float) -> str:
    """Return the verdict as JSON, from a forked process that is killed when its time is over."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        _child(exercise, path, seconds, sending)
    os.close(sending)
    text = _receive(receiving, time.monotonic() + seconds + 1)
    os.close(receiving)
    if text is None:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if text:
        return text
    if text is None:
        return json.dumps(time_is_over(exercise, seconds).as_dict())
    how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
    return json.dumps(Verdict(exercise.name, "error", f"the answer ended the whole process ({how}).").as_dict())


def _child(exercise: Exercise, path: Path, seconds: float, sending: int) -> NoReturn:
    """Check the file, send the verdict, and end without returning to the loop of requests."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # the answer must neither read requests nor write between verdicts
        os.dup2(nothing, stream)
    signal.signal(signal.SIGALRM, _raise_time_is_over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        verdict = check_file(path, exercise)
    except _TimeIsOver as error:
        verdict = time_is_over(exercise, seconds, last_line(error, str(path)))
    signal.setitimer(signal.ITIMER_REAL, 0)
    with os.fdopen(sending, "w", encoding="utf-8") as file:
        file.write(json.dumps(verdict.as_dict()))
    os._exit(0)


def _raise_time_is_over(*_: Any) -> NoReturn:
    raise _TimeIsOver


def _receive(pipe: int, deadline: float) -> str | None:
    """Return what is written to a pipe until it is closed, or ``None`` when that is not done before the deadline."""
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return None
        part = os.read(pipe, 2**16)
        if not part:
            return b"".join(parts).decode("utf-8")
        parts.append(part)


if __name__ == "__main__":
    main(sys.argv[1])
