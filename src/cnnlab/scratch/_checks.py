"""Input that does not fit is named, with both shapes, before NumPy says something less helpful."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.errors import LabelError, ShapeError, UnknownNameError

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


def expect_floats(**arrays: Array) -> None:
    """Raise unless every one of ``arrays``, given by name, is a NumPy array of floating-point numbers.

    Raises:
        ShapeError: a list, or an array of integers: the gradient of an integer could not be followed.
    """
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ShapeError(
                f"{name} must be a NumPy array, got {type(array).__name__}. Try np.asarray({name}, float)."
            )
        if array.dtype.kind != "f":
            raise ShapeError(
                f"{name} must be float32 or float64, got {array.dtype}: layers do not choose a precision for you. "
                f"Try {name}.astype(np.float32)."
            )


def expect_keys(name: str, param: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raise if ``param``, the settings of a layer, has a key that the layer does not know.

    Raises:
        UnknownNameError: a key that would have been ignored; the nearest known one is suggested.
    """
    for key in param:
        if key not in known:
            raise UnknownNameError("key", str(key), known, f"It was in {name}.")


def is_training(name: str, param: Mapping[str, Any]) -> bool:
    """Return whether ``param["mode"]`` is "train" and not "test".

    Raises:
        UnknownNameError: another mode, or none.
    """
    mode = param.get("mode")
    if mode not in ("train", "test"):
        hint = f'{name}["mode"] is "train" while a net learns and "test" when it is used.'
        raise UnknownNameError("mode", str(mode), ("train", "test"), hint)
    return bool(mode == "train")


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
