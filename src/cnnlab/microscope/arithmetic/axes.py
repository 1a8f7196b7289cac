"""The view (C, H, W) of a tensor of any layout, in which the microscope shows it and names its elements.

========================================  ==================================================================
dimensions (batch of 1)                   view
========================================  ==================================================================
(1, C, H, W), or with channels last       (C, H, W)
(1, C), (C,)                              (C, 1, 1)
(1, N, C), (N, C): tokens                 (C, s, s) where N is s * s, otherwise (C, N, 1)
(1, C, L): a sequence                     (C, 1, L)
(1, H, W): a single map                   (1, H, W)
(C, H, W) with more than one channel      (C, H, W)
(B, C, ..., W), of more dimensions        (C, B * ..., W)
========================================  ==================================================================
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

Place = tuple[int, int, int]
"""A channel, a row and a column of a view."""

_CONVOLUTIONS = frozenset({"convolution", "native_batch_norm", "_native_batch_norm_legit_no_training"})
_REDUCTIONS = frozenset({"mean", "amax", "amin", "sum", "select", "squeeze"})  # they take dimensions away
_VIEWS = frozenset({"view", "_unsafe_view", "reshape"})


class Layout(enum.Enum):
    """What the dimensions of a tensor mean where its shape does not say it."""

    USUAL = "channels, or heads, before rows and columns; of three dimensions: tokens with their channels last"
    FIRST = "channels before rows and columns, as convolutions have them"
    LAST = "channels after rows and columns"
    SEQUENCE = "of three dimensions: channels before positions, as convolutions of one dimension have them"
    MAP = "of three dimensions: one map, whose channels were summed up or of which one was chosen"


def view_shape(shape: Sequence[int], layout: Layout = Layout.USUAL) -> Place:
    """Return the shape (C, H, W) in which a tensor is shown.

    Args:
        shape: shape of the tensor, with its batch dimension.
        layout: what the tensor's dimensions mean.
    """
    return _order(tuple(shape), layout)[1]


def index_of(shape: Sequence[int], at: Sequence[int], layout: Layout = Layout.USUAL) -> tuple[int, ...]:
    """Return the index into a tensor of the element at a place of its view.

    Args:
        shape: shape of the tensor, with its batch dimension.
        at: channel, row and column in the view.
        layout: what the tensor's dimensions mean.

    Raises:
        IndexError: the view has no such place.
    """
    order, view = _order(tuple(shape), layout)
    if any(not 0 <= i < side for i, side in zip(at, view, strict=True)):
        raise IndexError(f"There is no place {list(at)} in a view of shape {list(view)}.")
    flat = np.ravel_multi_index(tuple(at), view)
    moved = np.unravel_index(flat, [shape[d] for d in order])
    index = [0] * len(shape)
    for dim, i in zip(order, moved, strict=True):
        index[dim] = int(i)
    return tuple(index)


def places_of(shape: Sequence[int], flat: Any, layout: Layout = Layout.USUAL) -> np.ndarray:
    """Return the places in the view of elements of a tensor: channel, row and column along a new first axis.

    Args:
        shape: shape of the tensor, with its batch dimension.
        flat: the elements' positions in the tensor in reading order, an array of any shape.
        layout: what the tensor's dimensions mean.
    """
    order, view = _order(tuple(shape), layout)
    flat = np.asarray(flat)
    if not order:
        return np.stack([np.zeros_like(flat)] * 3)
    index = np.unravel_index(flat, tuple(shape))
    moved = np.ravel_multi_index([index[d] for d in order], [shape[d] for d in order])
    return np.stack(np.unravel_index(moved, view))


def to_view(tensor: Tensor, layout: Layout = Layout.USUAL) -> Tensor:
    """Return a tensor in the shape (C, H, W) in which it is shown."""
    order, view = _order(tuple(tensor.shape), layout)
    return tensor.permute(order).reshape(view)


def channel_of(tensor: Tensor, channel: int, layout: Layout = Layout.USUAL) -> Tensor:
    """Return a channel of a tensor, as a view that can be written to."""
    order = _order(tuple(tensor.shape), layout)[0]
    return tensor.select(order[0], channel) if order else tensor


def layout_after(name: str, arguments: Mapping[str, Any], before: Any, after: Any, layout: Layout) -> Layout:
    """Return what the dimensions of an operation's output mean.

    Args:
        name: name of the operation in torch's ATen library.
        arguments: its arguments by name.
        before: shape of the tensor that it takes.
        after: shape of its output.
        layout: what the dimensions of that tensor mean.
    """
    name = name.rstrip("_")
    if not len(before) or not len(after) or name == "bmm":
        return Layout.USUAL
    if name in _CONVOLUTIONS:
        return {3: Layout.SEQUENCE, 4: Layout.FIRST}.get(len(after), Layout.USUAL)
    if name in ("addmm", "mm", "linear"):
        return Layout.LAST
    if name in ("native_layer_norm", "_fused_rms_norm"):
        one = len(arguments["normalized_shape"]) == 1 and layout is Layout.USUAL
        return Layout.LAST if one else layout
    if name in ("permute", "transpose") and len(before) > 1:
        return _permuted(name, arguments, len(before), layout)
    if name in _VIEWS and layout in (Layout.USUAL, Layout.LAST):
        tokens = len(before) < 4 and len(after) == 4 and view_shape(after, Layout.LAST) == view_shape(before)
        return Layout.LAST if tokens or (layout is Layout.LAST and before[-1] == after[-1]) else Layout.USUAL
    if len(before) == len(after) and name not in _VIEWS:
        return layout
    return _of_other_dimensions(name, arguments, tuple(before), tuple(after), layout)


def _permuted(name: str, arguments: Mapping[str, Any], count: int, layout: Layout) -> Layout:
    """Return what ``count`` dimensions mean after they were permuted."""
    dims = list(range(count))
    if name == "permute":
        dims = [dim % count for dim in arguments["dims"]]
    else:
        a, b = arguments["dim0"], arguments["dim1"]
        dims[a], dims[b] = dims[b], dims[a]
    if dims == list(range(count)):
        return layout
    return Layout.LAST if dims[-1] == (count - 1 if layout is Layout.LAST else 1) else Layout.USUAL


def _of_other_dimensions(
    name: str, arguments: Mapping[str, Any], before: tuple[int, ...], after: tuple[int, ...], layout: Layout
) -> Layout:
    """Return what dimensions mean after their number or sizes changed."""
    same_channels = len(before) > 1 and len(after) > 1 and before[:2] == after[:2] and before[0] == 1
    if len(after) == 3:
        dims = arguments.get("dim", ())
        dims = [dim % len(before) for dim in ([dims] if isinstance(dims, int) else dims or ())]
        if layout is Layout.FIRST and name in _REDUCTIONS and dims == [1] and after[0] == 1:
            return Layout.MAP
        # Also (1, C) to which one position is added.
        along = layout in (Layout.FIRST, Layout.SEQUENCE) or (len(before) == 2 and after[2] == 1)
        return Layout.SEQUENCE if same_channels and along else Layout.LAST if layout is Layout.LAST else Layout.USUAL
    if len(after) == 4 and layout is not Layout.LAST:
        return Layout.FIRST if same_channels and layout is Layout.SEQUENCE else Layout.USUAL
    return layout  # of one or two dimensions: what those meant that were taken away


def layout_of_several(layouts: Iterable[Layout]) -> Layout:
    """Return what the dimensions of an output mean, from what those of several tensors would make them mean."""
    present = set(layouts)
    return next(
        (layout for layout in (Layout.LAST, Layout.SEQUENCE, Layout.MAP, Layout.FIRST) if layout in present),
        Layout.USUAL,
    )


def _order(shape: tuple[int, ...], layout: Layout) -> tuple[tuple[int, ...], Place]:
    """Return the dimensions in the order in which the view runs through them, and its shape."""
    count = len(shape)
    if count < 2:
        return tuple(range(count)), (math.prod(shape), 1, 1)
    if count == 2:
        return (1, 0), (shape[1], 1, 1) if shape[0] == 1 else (shape[1], *_sides(shape[0]))
    if count == 3 and shape[0] == 1 and layout is Layout.SEQUENCE:
        return (1, 0, 2), (shape[1], 1, shape[2])
    if count == 3:
        tokens = shape[0] == 1 and layout is not Layout.MAP
        return ((2, 0, 1), (shape[2], *_sides(shape[1]))) if tokens else ((0, 1, 2), (shape[0], shape[1], shape[2]))
    if layout is Layout.LAST and count == 4:
        return (3, 0, 1, 2), (shape[3], shape[0] * shape[1], shape[2])
    height = shape[0] * math.prod(shape[2:-1])
    return (1, 0, *range(2, count)), (shape[1], height, shape[-1])


def _sides(tokens: int) -> tuple[int, int]:
    """Return height and width of the square that tokens form, or of a column."""
    side = math.isqrt(tokens)
    return (side, side) if side * side == tokens else (tokens, 1)
