"""The view (C, H, W) of a tensor of any layout, in which the microscope shows it and names its elements.

========================================  ==================================================================
layout (batch of 1)                       view
========================================  ==================================================================
(1, C, H, W), or channels last            (C, H, W)
(1, C), (C,)                              (C, 1, 1)
(1, N, C), (N, C): tokens                 (C, s, s) where N is s * s, otherwise (C, N, 1)
(C, H, W) with more than one channel      (C, H, W)
(B, C, ..., W), of more dimensions        (C, B * ..., W)
========================================  ==================================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

Place = tuple[int, int, int]
"""A channel, a row and a column of a view."""

_CHANNELS_FIRST = frozenset({"convolution", "native_batch_norm", "_native_batch_norm_legit_no_training", "bmm"})


def view_shape(shape: Sequence[int], channels_last: bool = False) -> Place:
    """Return the shape (C, H, W) in which a tensor is shown.

    Args:
        shape: shape of the tensor, with its batch dimension.
        channels_last: whether the channels of a tensor of four dimensions are the last of them.
    """
    return _layout(tuple(shape), channels_last)[1]


def index_of(shape: Sequence[int], at: Sequence[int], channels_last: bool = False) -> tuple[int, ...]:
    """Return the index into a tensor of the element at a place of its view.

    Args:
        shape: shape of the tensor, with its batch dimension.
        at: channel, row and column in the view.
        channels_last: whether the channels of a tensor of four dimensions are the last of them.

    Raises:
        IndexError: the view has no such place.
    """
    order, view = _layout(tuple(shape), channels_last)
    if any(not 0 <= i < side for i, side in zip(at, view, strict=True)):
        raise IndexError(f"There is no place {list(at)} in a view of shape {list(view)}.")
    flat = np.ravel_multi_index(tuple(at), view)
    moved = np.unravel_index(flat, [shape[d] for d in order])
    index = [0] * len(shape)
    for dim, i in zip(order, moved, strict=True):
        index[dim] = int(i)
    return tuple(index)


def places_of(shape: Sequence[int], flat: Any, channels_last: bool = False) -> np.ndarray:
    """Return the places in the view of elements of a tensor: channel, row and column along a new first axis.

    Args:
        shape: shape of the tensor, with its batch dimension.
        flat: the elements' positions in the tensor in reading order, an array of any shape.
        channels_last: whether the channels of a tensor of four dimensions are the last of them.
    """
    order, view = _layout(tuple(shape), channels_last)
    flat = np.asarray(flat)
    if not order:
        return np.stack([np.zeros_like(flat)] * 3)
    index = np.unravel_index(flat, tuple(shape))
    moved = np.ravel_multi_index([index[d] for d in order], [shape[d] for d in order])
    return np.stack(np.unravel_index(moved, view))


def to_view(tensor: Tensor, channels_last: bool = False) -> Tensor:
    """Return a tensor in the shape (C, H, W) in which it is shown."""
    order, view = _layout(tuple(tensor.shape), channels_last)
    return tensor.permute(order).reshape(view)


def channel_of(tensor: Tensor, channel: int, channels_last: bool = False) -> Tensor:
    """Return a channel of a tensor, as a view that can be written to."""
    order = _layout(tuple(tensor.shape), channels_last)[0]
    return tensor.select(order[0], channel) if order else tensor


def channels_last_after(name: str, arguments: Mapping[str, Any], before: Any, after: Any, channels_last: bool) -> bool:
    """Return whether the channels of an operation's output are its last dimension; where it has four, that matters.

    Args:
        name: name of the operation in torch's ATen library.
        arguments: its arguments by name.
        before: shape of the tensor that it takes.
        after: shape of its output.
        channels_last: whether the channels of that tensor are its last dimension.
    """
    name, count = name.rstrip("_"), len(before)
    if name in _CHANNELS_FIRST or not count or not len(after):
        return False
    if name in ("addmm", "mm", "linear"):
        return True
    if name in ("native_layer_norm", "_fused_rms_norm"):
        return channels_last or len(arguments["normalized_shape"]) == 1
    if name in ("view", "_unsafe_view", "reshape"):
        tokens = count < 4 and len(after) == 4 and view_shape(after, True) == view_shape(before)
        return tokens or (channels_last and before[-1] == after[-1])
    if name in ("permute", "transpose") and count > 1:
        dims = list(range(count))
        if name == "permute":
            dims = [dim % count for dim in arguments["dims"]]
        else:
            a, b = arguments["dim0"], arguments["dim1"]
            dims[a], dims[b] = dims[b], dims[a]
        return dims[-1] == (count - 1 if channels_last else 1)
    return channels_last


def _layout(shape: tuple[int, ...], channels_last: bool) -> tuple[tuple[int, ...], Place]:
    """Return the dimensions in the order in which the view runs through them, and its shape."""
    count = len(shape)
    if count < 2:
        return tuple(range(count)), (math.prod(shape), 1, 1)
    if count == 2:
        return (1, 0), (shape[1], 1, 1) if shape[0] == 1 else (shape[1], *_sides(shape[0]))
    if count == 3:
        return (
            ((2, 0, 1), (shape[2], *_sides(shape[1]))) if shape[0] == 1 else ((0, 1, 2), (shape[0], shape[1], shape[2]))
        )
    if channels_last and count == 4:
        return (3, 0, 1, 2), (shape[3], shape[0] * shape[1], shape[2])
    height = shape[0] * math.prod(shape[2:-1])
    return (1, 0, *range(2, count)), (shape[1], height, shape[-1])


def _sides(tokens: int) -> tuple[int, int]:
    """Return height and width of the square that tokens form, or of a column."""
    side = math.isqrt(tokens)
    return (side, side) if side * side == tokens else (tokens, 1)
