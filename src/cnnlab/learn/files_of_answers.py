"""Files in which answers are written: which one belongs to an exercise, and which exercise to a file."""

from __future__ import annotations

import ast
from pathlib import Path

from cnnlab.errors import UsageError
from cnnlab.files import write_text
from cnnlab.learn.exercise import Exercise, exercises, get_exercise
from cnnlab.learn.progress import Progress, load_progress, save_progress
from cnnlab.learn.texts import starter
from cnnlab.scripts import read_source


def start(exercise: Exercise, path: Path | None = None) -> tuple[Path, bool]:
    """Write the file to start from, unless it is there, and remember it.

    Args:
        exercise: the exercise.
        path: the file; by default that of an earlier start if it still exists, else ``NAME.py`` in this folder.

    Returns:
        The file, and whether it was written now.

    Raises:
        UsageError: the path is a folder.
        RunError: the file cannot be written.
    """
    path = path or file_of(exercise) or Path(f"{exercise.name}.py")
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name a file: --out {path / exercise.name}.py")
    is_new = not path.exists()
    if is_new:
        write_text(path, starter(exercise))
    progress = load_progress()
    progress.setdefault(exercise.name, Progress()).file = str(path.resolve())
    save_progress(progress)
    return path, is_new


def file_of(exercise: Exercise) -> Path | None:
    """Return the file of an exercise: ``NAME.py`` in this folder, else the one that was started, if it exists."""
    candidates = [f"{exercise.name}.py"]
    if entry := load_progress().get(exercise.name):
        candidates += [entry.file] * bool(entry.file)
    return next((Path(each) for each in candidates if Path(each).is_file()), None)


def find_answer(name: str) -> tuple[Exercise, Path]:
    """Return exercise and file for the name of either.

    A file belongs to the exercise that it is named for, else to the only one whose function it defines.

    Raises:
        UnknownNameError: there is no such exercise.
        UsageError: there is no such file, or it belongs to no exercise, or to several.
    """
    path = Path(name)
    if path.suffix != ".py" and not path.is_file():
        exercise = get_exercise(name)
        started = file_of(exercise)
        if started is None:
            raise UsageError(f"There is no file {name}.py here. `cnnlab learn start {name}` writes one.")
        return exercise, started
    if not path.is_file():
        next_step = (
            f"start {path.stem}` writes it" if path.stem in exercises else "start NAME` writes that of an exercise"
        )
        raise UsageError(f"There is no file {path}. `cnnlab learn {next_step}.")
    if path.stem in exercises:
        return get_exercise(path.stem), path
    try:
        nodes = ast.parse(read_source(path), str(path)).body
    except (SyntaxError, ValueError, OSError) as error:
        raise UsageError(
            f"{path} cannot be read as Python, so which exercise it is for is unknown: {error}. Mend that, or name the "
            "file for its exercise, as in affine_forward.py."
        ) from None
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in exercises]
    if len(names) != 1:
        defined = f"defines several ({', '.join(names)})" if names else "defines the function of no exercise"
        raise UsageError(f"{path} {defined}. Name the file for its exercise, as in affine_forward.py.")
    return get_exercise(names[0]), path
