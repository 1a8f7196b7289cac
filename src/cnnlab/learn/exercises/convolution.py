"""Convolution in loops, forward and backward, and the size of its output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.properties import add_batch_independence, add_numerical_gradients
from cnnlab.learn.runs import Array
from cnnlab.scratch.layers.conv_naive import conv_backward_naive, conv_forward_naive

_CHAPTER = "Convolution and pooling"

size = add(
    Exercise(
        "cnnlab.scratch.layers._geometry:output_size",
        title="output size of a convolution",
        chapter=_CHAPTER,
        order=5.0,
        outputs=("size",),
        note="side is only there for messages. All cases fit: the stride divides the way.",
        hints=(
            "Pad widens the image on both ends.",
            "At dilation d a window of k weights reaches over d * (k - 1) + 1 pixels.",
            "A window can stand at (size + 2 * pad - extent) / stride + 1 positions: the first one counts too.",
        ),
    )
)


@size.cases
def size_cases(random: np.random.Generator) -> Iterator[Case]:
    yield Case("height", 7, 3, 1, about="a 3x3 filter without padding")
    yield Case("width", 32, 5, 1, 2, about="a 5x5 filter with pad 2")
    yield Case("height", 224, 4, 4, about="patches")
    yield Case("height", 11, 3, 2, 1, about="stride 2")
    yield Case("width", 17, 3, 2, 1, 2, about="dilation 2")


@size.property("A window of one pixel at stride 1 gives an output as large as the image.")
def same_size(answer: Function, case: Case) -> bool:
    return bool(answer("height", case.arguments[1], 1, 1) == case.arguments[1])


@size.property("An odd window with pad (window - 1) / 2 keeps the size at stride 1.")
def kept(answer: Function, case: Case) -> bool:
    return all(answer("height", case.arguments[1], k, 1, k // 2) == case.arguments[1] for k in (1, 3, 5))


@size.mistake("The padding is counted once; it is added at both ends: 2 * pad.")
def pad_once(side: str, size: int, window: int, stride: int, pad: int = 0, dilation: int = 1) -> Any:
    return (size + pad - dilation * (window - 1) - 1) // stride + 1


@size.mistake("The first position is not counted: add 1 after the division.")
def first_missing(side: str, size: int, window: int, stride: int, pad: int = 0, dilation: int = 1) -> Any:
    return (size + 2 * pad - dilation * (window - 1) - 1) // stride


@size.mistake("The window reaches over dilation * (window - 1) + 1 pixels, not dilation * window.")
def extent(side: str, size: int, window: int, stride: int, pad: int = 0, dilation: int = 1) -> Any:
    return (size + 2 * pad - dilation * window) // stride + 1


@size.mistake("The dilation is not used: a dilated window reaches over more pixels.")
def dilation_ignored(side: str, size: int, window: int, stride: int, pad: int = 0, dilation: int = 1) -> Any:
    return (size + 2 * pad - window) // stride + 1


@size.mistake("The stride is not used: divide the way by it.")
def stride_ignored(side: str, size: int, window: int, stride: int, pad: int = 0, dilation: int = 1) -> Any:
    return size + 2 * pad - dilation * (window - 1)


@size.mistake("The window's own size is not subtracted before the division.")
def window_ignored(side: str, size: int, window: int, stride: int, pad: int = 0, dilation: int = 1) -> Any:
    return (size + 2 * pad) // stride


def _inputs(random: np.random.Generator) -> Iterator[tuple[Array, Array, Array, dict[str, int], str]]:
    for N, C, H, W, F, HH, WW, stride, pad, about in (
        (2, 3, 4, 5, 2, 3, 2, 1, 0, "a filter that is not square"),
        (1, 2, 5, 5, 3, 3, 3, 2, 1, "stride 2, pad 1"),
        (3, 1, 3, 4, 2, 1, 2, 1, 2, "pad 2"),
    ):
        x, w = random.normal(size=(N, C, H, W)), random.normal(size=(F, C, HH, WW))
        yield x, w, random.normal(size=F), {"stride": stride, "pad": pad}, about


forward = add(
    Exercise(
        "cnnlab.scratch.layers.conv_naive:conv_forward_naive",
        title="convolution in loops",
        chapter=_CHAPTER,
        order=5.1,
        outputs=("out", "cache"),
        note="Four loops are fine. The cache is your own affair.",
        hints=(
            "Pad with np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))): only height and width.",
            "Loop over image, filter, row and column of the output; the window begins at row i * stride.",
            "out[n, f, i, j] = np.sum(window * w[f]) + b[f], the window with all its channels.",
        ),
    )
)


@forward.cases
def forward_cases(random: np.random.Generator) -> Iterator[Case]:
    for x, w, b, param, about in _inputs(random):
        yield Case(x, w, b, param, about=about)


add_batch_independence(forward)


@forward.property("A 1x1 filter of weight 1 returns the image plus the bias.")
def identity(answer: Function, case: Case) -> bool:
    x = case.arguments[0][:, :1]
    return is_close(answer(x, np.ones((1, 1, 1, 1)), np.ones(1), {"stride": 1, "pad": 0}), x + 1)


@forward.property("With zero filters the outputs are the biases.")
def biases(answer: Function, case: Case) -> bool:
    x, w, b, param = case.arguments
    out = answer(x, 0 * w, b, param)
    return is_close(out, np.broadcast_to(b[:, None, None], out.shape))


def _conv(x: Array, w: Array, b: Array, param: Any, *, pad_mode: str = "constant", window: Any = None) -> Any:
    """Convolve with one of the parts wrong; ``window`` is a function of the padded images, i, j and stride."""
    stride, pad = param["stride"], param["pad"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode=pad_mode)  # type: ignore[call-overload]
    HH, WW = w.shape[2:]
    rows, columns = (padded.shape[2] - HH) // stride + 1, (padded.shape[3] - WW) // stride + 1
    out = np.empty((len(x), len(w), rows, columns))
    for i, j in np.ndindex(rows, columns):
        top, left = (i * stride, j * stride) if window is None else window(i, j, stride)
        out[:, :, i, j] = np.einsum("nchw,fchw->nf", padded[:, :, top : top + HH, left : left + WW], w) + b
    return out, None


@forward.mistake("The filter is flipped, as in mathematics; in networks it is laid on the image as it is.")
def flipped(x: Array, w: Array, b: Array, conv_param: Any) -> Any:
    return conv_forward_naive(x, w[:, :, ::-1, ::-1], b, conv_param)


@forward.mistake("The biases are not added.")
def without_bias(x: Array, w: Array, b: Array, conv_param: Any) -> Any:
    return conv_forward_naive(x, w, 0 * b, conv_param)


@forward.mistake("The window moves by one pixel whatever the stride: it begins at i * stride, j * stride.")
def step_of_one(x: Array, w: Array, b: Array, conv_param: Any) -> Any:
    return _conv(x, w, b, conv_param, window=lambda i, j, stride: (i, j))


@forward.mistake("The border is padded with copies of the edge pixels; pad with zeros.")
def edge_padding(x: Array, w: Array, b: Array, conv_param: Any) -> Any:
    return _conv(x, w, b, conv_param, pad_mode="edge")


@forward.mistake("The image is not padded, but the size of the output is that of a smaller image: use np.pad first.")
def without_padding(x: Array, w: Array, b: Array, conv_param: Any) -> Any:
    return _conv(x, w, b, {**conv_param, "pad": 0})


@forward.mistake("Only the first channel is used: the sum runs over all channels of the window.")
def first_channel(x: Array, w: Array, b: Array, conv_param: Any) -> Any:
    return conv_forward_naive(x[:, :1], w[:, :1], b, conv_param)


@forward.mistake("The padding is all below and to the right: pad all four sides, (pad, pad) for height and width.")
def padded_below(x: Array, w: Array, b: Array, conv_param: Any) -> Any:
    pad = conv_param["pad"]
    padded = np.pad(x, ((0, 0), (0, 0), (0, 2 * pad), (0, 2 * pad)))
    return _conv(padded, w, b, {**conv_param, "pad": 0})


@forward.mistake("The padding is only above and to the left: pad all four sides.")
def padded_on_two_sides(x: Array, w: Array, b: Array, conv_param: Any) -> Any:
    pad = conv_param["pad"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, 0), (pad, 0)))
    return _conv(padded, w, b, {**conv_param, "pad": 0})


backward = add(
    Exercise(
        "cnnlab.scratch.layers.conv_naive:conv_backward_naive",
        title="gradients of a convolution, in loops",
        chapter=_CHAPTER,
        order=5.2,
        outputs=("dx", "dw", "db"),
        note="The cache is (padded, w, stride, pad): the images with their padding, the filters, and the settings.",
        hints=(
            "Go through the same four loops as forward; every output hands its gradient to what it was computed from.",
            "dpadded[window] += w[f] * dout[n, f, i, j], and dw[f] += window * dout[n, f, i, j].",
            "Cut the padding off at the end: dpadded[:, :, pad : H - pad, pad : W - pad], H and W those of padded.",
        ),
    )
)


@backward.cases
def backward_cases(random: np.random.Generator) -> Iterator[Case]:
    for x, w, b, param, about in _inputs(random):
        out, cache = conv_forward_naive(x, w, b, param)
        yield Case(random.normal(size=out.shape), cache, about=about, inputs=(x, w, b), param=param)


add_numerical_gradients(backward, lambda case, x, w, b: conv_forward_naive(x, w, b, case.param)[0])


def _gradients(
    dout: Array, cache: Any, *, dx_summed: bool = True, dw_summed: bool = True, step: Any = None, flip: bool = False
) -> tuple[Array, Array, Array]:
    """Return dx with its padding, dw and db, with one of the parts wrong."""
    padded, w, stride, _ = cache
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    HH, WW = w.shape[2:]
    used = w[:, :, ::-1, ::-1] if flip else w
    for n, f, i, j in np.ndindex(dout.shape):
        top, left = (i * (step or stride), j * (step or stride))
        window = (n, slice(None), slice(top, top + HH), slice(left, left + WW))
        dpadded[window] = dx_summed * dpadded[window] + used[f] * dout[n, f, i, j]
        dw[f] = dw_summed * dw[f] + padded[window] * dout[n, f, i, j]
    return dpadded, dw, dout.sum(axis=(0, 2, 3))


def _cut(dpadded: Array, cache: Any) -> Array:
    pad = cache[3]
    return dpadded[:, :, pad : dpadded.shape[2] - pad, pad : dpadded.shape[3] - pad]


@backward.mistake("dx still has the padding: cut pad rows and columns off at all four sides.")
def padding_left(dout: Array, cache: Any) -> Any:
    return _gradients(dout, cache)


@backward.mistake("The gradients of a pixel are overwritten: it is in several windows, add them up with +=.")
def dx_overwritten(dout: Array, cache: Any) -> Any:
    dpadded, dw, db = _gradients(dout, cache, dx_summed=False)
    return _cut(dpadded, cache), dw, db


@backward.mistake("The gradients of the filters are overwritten: every position adds to them, use +=.")
def dw_overwritten(dout: Array, cache: Any) -> Any:
    dpadded, dw, db = _gradients(dout, cache, dw_summed=False)
    return _cut(dpadded, cache), dw, db


@backward.mistake(
    "The filter is flipped in dx: in this loop each weight goes back to the pixel it was multiplied with."
)
def backward_flipped(dout: Array, cache: Any) -> Any:
    dpadded, dw, db = _gradients(dout, cache, flip=True)
    return _cut(dpadded, cache), dw, db


@backward.mistake("The window moves by one pixel whatever the stride: it begins at i * stride, j * stride.")
def backward_step_of_one(dout: Array, cache: Any) -> Any:
    dpadded, dw, db = _gradients(dout, cache, step=1)
    return _cut(dpadded, cache), dw, db


@backward.mistake("db is summed over the images only; a bias is added at every position: sum over axes 0, 2 and 3.")
def db_over_images(dout: Array, cache: Any) -> Any:
    return *conv_backward_naive(dout, cache)[:2], dout.sum(axis=0)


@backward.mistake("db is a mean over the positions; it must be their sum.")
def db_mean(dout: Array, cache: Any) -> Any:
    return *conv_backward_naive(dout, cache)[:2], dout.mean(axis=(0, 2, 3))


@backward.mistake("The padding is cut off at the top and left only, so that dx is shifted and too large.")
def cut_on_two_sides(dout: Array, cache: Any) -> Any:
    dpadded, dw, db = _gradients(dout, cache)
    return dpadded[:, :, cache[3] :, cache[3] :], dw, db
