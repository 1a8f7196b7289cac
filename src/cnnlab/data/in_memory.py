"""Named data sets in memory: their construction, and the fixed division of those that come without one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from cnnlab.data.base import ImageData

#: The images uint8 (N, C, H, W) and the labels int64 (N,) of a split.
Arrays: TypeAlias = tuple[np.ndarray, np.ndarray]

#: Class names of the data sets of handwritten digits.
DIGITS = tuple("0123456789")


def named_data(name: str, classes: Sequence[str], train: Arrays, test: Arrays, source: str) -> ImageData:
    """Make a data set of the arrays of two splits."""
    # Imported here: the list of data sets, and so every module that registers one, does without torch.
    from cnnlab.data.array_split import ArraySplit
    from cnnlab.data.base import ImageData

    _, channels, height, width = train[0].shape
    notes = [
        f"{len(classes)} classes, train {len(train[0])}, no val, test {len(test[0])}",
        f"images of {width}x{height} pixels (width x height), {'grey' if channels == 1 else 'colour'}",
        f"read from {source}",
    ]
    return ImageData(name, list(classes), ArraySplit(*train), None, ArraySplit(*test), source, notes)


def fixed_division(images: np.ndarray, labels: np.ndarray, per_class: np.ndarray) -> tuple[Arrays, Arrays]:
    """Return the arrays of train and of test; which images are for testing is the same for ever.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        per_class: number of test images of each class, (classes,).
    """
    # NumPy promises that RandomState's numbers never change; those of the newer Generator may.
    rng = np.random.RandomState(1998)
    parts = [rng.permutation(np.flatnonzero(labels == label))[:count] for label, count in enumerate(per_class)]
    test = np.sort(np.concatenate(parts))
    train = np.delete(np.arange(len(labels)), test)
    return (images[train], labels[train]), (images[test], labels[test])
