"""Evaluate a run: on the split its training ended with, on another split, or on other data with the same classes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnnlab.data import ImageData, Loader, Split, data_sets, load_data
from cnnlab.data.decoding_split import DecodingSplit
from cnnlab.errors import CnnlabError, DataError, UsageError, did_you_mean
from cnnlab.runs.classifier import open_classifier
from cnnlab.runs.folder import RunFolder
from cnnlab.training.build import hold_out, load_recipe_data
from cnnlab.training.evaluation import evaluate as evaluate_split
from cnnlab.training.evaluation import evaluation_batch
from cnnlab.training.metrics import Metrics, evaluate_scores
from cnnlab.training.recipe import Recipe
from cnnlab.training.shipped import absolute_data
from cnnlab.training.state import check_same_data, read_facts

SPLITS = ("test", "val", "train")  # in the order of preference


@dataclass(frozen=True)
class Evaluation:
    """The logits of a run for the images of a split, and their metrics.

    Attributes:
        metrics: accuracy, per-class figures, calibration and so on.
        images_per_second: reading, preprocessing and network together, after a warm-up batch.
        device: the device that computed, with the precision, such as ``"cpu, bf16 channels_last"``.
        split: ``"test"``, ``"val"`` or ``"train"``.
        source: origin of the data.
        classes: class names in the order of the logits' columns.
        logits: scores of the K classes for N images, (N, K) float32.
        labels: true classes as indices into ``classes``, (N,) int64.
        names: file of each image relative to the data's root; ``None`` for images in memory.
        notes: remarks on the result, such as classes without an image.
    """

    metrics: Metrics
    images_per_second: float
    device: str
    split: str
    source: str
    classes: list[str]
    logits: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    names: list[str] | None = field(repr=False, default=None)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, ready for JSON."""
        return {
            "split": self.split,
            "source": self.source,
            "classes": self.classes,
            "device": self.device,
            "images_per_second": round(self.images_per_second, 1),
            "notes": list(self.notes),
            **self.metrics.to_dict(),
        }


def evaluate(
    run: RunFolder,
    data: str | os.PathLike[str] | ImageData | None = None,
    *,
    split: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    **reading: Any,
) -> Evaluation:
    """Evaluate the selected weights of ``run``.

    Args:
        run: an opened run; it may be unfinished, as long as it has weights.
        data: name or path of other data, or loaded data; the run's own when ``None``. Classes are matched by name. The
            run's own images at another place are divided as in the training.
        split: ``"test"``, ``"val"`` or ``"train"``; by default the one the training ended with, or for other data
            the first of these that exists.
        data_dir: folder in which data sets are looked for.
        device: the device to compute on; ``"auto"`` is that of the training, or else the best here.
        batch_size: number of images at a time; that of the training when ``None``, which gives the same numbers to
            the last bit.
        reading: ``layout``, ``label_column`` and ``file_column`` of :func:`cnnlab.data.load_data` for other data, where
            they are not those of the run.

    Raises:
        DataError: the data has classes the network does not know, or cannot be read.
        UsageError: there is no such split.
        DeviceError: the device is not on this machine.
    """
    if split is not None and split not in SPLITS:
        near = did_you_mean(split, SPLITS)
        raise UsageError(f'There is no split "{split}". {near or "Choose test, val or train."}')
    notes: list[str] = []
    image_data, images, split = _chosen(run, data, split, data_dir, notes, reading)
    labels = match_classes(image_data.classes, images.labels.numpy(), run.classes, image_data.name)
    if absent := len(run.classes) - len(np.unique(labels)):
        notes.append(f"{absent} of the {len(run.classes)} classes have no image in this split.")
    classifier = open_classifier(run, device)
    device_used, precision = classifier.device, classifier.precision
    size = evaluation_batch(run.recipe, run.preprocess.size) if batch_size is None else batch_size
    loader = Loader(images, run.preprocess, size, device=device_used, channels_last=precision.channels_last)
    # An empty batch pays for memory and the choice of kernels, so that the timing is of the steady state.
    side, channels = run.preprocess.size, run.preprocess.channels
    classifier.logits(torch.zeros(min(size, len(images)), channels, side, side, dtype=torch.uint8))
    started = time.perf_counter()
    logits, _ = evaluate_split(classifier.model, loader, device_used, precision)
    seconds = time.perf_counter() - started
    return Evaluation(
        metrics=evaluate_scores(logits, labels, run.classes),
        images_per_second=len(labels) / max(seconds, 1e-9),
        device=f"{device_used}, {precision.label}",
        split=split,
        source=image_data.source,
        classes=run.classes,
        logits=logits,
        labels=labels,
        names=images.names,
        notes=tuple(notes),
    )


def _chosen(
    run: RunFolder,
    data: str | os.PathLike[str] | ImageData | None,
    split: str | None,
    data_dir: str | os.PathLike[str] | None,
    notes: list[str],
    reading: Mapping[str, Any],
) -> tuple[ImageData, Split, str]:
    """Return the data, the images to evaluate on, and the name of their split; see :func:`evaluate`."""
    own: ImageData | None = None
    if data is None or (isinstance(data, str | os.PathLike) and _is_own(os.fspath(data), run)):
        own = load_own_data(run, data_dir)
    elif not isinstance(data, ImageData) and (own := _own_elsewhere(run, os.fspath(data), data_dir)):
        notes.append(f"{own.source} holds the run's own images; they are divided as in its training.")
    if own:
        split = split or run.summary.get("split") or _first_split(own)
        return own, own_split(run, own, split, notes), split
    assert data is not None
    other = data if isinstance(data, ImageData) else _read_as_own(run.recipe, os.fspath(data), data_dir, reading)
    if other.divided and split is None and other.val is not None:
        # A folder without splits: all of it is new to the network, not only the part that was set aside here.
        return other, other.train.joined(other.val), "all"
    split = split or _first_split(other)
    return other, _split_of(other, split), split


def _read_as_own(
    recipe: Recipe, data: str, data_dir: str | os.PathLike[str] | None, reading: Mapping[str, Any]
) -> ImageData:
    """Load other data as the recipe reads its own, unless ``reading`` says otherwise or a table has other columns."""
    options: dict[str, Any] = {"data_dir": data_dir, "layout": recipe.layout, **reading}
    columns = {}
    if Path(data).suffix.lower() in (".csv", ".tsv"):
        columns = {key: getattr(recipe, key) for key in ("label_column", "file_column") if key not in reading}
    try:
        return load_data(data, **options, **columns)
    except UsageError:
        if not any(columns.values()):
            raise
        return load_data(data, **options)


def _own_elsewhere(run: RunFolder, data: str, data_dir: str | os.PathLike[str] | None) -> ImageData | None:
    """Return the data at a path as the run divides its own, if it is that data, moved or copied; else None."""
    if not (run.recipe.data_is_path and run.state.is_file()) or data in data_sets:
        return None
    recipe = run.recipe.with_overrides(data=absolute_data(data, data_sets))
    try:
        own = hold_out(recipe, load_recipe_data(recipe, data_dir))
        check_same_data(read_facts(run.state), own, run.state)
    except CnnlabError:  # it cannot be read so, or is other data
        return None
    return own


def load_own_data(run: RunFolder, data_dir: str | os.PathLike[str] | None = None) -> ImageData:
    """Load the data that ``run`` was trained on, with the validation split held out as it was then.

    Raises:
        DataError: it is not there any more.
    """
    recipe = run.recipe
    return hold_out(recipe, load_recipe_data(recipe, data_dir))


def own_split(run: RunFolder, data: ImageData, split: str, notes: list[str]) -> Split:
    """Return a split of the run's own data, holding the very images it held when the run was trained.

    A folder may have changed since, and a flat one is then divided differently. The files are therefore looked up in
    the run's ``split.csv``, so that no image the network has learned from slips into its test.

    Args:
        notes: list to which remarks on missing images are appended.

    Raises:
        UsageError: the data has no such split.
        DataError: none of the files is left.
    """
    images = _split_of(data, split)
    saved = run.split_files(split)
    if not saved or not isinstance(images, DecodingSplit) or images.names == saved:
        return images
    if run.recipe.train_limit:  # what was left out of train then may be in another split now, and the reverse
        data = load_recipe_data(run.recipe)
    whole: Any = None
    for part in data.splits().values():
        whole = part if whole is None else whole.joined(part)
    rows = {name: row for row, name in enumerate(whole.names)}
    left = [name for name in saved if name in rows]
    if not left:
        raise DataError(
            f"None of the {len(saved)} images of this run's {split} split is in {data.source} any more."
            " Name the data with --data."
        )
    if len(left) < len(saved):
        notes.append(f"{len(saved) - len(left)} of the {len(saved)} images of this run's {split} split are gone.")
    found: Split = whole.subset([rows[name] for name in left])
    return found


def match_classes(data_classes: Sequence[str], labels: np.ndarray, classes: Sequence[str], name: str) -> np.ndarray:
    """Return labels of data as those of a network; classes are the same when their names are.

    Args:
        data_classes: class names of the data.
        labels: true classes as indices into ``data_classes``, (N,).
        classes: class names of the network.
        name: name of the data, for messages.

    Returns:
        (N,) positions in ``classes``.

    Raises:
        DataError: the network does not know a class of the data.
    """
    if list(data_classes) == list(classes):
        return labels
    position = {class_name: index for index, class_name in enumerate(classes)}
    if unknown := [class_name for class_name in data_classes if class_name not in position]:
        near = did_you_mean(unknown[0], classes)
        hint = f"{near} " if near else ""
        listed = ", ".join(classes[:12]) + (", ..." if len(classes) > 12 else "")
        raise DataError(
            f'"{name}" has {len(unknown)} class{"es" * (len(unknown) > 1)} that the network does not know, such as'
            f' "{unknown[0]}". {hint}It was trained on: {listed}. Rename the classes of the data to these names.'
        )
    return np.array([position[class_name] for class_name in data_classes], dtype=np.int64)[labels]


def _is_own(data: str, run: RunFolder) -> bool:
    """Return whether ``data`` names the data of the run's training, maybe by another spelling of the path."""
    if not run.recipe.data_is_path:
        return data == run.recipe.data
    return absolute_data(data, data_sets) == absolute_data(run.recipe.data, data_sets)


def _first_split(data: ImageData) -> str:
    return next(name for name in SPLITS if name in data.splits())


def _split_of(data: ImageData, split: str) -> Split:
    splits = data.splits()
    if split not in splits:
        raise UsageError(f'"{data.name}" has no {split} split. Choose --split from {", ".join(splits)}.')
    return splits[split]
