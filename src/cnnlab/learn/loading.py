"""An answer read from a file or text, with messages that show the student's line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cnnlab.errors import CnnlabError, did_you_mean
from cnnlab.learn.exercise import Exercise, Function
from cnnlab.scripts import compile_source, describe, last_line, read_source


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
        source = read_source(path)
    except (OSError, ValueError) as error:
        raise AnswerError(f"{path} cannot be read: {error}. `cnnlab learn start {exercise.name}` writes one.") from None
    return load_source(source, exercise, str(path))


def load_source(source: str, exercise: Exercise, filename: str = "answer.py") -> Function:
    """Run the text of an answer and return the function that it defines for an exercise.

    Raises:
        AnswerError: the text has a syntax error, raises, or lacks the function.
    """
    try:
        code = compile_source(source, filename)
    except SyntaxError as error:
        line, text = error.lineno, (error.text or "").rstrip()
        raise AnswerError(f"Line {line} of {filename} is not Python: {error.msg}.", line, text) from None
    except ValueError as error:
        raise AnswerError(f"{filename} is not Python: {error}.") from None
    namespace: dict[str, Any] = {"__name__": "answer", "__file__": filename}
    try:
        exec(code, namespace)
    except (Exception, SystemExit) as error:
        place = last_line(error, filename)
        raise AnswerError(f"{filename} stops with {describe(error)}", place.number, place.text) from None
    if callable(answer := namespace.get(exercise.name)):
        function: Function = answer
        return function
    functions = [name for name, value in namespace.items() if callable(value) and not name.startswith("_")]
    hint = did_you_mean(exercise.name, functions)
    hint = hint.replace("Did you mean", "There is").replace("?", ": rename it.")
    raise AnswerError(f"{filename} does not define {exercise.name}. {hint}".rstrip())
