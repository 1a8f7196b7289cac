"""Python files that a user wrote: their source, the line of their error, and processes of their own to run them in.

``cnnlab learn`` runs answers to exercises, ``cnnlab why`` runs trainings. Both need what is here; what a file must
define, and the messages about it, are each room's own. Answers of strangers are another matter: they run in
:mod:`cnnlab.learn.sandbox`, whose process must not import this package.
"""

from __future__ import annotations

import importlib.util
import linecache
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import CodeType


@dataclass(frozen=True)
class Line:
    """A line of a file.

    Attributes:
        number: number of the line, from 1; ``None`` when there is none.
        text: text of the line, without the spaces around it; ``""`` when it cannot be read.
        function: name of the function that the line is in; ``"<module>"`` outside functions.
    """

    number: int | None = None
    text: str = ""
    function: str = ""


def read_source(path: Path) -> str:
    """Return the text of a Python file, decoded as Python does: UTF-8, or the encoding that its first lines name.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not text in its encoding, or names an encoding that Python does not know.
    """
    source = path.read_bytes()
    try:
        return importlib.util.decode_source(source)
    except SyntaxError as error:
        raise ValueError(str(error)) from None


def compile_source(source: str, filename: str) -> CodeType:
    """Compile a source such that tracebacks show these lines, even when the file has been changed since.

    Args:
        source: text of the file.
        filename: name of the file in tracebacks.

    Raises:
        SyntaxError: the source is not Python.
    """
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    return compile(source, filename, "exec", dont_inherit=True)


def last_line(error: BaseException, filename: str) -> Line:
    """Return the last line of a file that an exception passed through; without number when it passed through none.

    Args:
        error: exception that was caught.
        filename: name under which the file was compiled.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
    return Line(frames[-1].lineno, (frames[-1].line or "").strip(), frames[-1].name) if frames else Line()


def describe(error: BaseException) -> str:
    """Return kind and message of an exception in one line: ``IndexError: list index out of range``."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def python_command(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module of this package in a Python process of its own."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def process_environment(threads: int | None = None) -> dict[str, str]:
    """Return the environment for such a process, which finds the same packages as this one.

    Args:
        threads: number of threads that its numerical libraries use; ``None`` leaves that to them.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if threads is not None:
        environment |= {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL")}
    return environment
