"""Named data sets in memory: their construction, and the fixed division of those that come without one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from cnnlab.data.base import ImageData

Arrays: TypeAlias = tuple[np.ndarray, np.ndarray]


def named_data(
    name: str,
    classes: Sequence[str],
    train: Arrays,
    test: Arrays,
    source: str,
) -> ImageData:
    """Make a data set in memory from (images uint8 (N, C, H, W), labels int64 (N,)) of two splits."""
    # Imported here: the list of data sets, and so every module that registers one, does without torch.
    from cnnlab.data.array_split import ArraySplit
    from cnnlab.data.base import ImageData

    data = ImageData(name, list(classes), ArraySplit(*train), None, ArraySplit(*test), source)
    _, channels, height, width = train[0].shape
    data.notes = [
        f"{len(classes)} classes, train {len(train[0])}, no val, test {len(test[0])}",
        f"images of {width}x{height} pixels (width x height), {'grey' if channels == 1 else 'colour'}",
        f"read from {source}",
    ]
    return data


def divide(images: np.ndarray, labels: np.ndarray, test: np.ndarray) -> tuple[Arrays, Arrays]:
    """Return ((images, labels) of train, (images, labels) of test), given the positions of the test images."""
    train = np.delete(np.arange(len(labels)), test)
    return (images[train], labels[train]), (images[test], labels[test])


def fixed_test_positions(labels: np.ndarray, per_class: np.ndarray) -> np.ndarray:
    """Return the sorted positions of the test images, ``per_class[k]`` of class ``k``, the same for ever.

    Args:
        labels: int64 (N,).
        per_class: number of test images of each class, (classes,).
    """
    # NumPy promises that RandomState's numbers never change; those of the newer Generator may.
    rng = np.random.RandomState(1998)
    parts = [rng.permutation(np.flatnonzero(labels == label))[:count] for label, count in enumerate(per_class)]
    return np.sort(np.concatenate(parts))
