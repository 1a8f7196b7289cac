"""The run folder: create it, open it, list what there is.

``runs/<model>-<data>-<n>/`` is never overwritten and holds everything about one training::

    recipe.yaml         resolved; `cnnlab train --recipe recipe.yaml` runs it again
    env.json            versions, device, threads, git commit
    metrics.csv         one row per epoch
    events.jsonl        what happened, with times
    model.safetensors   the kept weights; model.json: architecture, classes, preprocessing
    last/               the state to go on from
    split.csv           which file is in which split (photos)
    summary.json        status and final numbers
    predictions.csv     every image of the evaluated split; scores.npz: their logits
    figures/            report.html
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import cnnlab
from cnnlab.data import ImageData, Preprocess
from cnnlab.errors import CheckpointError, RunError
from cnnlab.files import write_text
from cnnlab.hardware import processor_name
from cnnlab.training.checkpoint import FORMAT, ModelFile, read_json
from cnnlab.training.recipe import Recipe, load_recipe

METRICS = (
    "epoch",
    "step",
    "lr",
    "train_loss",
    "train_accuracy",
    "split",
    "val_loss",
    "val_accuracy",
    "seconds",
    "images_per_second",
    "is_best",
)


class Run:
    """A run folder, opened.

    Args:
        path: the folder.

    Raises:
        RunError: there is no run at ``path``.
        CheckpointError: it was written by a newer cnnlab.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise RunError(f"{self.path} is no run folder: there is no such folder. {_known_runs(self.path)}")
        if not (self.path / "env.json").is_file():
            raise RunError(f"{self.path} is no run folder: it has no env.json. {_known_runs(self.path)}")
        self.env: dict[str, Any] = read_json(self.path / "env.json")

    def __repr__(self) -> str:
        accuracy = self.summary.get("accuracy")
        reached = f", {accuracy:.2%} on {self.summary['split']}" if accuracy is not None else ""
        return f"Run({str(self.path)!r}, {self.status}{reached})"

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return load_recipe(self.path / "recipe.yaml")

    @property
    def summary(self) -> dict[str, Any]:
        """``summary.json``: status, split, accuracy, loss, kept_epoch, seconds, ..."""
        path = self.path / "summary.json"
        return read_json(path) if path.is_file() else {"status": "unfinished"}

    @property
    def status(self) -> str:
        """``completed``, ``early_stopping``, ``interrupted``, ``diverged``, ``running`` (or killed while it ran)."""
        return str(self.summary["status"])

    @property
    def finished(self) -> bool:
        """Whether the training reached its end."""
        return self.status in ("completed", "early_stopping")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.csv``, numbers as numbers."""
        path = self.path / "metrics.csv"
        if not path.is_file():
            return []
        with open(path, newline="", encoding="utf-8") as file:
            return [{key: _number(key, value) for key, value in row.items()} for row in csv.DictReader(file)]

    @cached_property
    def model_file(self) -> ModelFile:
        """What ``model.json`` says."""
        return ModelFile.load(self.path)

    @property
    def arch(self) -> dict[str, Any]:
        """Arguments of :func:`cnnlab.zoo.create_model`."""
        return self.model_file.arch

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the network's outputs."""
        return self.model_file.classes

    @property
    def preprocess(self) -> Preprocess:
        """From an image to the network's input."""
        return self.model_file.preprocess

    def model(self) -> nn.Module:
        """Build the network with the kept weights, in eval mode on the CPU."""
        return self.model_file.model(self.path)

    def first_model(self) -> nn.Module:
        """Build the network as it was before the training, in eval mode on the CPU.

        Its weights are drawn anew from the run's seed, or are those that it began with (which then have to be there
        still). They are the same with the same version of torch; ``env.json`` says which it was.

        Raises:
            ModelError: the weights that it began with are gone.
        """
        from cnnlab.training.session import begin_network

        return begin_network(self.recipe, self.arch, torch.device("cpu")).eval()

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the saved logits (N, K) float32 and labels (N,) int64 of the split named in the summary.

        Raises:
            RunError: the run has not been evaluated yet.
        """
        path = self.path / "scores.npz"
        if not path.is_file():
            raise RunError(f"{self.path} has no scores yet ({self.status}). Go on with `cnnlab resume {self.path}`.")
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["logits"], arrays["labels"]

    def predict(self, images: Any, **options: Any) -> Any:
        """Predict images (paths, a folder, arrays, PIL images); see :func:`cnnlab.runs.predict.predict`."""
        from cnnlab.runs.predict import predict

        return predict(self, images, **options)

    def explain(self, photo: Any, methods: Sequence[str] | None = None, **options: Any) -> Any:
        """Say why the network answers as it does to a photo; see :func:`cnnlab.runs.explain.explain_photo`."""
        from cnnlab.runs.explain import explain_photo

        return explain_photo(self, photo, methods, **options)

    def report(self, data: ImageData | None = None) -> Path:
        """Write ``report.html`` and return its path; ``data`` saves loading the run's data again for its pictures."""
        from cnnlab.runs.report import write_report

        return write_report(self, data)

    def next_steps(self) -> list[str]:
        """Three commands worth trying after this run."""
        path, data = shlex.quote(str(self.path)), shlex.quote(self.recipe.data)
        grey = self.preprocess.channels == 1
        look = (
            f"cnnlab predict {path} {data}"
            if Path(self.recipe.data).is_dir()
            else f"cnnlab data {data} --figure samples.png"
        )
        other = next(name for name in ("mnist_cnn" if grey else "convnet", "resnet18") if name != self.recipe.model)
        on = "" if self.recipe.data == "mnist5k" else f" --data {data}"
        train = f"cnnlab train {other}{on}"
        if self.recipe.freeze != "none" and self.recipe.weights == "imagenet" and not self.recipe.unfreeze_at:
            train = f"cnnlab train {self.recipe.model}{on} --weights imagenet"  # all of it
        return [f"cnnlab evaluate {path}", look, train]

    def update_summary(self, **values: Any) -> None:
        """Change ``summary.json``."""
        summary = {"format": FORMAT} | self.summary | values
        summary = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in summary.items()}
        write_text(self.path / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")

    def write_metrics(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replace ``metrics.csv``."""
        lines = [",".join(METRICS)]
        lines += [",".join(_text(row[key]) for key in METRICS) for row in rows]
        write_text(self.path / "metrics.csv", "\n".join(lines) + "\n")


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open the run folder at ``path``; see :class:`Run`."""
    return Run(path)


def list_runs(folder: str | os.PathLike[str] = "runs") -> list[Run]:
    """Return the runs in ``folder``, oldest first; a folder that does not exist holds none.

    Runs that this version cannot read are left out.
    """
    runs = []
    for path in Path(folder).glob("*/env.json"):
        with contextlib.suppress(CheckpointError):
            runs.append(Run(path.parent))
    return sorted(runs, key=lambda run: (run.env.get("started", ""), run.name))


def create_run(recipe: Recipe, out: str | os.PathLike[str] | None = None, root: str | Path = "runs") -> Run:
    """Make a new run folder for a resolved ``recipe``.

    Args:
        recipe: written to ``recipe.yaml``.
        out: the folder to make; ``root/<model>-<data>-<n>`` with the next free number when None.
        root: the folder of runs.

    Raises:
        RunError: ``out`` has something in it already, or the folder cannot be written.
    """
    try:
        path = _new_folder(Path(out)) if out is not None else _numbered_folder(recipe, Path(root))
    except OSError as error:
        raise RunError(
            f"Cannot make a run folder at {error.filename}: {error.strerror}. Choose a folder that you may write to "
            "with --out."
        ) from None
    write_text(path / "recipe.yaml", recipe.to_yaml())
    write_text(path / "env.json", json.dumps(environment(), indent=2, ensure_ascii=False) + "\n")
    return Run(path)


def _new_folder(path: Path) -> Path:
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise RunError(f"{path} exists and is not empty; a run is never overwritten. Choose another --out.")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _numbered_folder(recipe: Recipe, root: Path) -> Path:
    data = Path(recipe.data).stem if recipe.data_is_path else recipe.data
    name = re.sub(r"[^\w.]+", "_", f"{recipe.model}") + "-" + (re.sub(r"[^\w.]+", "_", data).strip("_.") or "data")
    root.mkdir(parents=True, exist_ok=True)
    numbers = [int(p.name[len(name) + 1 :]) for p in root.glob(f"{name}-*") if p.name[len(name) + 1 :].isdigit()]
    number = max(numbers, default=0) + 1
    while True:  # another process may take the number first
        path = root / f"{name}-{number}"
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1


def environment() -> dict[str, Any]:
    """What a result may depend on besides the recipe: versions, device, threads, commit."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "format": FORMAT,
        "cnnlab": cnnlab.__version__,
        "started": datetime.now(UTC).isoformat(timespec="microseconds"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": processor_name(),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "commit": _git_commit(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _git_commit() -> str | None:
    """Commit of the source tree that cnnlab runs from, when it is a git checkout."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _known_runs(path: Path) -> str:
    near = sorted(p.parent.name for p in path.parent.glob("*/env.json")) if path.parent.is_dir() else []
    return f"Runs in {path.parent}: {', '.join(near[:8])}." if near else "`cnnlab runs` lists the runs here."


def _number(key: str, text: str) -> Any:
    if key == "split":
        return text
    if key in ("epoch", "step"):
        return int(text)
    return text == "True" if key == "is_best" else float(text)


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
