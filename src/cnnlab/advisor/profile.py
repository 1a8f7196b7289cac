"""The properties of a data set that decide how a network should be trained on it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from cnnlab.data import ImageData, class_counts


@dataclass(frozen=True)
class DataProfile:
    """The properties of a data set."""

    name: str  #: name of the data set
    classes: int  #: number of classes
    channels: int  #: number of channels of the images, 1 or 3
    train: int  #: number of training images
    each_epoch: int  #: number of images that a run evaluates after every epoch
    fewest: int  #: number of images of the smallest class that occurs
    most: int  #: number of images of the largest class
    size: int | None  #: side in pixels of images of one size; None for photos
    short_side: int | None  #: median of the photos' short sides in pixels; None for images of one size

    @property
    def photos(self) -> bool:
        """Whether the images are photos of various sizes."""
        return self.size is None

    @property
    def imbalance(self) -> float:
        """How many times as many images the largest class has as the smallest."""
        return self.most / max(self.fewest, 1)

    def describe(self) -> str:
        """Return the profile in one line."""
        each = f"{self.fewest:,}" if self.fewest == self.most else f"{self.fewest:,} to {self.most:,}"
        colour = "colour" if self.channels == 3 else "grey"
        size = f" photos, short side about {self.short_side}" if self.photos else f", {self.size}x{self.size}"
        return f"{self.train:,} images to learn from, {self.classes} classes ({each} each), {colour}{size}"


def profile(data: ImageData) -> DataProfile:
    """Return the profile of ``data``."""
    train, evaluated = data.train, data.val or data.test
    counts = class_counts(train, data.classes)
    counts = counts[counts > 0]
    size = None if train.photos or train.size is None else max(train.size)
    short_sides = [min(image.size) for image in getattr(train, "scanned", None) or []] if size is None else []
    return DataProfile(
        name=data.name,
        classes=len(data.classes),
        channels=train.channels,
        train=len(train),
        each_epoch=len(evaluated) if evaluated is not None else 0,
        fewest=int(counts.min()),
        most=int(counts.max()),
        size=size,
        short_side=statistics.median_high(short_sides) if short_sides else None,
    )
