"""Input that does not fit is named, with both shapes, before NumPy says something less helpful."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.errors import LabelError, ShapeError

Array = npt.NDArray[Any]


def expect_ndim(name: str, array: Array, ndim: int, shape: str) -> None:
    """Raise unless ``array`` has ``ndim`` axes; ``shape`` says what they are, as in ``"(N, C, H, W)"``.

    Raises:
        ShapeError: another number of axes.
    """
    if np.ndim(array) != ndim:
        raise ShapeError(f"{name} must be {shape}, got an array of shape {np.shape(array)}.")


def expect_shape(name: str, array: Array, shape: tuple[int, ...], because: str) -> None:
    """Raise unless ``array`` has exactly this ``shape``; ``because`` names what asks for it, with its shape.

    Raises:
        ShapeError: another shape.
    """
    if np.shape(array) != shape:
        raise ShapeError(f"{name} must be of shape {shape} for {because}, got {np.shape(array)}.")


def expect_labels(y: Array, count: int, classes: int) -> None:
    """Raise unless ``y`` is (count,) whole numbers in 0..classes - 1.

    Raises:
        ShapeError: another shape, or not integers.
        LabelError: a label out of range; its value and position are named.
    """
    labels = np.asarray(y)
    expect_shape("y", labels, (count,), f"{count} rows of scores")
    if labels.dtype.kind not in "iu":
        raise ShapeError(f"y must hold integers, the positions of the classes, got {labels.dtype}. Try y.astype(int).")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        first = wrong[0]
        raise LabelError(
            f"y[{first}] is {labels[first]}, but there are scores for {classes} classes: labels go from 0 to "
            f"{classes - 1}. {wrong.size} of {count} labels are out of range."
        )
