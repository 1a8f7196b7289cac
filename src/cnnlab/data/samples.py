"""A figure with samples of each class of a data set, as they are or as augmented in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from cnnlab import figures
from cnnlab.data.augment import Augment
from cnnlab.data.base import ImageData, Split
from cnnlab.data.loader import Loader
from cnnlab.data.preprocess import Preprocess
from cnnlab.errors import UsageError, did_you_mean

MOST_CLASSES = 100  # rows of a figure
PHOTO_SIZE = 128  # pixels: side of the pictures when the files have various sizes


@dataclass(frozen=True)
class TrainingView:
    """The preprocessing and augmentation that a training applies to images.

    Attributes:
        augment: random changes to the images; None stands for what recipes do with images of this kind.
        size: side of the network's input in pixels; None for the size of the images.
        crop_fraction: share of a photo's short side that is cut out.
    """

    augment: Augment | None = None
    size: int | None = None
    crop_fraction: float = 1.0


def draw_samples(
    data: ImageData,
    split: str = "train",
    *,
    view: TrainingView | None = None,
    mean: Sequence[float] | None = None,
    per_class: int | None = None,
    seed: int = 0,
) -> Figure:
    """Draw samples of each class, a row per class; the first 100 classes if there are more.

    Args:
        data: data set to draw from.
        split: ``"train"``, ``"val"`` or ``"test"``.
        view: preprocessing and augmentation of a training; None draws the images as they are.
        mean: mean of each channel of pixels in 0..1, with which augmentation fills uncovered pixels; 0.5 if not given.
        per_class: number of samples of each class; 10, or 6 of more than 25 classes, if not given.
        seed: seed of samples and augmentation.

    Raises:
        UsageError: the data set has no such split.
    """
    splits = data.splits()
    if split not in splits:
        raise UsageError(f'{data.name} has no split "{split}", only {", ".join(splits)}. {did_you_mean(split, splits)}')
    part = splits[split]
    applied = view or TrainingView(Augment())
    size = applied.size or (PHOTO_SIZE if part.photos or part.size is None else max(part.size))
    augment = applied.augment or _customary(part, size)
    preprocess = Preprocess(
        size=size,
        channels=part.channels,
        mean=tuple(mean or (0.5,) * part.channels),
        std=(0.5,) * part.channels,
        resize="crop" if part.photos else "stretch",
        crop_fraction=applied.crop_fraction if part.photos else 1.0,
        depth=part.depth,
    )
    classes = data.classes[:MOST_CLASSES]
    chosen = _choose(part.labels.numpy(), len(classes), per_class or (10 if len(classes) <= 25 else 6), seed)
    rows = part.subset(chosen[chosen >= 0].tolist())
    loader = Loader(rows, preprocess, len(rows), classes=len(data.classes), augment=augment, seed=seed)
    batch = next(iter(loader.epoch(0)))
    pixels = preprocess.denormalize(batch.images.contiguous()).permute(0, 2, 3, 1).numpy()
    grid = np.full((*chosen.shape, *pixels.shape[1:]), 255, np.uint8)  # white where a class has too few images
    grid[chosen >= 0] = pixels
    title = f"{data.name}, {split}"
    if view:
        usual, settings = Augment().model_dump(), augment.model_dump().items()
        changes = [key if value is True else f"{key} {value}" for key, value in settings if value != usual[key]]
        title += f" as in training: {', '.join(changes) or 'unchanged'}"
    if len(classes) < len(data.classes):
        title += f" (the first {len(classes)} of {len(data.classes)} classes)"
    return figures.sample_grid(grid, classes, title)


def _customary(part: Split, size: int) -> Augment:
    """Return what recipes do with images of this kind: colour ones are shifted by an eighth and mirrored."""
    colour = part.channels == 3
    if part.photos:
        return Augment(flip=colour, crop_scale=0.35)
    return Augment(flip=colour, crop=max(1, size // (8 if colour else 14)))


def _choose(labels: np.ndarray, classes: int, count: int, seed: int) -> np.ndarray:
    """Return int64 (classes, count): positions drawn from each class, -1 where a class has too few."""
    rng = np.random.default_rng(seed)
    chosen = np.full((classes, count), -1)
    for label in range(classes):
        drawn = rng.permutation(np.flatnonzero(labels == label))[:count]
        chosen[label, : len(drawn)] = drawn
    return chosen
