"""The files that every training writes into its folder, whatever is trained.

:class:`TrainingFolder` is the base of the folders of classifiers (:mod:`cnnlab.runs.folder`) and of other networks.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from cnnlab.errors import RunError
from cnnlab.files import csv_text, finite_values, read_csv, write_text
from cnnlab.training.checkpoint import FORMAT, read_json
from cnnlab.training.settings import Settings

CLASSIFIER = "classifier"  # the kind of a run whose env.json names none


class TrainingFolder:
    """A folder with ``recipe.yaml``, ``env.json``, ``summary.json``, ``metrics.csv``, ``events.jsonl``, ``last/``.

    Args:
        path: the folder.

    Attributes:
        kind: word in ``env.json`` that says what was trained.
        columns: name and type of each column of ``metrics.csv``.

    Raises:
        RunError: there is no run of this kind at ``path``.
        CheckpointError: the run was written by a newer cnnlab.
    """

    kind: ClassVar[str] = CLASSIFIER
    columns: ClassVar[Mapping[str, str]] = {}

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise RunError(f"{self.path} is no run folder: there is no such folder. {_runs_beside(self.path)}")
        if not is_run(self.path):
            raise RunError(f"{self.path} is no run folder: it has no env.json. {_runs_beside(self.path)}")
        self.env: dict[str, Any] = read_json(self.path / "env.json")
        if (kind := self.env.get("kind", CLASSIFIER)) != self.kind:
            raise RunError(
                f"{self.path} is the run of a {kind}, and the run of a {self.kind} is needed. "
                "`cnnlab resume` goes on with either."
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {self.status})"

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    # recipe.yaml

    def write_recipe(self, recipe: Settings) -> None:
        """Replace ``recipe.yaml``."""
        write_text(self.path / "recipe.yaml", recipe.to_yaml())
        self.__dict__.pop("recipe", None)  # the one that was read before

    # summary.json

    @property
    def summary(self) -> dict[str, Any]:
        """``summary.json``: status, split, accuracy, loss, kept_epoch, seconds, ..."""
        path = self.path / "summary.json"
        return read_json(path) if path.is_file() else {"status": "unfinished"}

    def update_summary(self, **values: Any) -> None:
        """Change ``summary.json``."""
        summary = finite_values({"format": FORMAT} | self.summary | values)
        write_text(self.path / "summary.json", json_text(summary))

    @property
    def status(self) -> str:
        """``completed``, ``early_stopping``, ``interrupted``, ``diverged``, ``running`` (or killed while it ran)."""
        return str(self.summary["status"])

    @property
    def finished(self) -> bool:
        """Whether the training reached its end."""
        return self.status in ("completed", "early_stopping")

    # metrics.csv and events.jsonl

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.csv``, numbers as numbers; ``None`` where an older version wrote no such column."""
        path = self.path / "metrics.csv"
        rows = read_csv(path) if path.is_file() else []
        return [{name: _value(row.get(name, ""), kind) for name, kind in self.columns.items()} for row in rows]

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace ``metrics.csv``."""
        cells = ([row[name] for name in self.columns] for row in rows)
        write_text(self.path / "metrics.csv", csv_text(self.columns, cells))

    def append_event(self, values: Mapping[str, Any]) -> None:
        """Add a line to ``events.jsonl``.

        Raises:
            RunError: the file cannot be written.
        """
        path = self.path / "events.jsonl"
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(finite_values(values), ensure_ascii=False) + "\n")
        except OSError as error:
            raise RunError(f"Could not write {path}: {error.strerror}.") from None

    # last/ and figures/

    @property
    def state(self) -> Path:
        """The file that holds everything needed to go on with the training."""
        return self.path / "last" / "state.safetensors"

    @property
    def previous_state(self) -> Path:
        """The state that was saved before the last one."""
        return self.path / "last" / "previous.safetensors"

    def keep_previous_state(self) -> None:
        """Replace the state, which is damaged, by the one before it; else it would become the previous one."""
        replacement = self.state.with_name("state.restored")
        shutil.copyfile(self.previous_state, replacement)
        os.replace(replacement, self.state)

    @property
    def figures(self) -> Path:
        """The folder of the figures."""
        return self.path / "figures"


def kind_of_run(path: Path) -> str:
    """Return what was trained in the run at ``path``, such as ``"GAN"``; ``"classifier"`` where there is no run."""
    return str(read_json(path / "env.json").get("kind", CLASSIFIER)) if is_run(path) else CLASSIFIER


def is_run(path: Path) -> bool:
    """Return whether the folder ``path`` is that of a run."""
    return (path / "env.json").is_file()


def run_folders(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the run folders in ``folder``, by name; a folder that does not exist holds none."""
    return sorted(path.parent for path in Path(folder).glob("*/env.json"))


def _runs_beside(path: Path) -> str:
    inside = [str(run) for run in run_folders(path)]
    if inside:
        return f"It holds {'a run' if len(inside) == 1 else 'runs'}: {', '.join(inside[:8])}. Name one of them."
    names = [run.name for run in run_folders(path.parent)]
    return f"Runs in {path.parent}: {', '.join(names[:8])}." if names else "`cnnlab runs` lists the runs here."


def json_text(values: Mapping[str, Any]) -> str:
    """Return values as indented JSON with a newline at the end."""
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _value(text: str, kind: str) -> Any:
    if kind == "str":
        return text
    if not text:
        return None
    return text == "True" if kind == "bool" else int(text) if kind == "int" else float(text)
