"""im2col: the pixels under a filter at every position, as columns of a matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.properties import add_batch_independence
from cnnlab.learn.runs import Array
from cnnlab.scratch.layers.conv_naive import conv_forward_naive

columns = add(
    Exercise(
        "cnnlab.scratch.layers.columns:im2col",
        title="the pixels under a filter, as columns",
        chapter="Convolution and pooling",
        order=5.25,
        outputs=("columns",),
        note="All cases fit: the stride divides the image.",
        hints=(
            "Pad first; out_H = (H + 2 * pad - HH) // stride + 1, likewise out_W.",
            "Make an array (N, C, HH, WW, out_H, out_W), fill it, and reshape it at the end.",
            "columns[:, :, i, j] is what weight (i, j) reads at all positions: from row i and column j of the padded "
            "images on, every stride-th pixel.",
        ),
    )
)


@columns.cases
def cases(random: np.random.Generator) -> Iterator[Case]:
    for shape, HH, WW, stride, pad, about in (
        ((2, 3, 4, 5), 3, 2, 1, 0, "a filter that is not square"),
        ((1, 2, 5, 7), 3, 3, 2, 1, "stride 2, pad 1"),
        ((3, 2, 3, 4), 1, 2, 1, 2, "pad 2"),
    ):
        yield Case(random.normal(size=shape), HH, WW, stride, pad, about=about)


add_batch_independence(columns)


@columns.property("A filter of one pixel at stride 1 sees the image itself, one row per channel.")
def one_pixel(answer: Function, case: Case) -> bool:
    x = case.arguments[0]
    return is_close(answer(x, 1, 1, 1, 0), x.reshape(*x.shape[:2], -1))


@columns.property("w.reshape(F, -1) @ columns is the convolution with w without the biases.")
def convolution(answer: Function, case: Case) -> bool:
    x, HH, WW, stride, pad = case.arguments
    w = np.cos(np.arange(2 * x.shape[1] * HH * WW)).reshape(2, x.shape[1], HH, WW)
    out, _ = conv_forward_naive(x, w, np.zeros(2), {"stride": stride, "pad": pad})
    return is_close(w.reshape(2, -1) @ answer(x, HH, WW, stride, pad), out.reshape(len(x), 2, -1))


def _windows(x: Array, HH: int, WW: int, stride: int, pad: int, step: int | None = None) -> Array:
    """Return the pixels under the filter at each position, (N, C, HH, WW, out_H, out_W)."""
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows, lines = (padded.shape[2] - HH) // stride + 1, (padded.shape[3] - WW) // stride + 1
    result = np.empty((*x.shape[:2], HH, WW, rows, lines))
    for i, j in np.ndindex(rows, lines):
        top, left = i * (step or stride), j * (step or stride)
        result[..., i, j] = padded[:, :, top : top + HH, left : left + WW]
    return result


def _mistake(explanation: str, name: str, arrange: Callable[[Array], Array]) -> None:
    """Add a mistake in what is done with the windows (N, C, HH, WW, out_H, out_W)."""

    def wrong(x: Array, HH: int, WW: int, stride: int = 1, pad: int = 0) -> Any:
        return arrange(_windows(x, HH, WW, stride, pad))

    wrong.__name__ = name
    columns.mistake(explanation)(wrong)


def _matrix(windows: Array) -> Array:
    """Return the axes (N, a, b, c, d, e) as (N, a * b * c, d * e)."""
    return windows.reshape(len(windows), int(np.prod(windows.shape[1:4])), -1)


_mistake(
    "The channel is the last axis of each column; the rows are ordered (C, HH, WW), as the weights of a filter are.",
    "channels_last",
    lambda windows: _matrix(windows.transpose(0, 2, 3, 1, 4, 5)),
)
_mistake(
    "Each position is a row; it must be a column: the axes are (N, C * HH * WW, out_H * out_W).",
    "positions_as_rows",
    lambda windows: _matrix(windows).swapaxes(1, 2),
)
_mistake(
    "The positions run down the image first; they are ordered (out_H, out_W), along the lines.",
    "positions_down_first",
    lambda windows: _matrix(windows.swapaxes(4, 5)),
)
_mistake(
    "The images stand side by side in one matrix; keep the axis N in front.",
    "images_in_one_matrix",
    lambda windows: np.moveaxis(_matrix(windows), 0, 1).reshape(int(np.prod(windows.shape[1:4])), -1),
)
_mistake(
    "The windows are only reshaped, which mixes their numbers: first move the axes C, HH, WW before out_H, out_W "
    "with transpose.",
    "only_reshaped",
    lambda windows: windows.transpose(0, 4, 5, 1, 2, 3).reshape(_matrix(windows).shape),
)
_mistake(
    "The last position in both directions is missing: out_H is (H + 2 * pad - HH) // stride + 1, likewise out_W.",
    "last_position_missing",
    lambda windows: _matrix(windows[..., :-1, :-1]),
)


@columns.mistake("The window moves by one pixel whatever the stride: it begins at i * stride, j * stride.")
def step_of_one(x: Array, HH: int, WW: int, stride: int = 1, pad: int = 0) -> Any:
    return _matrix(_windows(x, HH, WW, stride, pad, step=1))


@columns.mistake("The images are not padded: use np.pad on height and width first.")
def without_padding(x: Array, HH: int, WW: int, stride: int = 1, pad: int = 0) -> Any:
    return _matrix(_windows(x, HH, WW, stride, 0))
