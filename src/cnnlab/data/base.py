"""The data set: named splits of labelled images, in memory or in files."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cnnlab.data.decoding import to_tensor
from cnnlab.data.preprocess import FILTERS, Preprocess
from cnnlab.data.stratify import stratified_choice, stratified_split
from cnnlab.errors import DataError, UsageError
from cnnlab.hardware import free_memory


@dataclass(frozen=True)
class Crops:
    """Random resized crops, drawn before the sizes of the images are known.

    "Inception" cropping (Szegedy et al., Going Deeper with Convolutions, 2015, section 6): a box of a random share of
    the area and a random aspect ratio. Several boxes are drawn for each image; the first that fits is used, and the
    largest centred box with an aspect ratio in 3/4..4/3 when none does.

    Args:
        area: share of the image's area, (n, tries).
        aspect: width divided by height, (n, tries).
        position: vertical and horizontal position of the box among the possible ones, 0..1, (n, 2).
    """

    area: np.ndarray
    aspect: np.ndarray
    position: np.ndarray

    def __len__(self) -> int:
        return len(self.area)

    def cut(self, i: int, image: Image.Image, preprocess: Preprocess) -> Tensor:
        """Return the box of image ``i`` of the batch, cut out of the decoded image: uint8 (C, S, S)."""
        top, left, height, width = self.box(i, image.height, image.width)
        size, area = (preprocess.size, preprocess.size), (left, top, left + width, top + height)
        return to_tensor(image.resize(size, FILTERS[preprocess.interpolation], box=area))

    def box(self, i: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Return (top, left, height, width) in pixels for image ``i`` of the batch, whose size is now known."""
        pixels = self.area[i] * (height * width)
        widths = np.sqrt(pixels * self.aspect[i]).round().astype(int)
        heights = np.sqrt(pixels / self.aspect[i]).round().astype(int)
        fits = (widths > 0) & (heights > 0) & (widths <= width) & (heights <= height)
        if fits.any():
            first = int(fits.argmax())
            h, w = int(heights[first]), int(widths[first])
            return int(self.position[i, 0] * (height - h + 1)), int(self.position[i, 1] * (width - w + 1)), h, w
        h, w = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
        return (height - h) // 2, (width - w) // 2, h, w


class Split(ABC):
    """One split of a data set: labelled images that are fetched by position.

    Attributes:
        labels: int64 (N,), position in the list of classes.
        names: file of each image relative to the root of the data, or None for images in memory.
        channels: native channels, 1 or 3.
        size: native (height, width) in pixels, None when files differ.
        depth: number of bits that grey files with 16 bits per pixel use.
    """

    labels: Tensor
    names: list[str] | None
    channels: int
    size: tuple[int, int] | None
    depth: int = 16

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def fetch(self, indices: Tensor, preprocess: Preprocess, crops: Crops | None = None) -> Tensor:
        """Return uint8 (n, C, S, S) on the CPU: the images at ``indices``, as ``preprocess.pixels`` makes them.

        Args:
            indices: int64 (n,) positions.
            preprocess: size, channels and way of resizing.
            crops: boxes to cut instead of the usual resize and centre crop; one per index.

        Raises:
            DataError: a file cannot be read any more.
        """

    @abstractmethod
    def subset(self, indices: Tensor | Sequence[int]) -> Split:
        """Return a split of the images at ``indices``, in that order."""

    @property
    def photos(self) -> bool:
        """Whether these are photographs, which are resized and cropped, rather than small images used whole."""
        return False

    def fingerprint(self) -> int:
        """Return a checksum of the images and labels in their order, to tell whether two splits are the same."""
        return zlib.crc32("\n".join(self.names or []).encode(), zlib.crc32(self.labels.numpy().tobytes()))

    @abstractmethod
    def joined(self, other: Split) -> Split:
        """Return a split of these images and then those of ``other``, which is of the same kind."""

    def image(self, index: int, preprocess: Preprocess) -> Tensor:
        """Return uint8 (C, S, S): one image."""
        return self.fetch(torch.tensor([index]), preprocess)[0]


def memory_budget() -> int:
    """Return how many bytes one split may keep of decoded images: 2 GiB, or 25 % of the free memory when less."""
    return min(2 << 30, free_memory() // 4)


@dataclass
class ImageData:
    """A data set: its classes and its splits.

    Args:
        name: short name, used in the names of runs.
        classes: class names; a label is a position in this list.
        train: images to learn from.
        val: images to choose by, if there are any.
        test: images to report on, if there are any.
        source: origin of the data: files, package or address.
        notes: lines that say how the data was read.
        skipped: (file, reason) of each file that was left out.
        divided: whether train and val were one, and were divided here by a seed.
        ignored_files: number of files that were left aside: no images, or images without a class.
        ignored_folders: number of folders that were left aside.
    """

    name: str
    classes: list[str]
    train: Split
    val: Split | None
    test: Split | None
    source: str
    notes: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    divided: bool = False
    ignored_files: int = 0
    ignored_folders: int = 0

    def __post_init__(self) -> None:
        if len(self.train) == 0:
            raise DataError(f'The training split of "{self.name}" is empty; at least one image is needed.')
        for split_name, split in self.splits().items():
            low, high = (int(split.labels.min()), int(split.labels.max())) if len(split) else (0, 0)
            if low < 0 or high >= len(self.classes):
                raise DataError(
                    f'"{self.name}" has {len(self.classes)} classes, so labels are 0..{len(self.classes) - 1}; '
                    f"its {split_name} split has labels {low}..{high}. Correct the labels."
                )

    def splits(self) -> dict[str, Split]:
        """Return the splits that exist: ``train``, ``val``, ``test``, in this order."""
        every = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in every.items() if split is not None}

    def with_validation(self, fraction: float, seed: int) -> ImageData:
        """Return the data with a stratified part of train as val; unchanged when there is a val already.

        Args:
            fraction: share of the training images, in (0, 1).
            seed: seed of the random choice.

        Raises:
            UsageError: fraction is not between 0 and 1.
            DataError: train has too few images to be divided.
        """
        if self.val is not None:
            return self
        rest, part = stratified_split(self.train.labels, fraction, seed)
        note = f"validation: {len(part)} of the {len(self.train)} training images, stratified, seed {seed}"
        return replace(self, train=self.train.subset(rest), val=self.train.subset(part), notes=[*self.notes, note])

    def limited(
        self, train: int | None = None, *, val: int | None = None, test: int | None = None, seed: int = 0
    ) -> ImageData:
        """Return the data with at most this many images per split, drawn by class in proportion.

        Args:
            train, val, test: largest number of images of each split; None for no limit.
            seed: seed of the random choice.

        Raises:
            UsageError: a limit is below 1.
        """
        limits = {"train": train, "val": val, "test": test}
        changed: dict[str, Any] = {}
        notes = list(self.notes)
        for name, split in self.splits().items():
            limit = limits[name]
            if limit is not None and limit < 1:
                raise UsageError(f"{name} is to be limited to {limit} images; give at least 1.")
            if limit is not None and limit < len(split):
                changed[name] = split.subset(stratified_choice(split.labels, limit, seed))
                notes.append(f"{name}: {limit} of {len(split)} images, stratified, seed {seed}")
        return replace(self, **changed, notes=notes)

    def split_rows(self) -> list[dict[str, Any]]:
        """Return a row per image: ``split``, ``index`` in it, ``name`` (file, or ""), ``label`` (name of the class)."""
        rows = []
        for split_name, split in self.splits().items():
            names = split.names or [""] * len(split)
            for index, (name, label) in enumerate(zip(names, split.labels.tolist(), strict=True)):
                rows.append({"split": split_name, "index": index, "name": name, "label": self.classes[label]})
        return rows

    def class_weights(self) -> Tensor:
        """Return float32 (classes,): weights for the loss that make every class count the same.

        ``n / (classes * count)`` of the training split ("balanced" in scikit-learn; King and Zeng, Logistic Regression
        in Rare Events Data, 2001): their mean over the training images is 1. A class without images gets 0.
        """
        counts = class_counts(self.train, self.classes).double()
        present = counts > 0
        weights = torch.zeros_like(counts)
        weights[present] = len(self.train) / (int(present.sum()) * counts[present])
        return weights.float()


def class_counts(split: Split, classes: Sequence[str]) -> Tensor:
    """Return int64 (classes,): how many images of each class a split has."""
    return torch.bincount(split.labels, minlength=len(classes))


def channel_statistics(
    split: Split, preprocess: Preprocess, *, sample: int = 5000
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure mean and standard deviation per channel of pixels in 0..1, for data without known ones.

    Args:
        split: usually the training split.
        preprocess: size, channels and way of resizing; its mean and std are not used.
        sample: largest number of images that are measured, evenly spaced.

    Returns:
        (mean, std), a value per channel. A constant channel gets std 1, so that it can be divided by.
    """
    step = max(1, -(-len(split) // sample))
    total = torch.zeros(preprocess.channels, dtype=torch.float64)
    squares = torch.zeros(preprocess.channels, dtype=torch.float64)
    positions = torch.arange(0, len(split), step)
    for part in positions.split(256):
        pixels = split.fetch(part, preprocess).to(torch.float64).div_(255)
        total += pixels.sum((0, 2, 3))
        squares += pixels.square().sum((0, 2, 3))
    count = len(positions) * preprocess.size**2
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    std[std < 1e-6] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())
