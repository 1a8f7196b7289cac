"""The split of CIFAR-10 that the assignments of CS231n use, as plain NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.data.array_split import ArraySplit
from cnnlab.data.base import ImageData, Split
from cnnlab.errors import DataError


def course_split(
    data: ImageData,
    training: int = 49_000,
    validation: int = 1_000,
    test: int = 1_000,
    *,
    flat: bool = False,
    subtract_mean: bool = True,
    dtype: npt.DTypeLike = np.float32,
) -> dict[str, npt.NDArray[Any]]:
    """Return images in memory as arrays for :mod:`cnnlab.scratch`, divided as in the course.

    Training images are the first of the training split, validation images its last, test images the first of the test
    split, each in the order of the data set: with the default numbers the 49,000/1,000/1,000 images of CIFAR-10 that
    published results of the assignments (https://cs231n.github.io) are about.

    Args:
        data: images of one size in memory, such as ``load_data("cifar10")``.
        training, validation, test: number of images of each split; 0 gives an empty array.
        flat: images as rows (N, C*H*W) instead of (N, C, H, W).
        subtract_mean: subtract the mean image of the training images from all.
        dtype: number type of the images; pixels stay in 0..255 before the mean is subtracted.

    Returns:
        ``X_train``, ``y_train``, ``X_val``, ``y_val``, ``X_test``, ``y_test`` and ``mean_image`` (C, H, W), which is
        zero without ``subtract_mean``. Labels are int64.

    Raises:
        DataError: fewer images than asked for, or images that are files of different sizes.
    """
    if training + validation > len(data.train):
        raise DataError(
            f'"{data.name}" has {len(data.train):,} training images, too few for {training:,} to train and '
            f"{validation:,} to validate. Ask for fewer."
        )
    available = 0 if data.test is None else len(data.test)
    if test > available:
        raise DataError(f'"{data.name}" has {available:,} test images, not {test:,}. Ask for test={available}.')
    first = len(data.train) - validation
    parts = {
        "train": _arrays(data, data.train, 0, training),
        "val": _arrays(data, data.train, first, validation),
        "test": _arrays(data, data.test or data.train, 0, test),  # without a test split, none of train
    }
    mean = np.zeros(parts["train"][0].shape[1:], dtype)
    if subtract_mean and training:
        mean = parts["train"][0].mean(axis=0, dtype=np.float64).astype(dtype)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, (pixels, labels) in parts.items():
        images = pixels.astype(dtype)
        images -= mean
        arrays[f"X_{name}"] = images.reshape(len(images), mean.size) if flat else images
        arrays[f"y_{name}"] = labels
    arrays["mean_image"] = mean
    return arrays


def _arrays(data: ImageData, split: Split, first: int, count: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    if not isinstance(split, ArraySplit):
        raise DataError(
            f'"{data.name}" holds files; arrays need images of one size in memory, such as load_data("cifar10").'
        )
    rows = slice(first, first + count)
    return split.pixels[rows].numpy(), split.labels[rows].numpy().copy()
