"""Checks of arguments: what does not fit is named, with both shapes, before NumPy says something less helpful."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.errors import LabelError, ShapeError, UnknownNameError

Array = npt.NDArray[Any]
#: What a forward pass hands to the backward pass of the same layer.
Cache = tuple[Any, ...]


def expect_ndim(name: str, array: Array, ndim: int, shape: str) -> None:
    """Raise unless ``array`` has ``ndim`` axes; ``shape`` says what they are, as in ``"(N, C, H, W)"``.

    Raises:
        ShapeError: the array has another number of axes.
    """
    if np.ndim(array) != ndim:
        raise ShapeError(f"{name} must be {shape}, got an array of shape {np.shape(array)}.")


def expect_shape(name: str, array: Array, shape: tuple[int, ...], because: str) -> None:
    """Raise unless ``array`` has exactly this ``shape``; ``because`` names what asks for it, with its shape.

    Raises:
        ShapeError: the array has another shape.
    """
    if np.shape(array) != shape:
        raise ShapeError(f"{name} must be of shape {shape} for {because}, got {np.shape(array)}.")


def expect_floats(**arrays: Array) -> None:
    """Raise unless every one of ``arrays``, passed by name, is a NumPy array of floating-point numbers.

    Raises:
        ShapeError: an argument is a list, or an array of integers, along which no derivative can be taken.
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


def expect_keys(name: str, param: Mapping[str, Any], keys: Collection[str]) -> None:
    """Raise if ``param``, the settings of a layer, has a key that is not one of ``keys``.

    Raises:
        UnknownNameError: a key that would have been ignored; the message suggests the nearest of ``keys``.
    """
    for key in param:
        if key not in keys:
            raise UnknownNameError("key", str(key), keys, f"It was in {name}.")


def is_training(name: str, param: Mapping[str, Any]) -> bool:
    """Return whether ``param["mode"]`` is "train" and not "test".

    Raises:
        UnknownNameError: the mode is another one, or missing.
    """
    mode = param.get("mode")
    if mode not in ("train", "test"):
        hint = f'{name}["mode"] is "train" while a net learns and "test" when it is used.'
        raise UnknownNameError("mode", str(mode), ("train", "test"), hint)
    return bool(mode == "train")


def expect_positions(name: str, positions: Array, count: int, kind: str) -> None:
    """Raise unless ``positions`` are integers from 0 to ``count`` - 1.

    Args:
        name: name of the argument.
        positions: array of any shape.
        count: number of classes, or of words in a vocabulary.
        kind: what is counted, for the message: ``"classes"``, for example.

    Raises:
        ShapeError: the positions are not integers.
        LabelError: a position is out of range; the message names its value and its index.
    """
    if positions.dtype.kind not in "iu":
        raise ShapeError(
            f"{name} must hold integers, the positions of {kind}, got {positions.dtype}. Try {name}.astype(int)."
        )
    wrong = np.argwhere((positions < 0) | (positions >= count))
    if len(wrong):
        index = tuple(wrong[0].tolist())
        raise LabelError(
            f"{name}[{', '.join(map(str, index))}] is {positions[index]}, but there are {count} {kind}, numbered "
            f"from 0 to {count - 1}. {len(wrong)} of {positions.size} values are out of range."
        )
