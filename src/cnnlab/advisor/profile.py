"""The properties of a data set that decide how a network should be trained on it."""

from __future__ import annotations

from dataclasses import dataclass

from cnnlab.data import ImageData, class_counts


@dataclass(frozen=True)
class DataProfile:
    """The properties of a data set.

    Attributes:
        name: name of the data set.
        classes: number of classes.
        channels: number of channels of the images, 1 or 3.
        train: number of training images.
        each_epoch: number of images that a run evaluates after every epoch.
        fewest: number of images of the smallest class that occurs.
        most: number of images of the largest class.
        size: side in pixels of images of one size; None for photos.
        short_side: median of the photos' short sides in pixels; None for images of one size.
    """

    name: str
    classes: int
    channels: int
    train: int
    each_epoch: int
    fewest: int
    most: int
    size: int | None
    short_side: int | None

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
        kind = (
            f"{colour} photos, short side about {self.short_side}"
            if self.photos
            else f"{colour}, {self.size}x{self.size}"
        )
        return f"{self.train:,} images to learn from, {self.classes} classes ({each} each), {kind}"


def profile(data: ImageData) -> DataProfile:
    """Return the profile of ``data``."""
    train = data.train
    counts = class_counts(train, data.classes)
    counts = counts[counts > 0]
    photos = train.photos or train.size is None
    short_sides = sorted(min(image.size) for image in getattr(train, "scanned", None) or [])
    evaluated = data.val or data.test
    return DataProfile(
        name=data.name,
        classes=len(data.classes),
        channels=train.channels,
        train=len(train),
        each_epoch=len(evaluated) if evaluated is not None else 0,
        fewest=int(counts.min()),
        most=int(counts.max()),
        size=None if photos or train.size is None else max(train.size),
        short_side=short_sides[len(short_sides) // 2] if photos and short_sides else None,
    )
