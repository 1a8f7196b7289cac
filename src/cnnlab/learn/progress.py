"""Which exercises are done: remembered in the user's data folder, so that any folder and any notebook can be used."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cnnlab import files
from cnnlab.learn.verdict import Verdict


@dataclass
class Progress:
    """What is remembered of an exercise.

    Attributes:
        passed: whether a right answer was seen.
        attempts: number of checks up to the first right answer.
        hints: number of hints that were shown.
        file: path of the file that was started.
    """

    passed: bool = False
    attempts: int = 0
    hints: int = 0
    file: str = ""


def progress_file() -> Path:
    """Return the file that remembers: ``$CNNLAB_PROGRESS``, else ``learn.json`` in the user's data folder."""
    if path := os.environ.get("CNNLAB_PROGRESS"):
        return Path(path).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("cnnlab")) / "learn.json"


def load_progress() -> dict[str, Progress]:
    """Return what is remembered, by name of the exercise; nothing when the file is missing or damaged.

    A damaged file is kept as ``learn.json.damaged``, which standard error says: the next check writes a new one.
    """
    path = progress_file()
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(Progress)}  # a newer cnnlab may remember more
        return {
            name: Progress(**{key: value for key, value in entry.items() if key in known})
            for name, entry in stored.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        with suppress(OSError):
            _keep(path, error)
        return {}


def _keep(path: Path, error: Exception) -> None:
    if path.is_file():  # not a folder that the variable names
        kept = path.rename(files.free_path(path.with_name(f"{path.name}.damaged")))
        message = f"Your progress in {path} cannot be read ({error}), so a new file begins. The old one is now {kept}: "
        print(f"{message}to get that progress back, repair it and rename it to {path.name}.", file=sys.stderr)


def save_progress(progress: dict[str, Progress]) -> None:
    """Write what is remembered; a folder that cannot be written is no reason to stop an exercise."""
    path = progress_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, json.dumps({name: asdict(each) for name, each in progress.items()}, indent=1))
    except (OSError, files.RunError):
        pass


def record(verdict: Verdict) -> None:
    """Remember a verdict; an exercise once passed stays passed."""
    progress = load_progress()
    entry = progress.setdefault(verdict.exercise, Progress())
    if not entry.passed and verdict.status != "unwritten":
        entry.attempts += 1
        entry.passed = verdict.passed
    save_progress(progress)
