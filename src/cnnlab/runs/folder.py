"""The run folder: its name and every file in it.

``runs/<model>-<data>-<n>/`` is never overwritten and holds everything about one training::

    recipe.yaml         resolved; `cnnlab train --recipe recipe.yaml` runs it again
    env.json            versions, device, threads, git commit
    metrics.csv         one row per epoch
    events.jsonl        what happened, with times
    model.safetensors   the selected weights; model.json: architecture, classes, preprocessing
    epochs/             the weights after chosen epochs in 16 bits, 0000.safetensors before the training (keep_epochs)
    last/               the state to go on from
    split.csv           which file is in which split (photos)
    summary.json        status and final numbers
    predictions.csv     every image of the evaluated split; scores.npz: their logits
    figures/            report.html

File names and class names in the CSV files that a spreadsheet would run as a formula (``=``, ``+``, ``-``, ``@`` at the
start) are written with an apostrophe before them, as spreadsheets do; reading takes it off again.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import cnnlab
from cnnlab.data import ImageData, Preprocess
from cnnlab.errors import RunError
from cnnlab.files import csv_text, read_csv, replacing, write_text
from cnnlab.hardware import processor_name
from cnnlab.runs.training_folder import TrainingFolder, json_text
from cnnlab.training.checkpoint import FORMAT, ModelFile, half_precision, load_tensors, save_tensors
from cnnlab.training.events import EpochDone, Event
from cnnlab.training.metrics import softmax
from cnnlab.training.recipe import Recipe
from cnnlab.training.settings import Settings
from cnnlab.training.shipped import load_recipe

# The columns of metrics.csv with their types: what an epoch reports about itself, see training/events.py.
EPOCH_COLUMNS = {field.name: str(field.type) for field in fields(EpochDone) if field not in fields(Event)}


class RunFolder(TrainingFolder):
    """The files of a run; no other module reads or writes them.

    Args:
        path: the folder.

    Raises:
        RunError: there is no run at ``path``.
        CheckpointError: the run was written by a newer cnnlab.
    """

    columns = EPOCH_COLUMNS

    def __repr__(self) -> str:
        accuracy = self.summary.get("accuracy")
        reached = f", {accuracy:.2%} on {self.summary['split']}" if accuracy is not None else ""
        return f"{type(self).__name__}({str(self.path)!r}, {self.status}{reached})"

    # recipe.yaml

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return load_recipe(self.path / "recipe.yaml")

    # model.json, model.safetensors and last/

    @cached_property
    def model_file(self) -> ModelFile:
        """The contents of ``model.json``."""
        return ModelFile.load(self.path)

    def write_model(self, file: ModelFile, weights: Mapping[str, torch.Tensor]) -> None:
        """Replace ``model.json`` and ``model.safetensors``."""
        file.save(self.path, weights)
        self.__dict__.pop("model_file", None)

    @property
    def has_weights(self) -> bool:
        """Whether there is a ``model.safetensors``."""
        return (self.path / "model.safetensors").is_file()

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
        """The preprocessing that turns an image into the network's input."""
        return self.model_file.preprocess

    def model(self, epoch: int | None = None) -> nn.Module:
        """Build the network with its weights, in eval mode on the CPU.

        Args:
            epoch: the number of an epoch in :attr:`epochs`, for the weights after that epoch; the selected weights when
                ``None``.

        Raises:
            RunError: the weights of the epoch were not kept.
        """
        return self.model_file.model(self.path, None if epoch is None else self._epoch_file(epoch))

    # epochs/

    @property
    def epochs(self) -> list[int]:
        """The numbers of the epochs whose weights were kept, rising; 0 stands for the weights before the training."""
        files = (self.path / "epochs").glob("*.safetensors")
        return sorted(int(file.stem) for file in files if re.fullmatch("[0-9]{4,}", file.stem))

    def write_epoch(self, epoch: int, model: nn.Module) -> None:
        """Keep the weights of a network after an epoch; see :func:`cnnlab.training.checkpoint.half_precision`."""
        folder = self.path / "epochs"
        folder.mkdir(exist_ok=True)
        save_tensors(folder / f"{epoch:04}.safetensors", half_precision(model), {"epoch": str(epoch)})

    def remove_epochs_after(self, epoch: int) -> None:
        """Remove the weights of the epochs after ``epoch``, which are trained again."""
        for later in self.epochs:
            if later > epoch:
                self._epoch_file(later).unlink()

    def epoch_weights(self, epoch: int) -> dict[str, torch.Tensor]:
        """Return the weights after an epoch as a state dict, floating-point numbers in float32.

        Raises:
            RunError: the weights of the epoch were not kept.
            CheckpointError: their file is damaged.
        """
        tensors, _ = load_tensors(self._epoch_file(epoch))
        return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in tensors.items()}

    def _epoch_file(self, epoch: int) -> Path:
        if epoch not in self.epochs:
            kept = f"There are those of the epochs {', '.join(map(str, self.epochs))}." if self.epochs else ""
            raise RunError(
                f"{self.path} has no weights of epoch {epoch}. {kept or 'A training with keep_epochs=all keeps them.'}"
            )
        return self.path / "epochs" / f"{epoch:04}.safetensors"

    # scores.npz, predictions.csv and split.csv

    @property
    def evaluated(self) -> bool:
        """Whether there are scores of a split."""
        return (self.path / "scores.npz").is_file()

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the saved logits (N, K) float32 and labels (N,) int64 of the split named in the summary.

        Raises:
            RunError: the run has not been evaluated yet.
        """
        if not self.evaluated:
            raise RunError(f"{self.path} has no scores yet ({self.status}). Go on with `cnnlab resume {self.path}`.")
        with np.load(self.path / "scores.npz", allow_pickle=False) as arrays:
            return arrays["logits"], arrays["labels"]

    def write_scores(
        self, logits: np.ndarray, labels: np.ndarray, classes: Sequence[str], split: str, files: Sequence[str] | None
    ) -> None:
        """Replace ``scores.npz`` and ``predictions.csv``.

        Args:
            logits: scores before the softmax, (N, K).
            labels: true classes, (N,), as positions in ``classes``.
            classes: K class names.
            split: name of the split, ``"test"``, ``"val"`` or ``"train"``.
            files: file of each image relative to the root of the data; ``None`` for images in memory.
        """
        with replacing(self.path / "scores.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, logits=logits.astype(np.float32, copy=False), labels=labels.astype(np.int64, copy=False))
        confidence, answers = softmax(logits).max(axis=1), logits.argmax(axis=1)
        rows = []
        for index, (label, answer) in enumerate(zip(labels.tolist(), answers.tolist(), strict=True)):
            words = files[index] if files else "", classes[label], classes[answer]
            rows.append([split, index, *words, f"{confidence[index]:.6f}", int(label == answer)])
        header = ["split", "index", "file", "label", "prediction", "confidence", "correct"]
        write_text(self.path / "predictions.csv", csv_text(header, rows))

    def evaluated_files(self) -> list[str]:
        """Return the files of the images in ``predictions.csv``, ``""`` for images in memory; none without a file."""
        path = self.path / "predictions.csv"
        return [row["file"] for row in read_csv(path)] if path.is_file() else []

    def write_split(self, data: ImageData) -> None:
        """Write ``split.csv`` for images in files; data sets with fixed splits need no such list."""
        if data.train.names is None:
            return
        header = ["split", "index", "name", "label"]
        rows = ([row[name] for name in header] for row in data.split_rows())
        write_text(self.path / "split.csv", csv_text(header, rows))

    def split_files(self, split: str) -> list[str]:
        """Return the files of a split in the order of ``split.csv``; none when there is no such file."""
        path = self.path / "split.csv"
        rows = read_csv(path) if path.is_file() else []
        return [row["name"] for row in rows if row["split"] == split and row["name"]]

    # figures/ and report.html

    @property
    def report_file(self) -> Path:
        """The page about the run."""
        return self.path / "report.html"


# Making folders ------------------------------------------------------------------------------------------------------


def create_run(recipe: Recipe, out: str | os.PathLike[str] | None = None, root: str | Path = "runs") -> RunFolder:
    """Make a new run folder for a resolved ``recipe``.

    Args:
        recipe: the recipe, written to ``recipe.yaml``.
        out: the folder to make; ``root/<model>-<data>-<n>`` with the next free number when ``None``.
        root: the folder of runs.

    Raises:
        RunError: ``out`` has something in it already, or the folder cannot be written.
    """
    return RunFolder(begin_folder(recipe, run_name(recipe.model, recipe.data), out, root))


def begin_folder(
    recipe: Settings, name: str, out: str | os.PathLike[str] | None, root: str | Path, **facts: str
) -> Path:
    """Make a new folder with the files ``recipe.yaml`` and ``env.json`` of a training.

    Args:
        recipe: the resolved recipe.
        name, out, root: see :func:`new_folder`.
        facts: further values for ``env.json``, such as the kind of the run.

    Raises:
        RunError: ``out`` has something in it already, or the folder cannot be written.
    """
    path = new_folder(out, name, root)
    write_text(path / "recipe.yaml", recipe.to_yaml())
    write_text(path / "env.json", json_text(environment() | facts))
    return path


def run_name(model: str, data: str) -> str:
    """Return the name of a run's folder without its number, from the names of the network and of its data.

    Args:
        model: name of the network.
        data: name of a data set, or path of a folder, a CSV file or tar files.
    """
    short = Path(data).stem if "/" in data or "\\" in data or data.endswith((".csv", ".tar")) else data
    return f"{_plain(model)}-{_plain(short).strip('_.') or 'data'}"


def new_folder(out: str | os.PathLike[str] | None, name: str, root: str | os.PathLike[str]) -> Path:
    """Make an empty folder for results; nothing is ever overwritten.

    Args:
        out: the folder; ``root/<name>-<n>`` with the next free number when ``None``.
        name: name of the folder without its number.
        root: the folder in which numbered folders are made.

    Raises:
        RunError: ``out`` has something in it already, or the folder cannot be made.
    """
    try:
        if out is None:
            return _numbered_folder(Path(root), file_name(name))
        path = Path(out)
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise RunError(f"{path} exists and is not empty; a folder is never overwritten. Choose another --out.")
        path.mkdir(parents=True, exist_ok=True)
        return path
    except OSError as error:
        raise RunError(
            f"Cannot make the folder {error.filename}: {error.strerror}. Choose one that you may write to with --out."
        ) from None


def file_name(text: str) -> str:
    """Return ``text`` as part of a file name: letters, digits, dots, dashes, underscores."""
    return re.sub(r"[^\w.-]+", "_", text).strip("_.") or "photo"


def _numbered_folder(root: Path, name: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    endings = (path.name[len(name) + 1 :] for path in root.glob(f"{name}-*"))
    number = max((int(ending) for ending in endings if ending.isdigit()), default=0) + 1
    while True:  # another process may take the number first
        path = root / f"{name}-{number}"
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1


def _plain(text: str) -> str:
    return re.sub(r"[^\w.]+", "_", text)


# Values --------------------------------------------------------------------------------------------------------------


def environment() -> dict[str, Any]:
    """Return what a result may depend on besides the recipe: versions, device, threads, commit."""
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
    """Return the commit of the source tree that cnnlab runs from, when it is a git checkout."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
