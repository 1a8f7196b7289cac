"""Max pooling, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.properties import add_batch_independence, add_numerical_gradients
from cnnlab.learn.runs import Array
from cnnlab.scratch.layers.pool import max_pool_backward, max_pool_forward

_CHAPTER = "Convolution and pooling"
_SIZES = (
    ((2, 3, 4, 4), 2, 2, 2, ""),
    ((1, 2, 5, 6), 3, 2, 2, "overlapping windows that are not square"),
    ((2, 1, 4, 5), 2, 3, 1, "stride 1"),
)


def _inputs(random: np.random.Generator) -> Iterator[tuple[Array, dict[str, int], str]]:
    for shape, height, width, stride, about in _SIZES:
        x = random.permutation(int(np.prod(shape))).reshape(shape) / 4 - 20  # no two are equal, most are negative
        yield x, {"pool_height": height, "pool_width": width, "stride": stride}, about


def _pooled(x: Array, param: Any, reduce: Callable[[Array], Any], step: int | None = None, swap: bool = False) -> Any:
    height, width, stride = param["pool_height"], param["pool_width"], param["stride"]
    rows, columns = (x.shape[2] - height) // stride + 1, (x.shape[3] - width) // stride + 1
    out = np.empty((*x.shape[:2], rows, columns))
    if swap:
        height, width = width, height
    for i, j in np.ndindex(rows, columns):
        top, left = i * (step or stride), j * (step or stride)
        out[:, :, i, j] = reduce(x[:, :, top : top + height, left : left + width])
    return out, None


forward = add(
    Exercise(
        "cnnlab.scratch.layers.pool:max_pool_forward",
        title="max pooling",
        chapter=_CHAPTER,
        order=5.3,
        outputs=("out", "cache"),
        note="Loops are fine. The cache is your own affair.",
        hints=(
            "The output has 1 + (H - pool_height) // stride rows; windows may overlap.",
            "The window of output (i, j) begins at row i * stride and column j * stride; channels stay apart.",
            "out[:, :, i, j] = window.max(axis=(2, 3)) treats all images and channels at once.",
        ),
    )
)


@forward.cases
def forward_cases(random: np.random.Generator) -> Iterator[Case]:
    for x, param, about in _inputs(random):
        yield Case(x, param, about=about)


add_batch_independence(forward)


@forward.property("Windows of one pixel at stride 1 return the image.")
def one_pixel(answer: Function, case: Case) -> bool:
    x = case.arguments[0]
    return is_close(answer(x, {"pool_height": 1, "pool_width": 1, "stride": 1}), x)


@forward.property("A constant image stays constant, also a negative one.")
def constant(answer: Function, case: Case) -> bool:
    out = answer(np.full_like(case.arguments[0], -3.0), case.arguments[1])
    return bool((out == -3).all())


@forward.mistake("That is the mean of every window; keep the largest value.")
def mean(x: Array, pool_param: Any) -> Any:
    return _pooled(x, pool_param, lambda window: window.mean(axis=(2, 3)))


@forward.mistake("The largest value is searched from 0 on, so negative windows give 0: begin with the first value.")
def from_zero(x: Array, pool_param: Any) -> Any:
    return np.maximum(max_pool_forward(x, pool_param)[0], 0), None


@forward.mistake("The window moves by one pixel whatever the stride: it begins at i * stride, j * stride.")
def step_of_one(x: Array, pool_param: Any) -> Any:
    return _pooled(x, pool_param, lambda window: window.max(axis=(2, 3)), step=1)


@forward.mistake("The maximum is taken over the channels too; every channel is pooled by itself.")
def over_channels(x: Array, pool_param: Any) -> Any:
    return _pooled(x, pool_param, lambda window: window.max(axis=(1, 2, 3))[:, None])


@forward.mistake("pool_height and pool_width are swapped.")
def sides_swapped(x: Array, pool_param: Any) -> Any:
    return _pooled(x, pool_param, lambda window: window.max(axis=(2, 3)), swap=True)


@forward.mistake("That is the value of largest size, sign aside, or its size; compare the values as they are.")
def absolute(x: Array, pool_param: Any) -> Any:
    return _pooled(x, pool_param, lambda window: np.abs(window).max(axis=(2, 3)))


@forward.mistake("That is the smallest value of every window; keep the largest.")
def minimum(x: Array, pool_param: Any) -> Any:
    return _pooled(x, pool_param, lambda window: window.min(axis=(2, 3)))


@forward.mistake("The windows stand side by side, as if the stride were the size of the window; the stride is given.")
def stride_is_window(x: Array, pool_param: Any) -> Any:
    param = {**pool_param, "stride": pool_param["pool_height"]}
    return _pooled(x, param, lambda window: window.max(axis=(2, 3)))


backward = add(
    Exercise(
        "cnnlab.scratch.layers.pool:max_pool_backward",
        title="gradient of max pooling",
        chapter=_CHAPTER,
        order=5.4,
        outputs=("dx",),
        note=(
            "The cache is (x, out, sizes): the images, the largest values, and (pool_height, pool_width, stride, "
            "out_H, out_W). Of several pixels that are equally large, the first receives the gradient, line by line."
        ),
        hints=(
            "dx is zero except at the pixels that won; a pixel may win in several windows.",
            "np.unravel_index(np.argmax(window), window.shape) gives row and column of the first largest pixel.",
            "Add dout[n, c, i, j] to dx[n, c, i * stride + row, j * stride + column].",
        ),
    )
)


@backward.cases
def backward_cases(random: np.random.Generator) -> Iterator[Case]:
    for x, param, about in _inputs(random):
        out, cache = max_pool_forward(x, param)
        yield Case(random.normal(size=out.shape), cache, about=about, inputs=(x,), param=param)
    x = np.array([[[[2.0, 2.0, 0.0], [1.0, 2.0, 0.0]]]])
    out, cache = max_pool_forward(x, {"pool_height": 2, "pool_width": 2, "stride": 1})
    yield Case(np.array([[[[1.0, 10.0]]]]), cache, about="several pixels are equally large", inputs=())


add_numerical_gradients(backward, lambda case, x: max_pool_forward(x, case.param)[0])


@backward.property("The gradient is neither lost nor doubled: dx has the sum of dout.")
def sum_kept(answer: Function, case: Case) -> bool:
    return bool(np.allclose(answer(*case.arguments).sum(), case.arguments[0].sum()))


def _scattered(
    dout: Array, cache: Any, share: Callable[[Array], Array], *, add_up: bool = True, step: int = 0
) -> Array:
    """Return dx when a window hands its gradient on as ``share`` of its pixels says."""
    x, _, (height, width, stride, _, _) = cache
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dout.shape):
        top, left = i * (step or stride), j * (step or stride)
        window = (n, c, slice(top, top + height), slice(left, left + width))
        part = share(x[window]) * dout[n, c, i, j]
        if add_up:
            dx[window] += part
        else:
            dx[window] = np.where(part != 0, part, dx[window])
    return dx


def _first(window: Array) -> Array:
    mask = np.zeros(window.shape)
    mask[np.unravel_index(np.argmax(window), window.shape)] = 1
    return mask


@backward.mistake("All pixels that are equally large receive the gradient; only the first one may.")
def all_largest(dout: Array, cache: Any) -> Any:
    return _scattered(dout, cache, lambda window: (window == window.max()).astype(float))


@backward.mistake("The gradient is spread over the whole window, as for the mean; the largest pixel receives it all.")
def spread(dout: Array, cache: Any) -> Any:
    return _scattered(dout, cache, lambda window: np.full(window.shape, 1 / window.size))


@backward.mistake("A pixel that wins in several windows keeps the gradient of the last one only: add up with +=.")
def overwritten(dout: Array, cache: Any) -> Any:
    return _scattered(dout, cache, _first, add_up=False)


@backward.mistake("The gradient is multiplied with the pixel: its slope is 1, not its value.")
def times_value(dout: Array, cache: Any) -> Any:
    return max_pool_backward(dout, cache) * cache[0]


@backward.mistake("The window moves by one pixel whatever the stride: it begins at i * stride, j * stride.")
def backward_step_of_one(dout: Array, cache: Any) -> Any:
    return _scattered(dout, cache, _first, step=1)


@backward.mistake("Every pixel of the window receives the whole gradient; only the largest may.")
def everyone(dout: Array, cache: Any) -> Any:
    return _scattered(dout, cache, np.ones_like)


@backward.mistake("The last of equally large pixels receives the gradient; the first one must.")
def last_largest(dout: Array, cache: Any) -> Any:
    return _scattered(dout, cache, lambda window: _first(window[::-1, ::-1])[::-1, ::-1])
