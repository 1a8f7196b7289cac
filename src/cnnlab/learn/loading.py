"""An answer read from a file or text, with messages that show the student's line."""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path
from typing import Any

from cnnlab.errors import CnnlabError, did_you_mean
from cnnlab.learn.exercise import Exercise, Function


class AnswerError(CnnlabError):
    """A file without the answer: it cannot be read, has a syntax error, fails while it is run, or lacks the function.

    Attributes:
        line: number of the line of the file that is concerned, or ``None``.
        code: text of that line.
    """

    def __init__(self, message: str, line: int | None = None, code: str = "") -> None:
        self.line, self.code = line, code
        super().__init__(message)


def load_file(path: Path, exercise: Exercise) -> Function:
    """Run a file and return the function that it defines for an exercise.

    Raises:
        AnswerError: the file cannot be read, has a syntax error, raises, or lacks the function.
    """
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AnswerError(f"{path} cannot be read: {error}. `cnnlab learn start {exercise.name}` writes one.") from None
    return load_source(source, exercise, str(path))


def load_source(source: str, exercise: Exercise, filename: str = "answer.py") -> Function:
    """Run the text of an answer and return the function that it defines for an exercise.

    Raises:
        AnswerError: the text has a syntax error, raises, or lacks the function.
    """
    # The text under this name makes tracebacks show the lines that were run.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    try:
        code = compile(source, filename, "exec")
    except SyntaxError as error:
        line, text = error.lineno, (error.text or "").rstrip()
        raise AnswerError(f"Line {line} of {filename} is not Python: {error.msg}.", line, text) from None
    except ValueError as error:
        raise AnswerError(f"{filename} is not Python: {error}.") from None
    namespace: dict[str, Any] = {"__name__": "answer", "__file__": filename}
    try:
        exec(code, namespace)
    except (Exception, SystemExit) as error:
        line, text = student_line(error, filename)
        raise AnswerError(f"{filename} stops with {describe(error)}", line, text) from None
    if callable(answer := namespace.get(exercise.name)):
        function: Function = answer
        return function
    functions = [name for name, value in namespace.items() if callable(value) and not name.startswith("_")]
    hint = did_you_mean(exercise.name, functions)
    hint = hint.replace("Did you mean", "There is").replace("?", ": rename it.")
    raise AnswerError(f"{filename} does not define {exercise.name}. {hint}".rstrip())


def student_line(error: BaseException, filename: str) -> tuple[int | None, str]:
    """Return number and text of the last line of the student's file that an exception passed through."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
    return (lines[-1].lineno, (lines[-1].line or "").strip()) if lines else (None, "")


def describe(error: BaseException) -> str:
    """Return kind and message of an exception: ``IndexError: list index out of range``."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
