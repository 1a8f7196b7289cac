"""Which exercises are done: remembered in the user's data folder, so that any folder and any notebook can be used."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
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
    """Return what is remembered, by name of the exercise; nothing when the file is missing or damaged."""
    try:
        stored = json.loads(progress_file().read_text(encoding="utf-8"))
        return {name: Progress(**fields) for name, fields in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


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
