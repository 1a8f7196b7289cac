"""Pooling without loops over pixels: all windows at once, one position within the window after the other.

The pixels in the upper left corner of all windows are a view of the images, ``x[:, :, 0::stride, 0::stride]``; those
beside them are ``x[:, :, 0::stride, 1::stride]``, and so on. Windows of 2x2 are four such views, and their maxima are
those of four arrays, number by number. Windows may overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cnnlab.scratch._checks import Array, Cache, expect_shape
from cnnlab.scratch.layers._geometry import float_type
from cnnlab.scratch.layers.pool_naive import pool_sizes

_BLOCK_BYTES = 2**20  # of images at a time, so that intermediate results stay in the processor's cache


def max_pool_forward(x: Array, pool_param: Mapping[str, Any]) -> tuple[Array, Cache]:
    """Keep the largest value of every window: the same as, and faster than, :func:`max_pool_forward_naive`.

    Args:
        x: images (N, C, H, W).
        pool_param: ``pool_height`` and ``pool_width``, the size of the window, and ``stride``, the distance from one
            window to the next, all in pixels.

    Returns:
        The largest values (N, C, 1 + (H - pool_height) / stride, 1 + (W - pool_width) / stride), and the cache. A
        window with a NaN gives NaN.

    Raises:
        ShapeError: ``x`` has not four axes, a window is larger than the image, or the stride does not divide the image.
        UsageError: a key of ``pool_param`` is unknown, missing, or not a whole number.
    """
    sizes = pool_sizes(x, pool_param)
    pixels = _window_pixels(x, sizes)
    out = next(pixels).copy()
    for pixel in pixels:
        np.maximum(out, pixel, out=out)
    return out, (x, out, sizes)


def max_pool_backward(dout: Array, cache: Cache) -> Array:
    """Return the gradient dx (N, C, H, W): ``dout`` (N, C, out_H, out_W) goes to the largest pixel of each window.

    Of several pixels that are equally large, the first receives it, line by line (of several NaN likewise).

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    x, out, sizes = cache
    expect_shape("dout", dout, out.shape, f"x of shape {x.shape}")
    dx = np.zeros(x.shape, float_type(x))
    count = max(1, _BLOCK_BYTES // max(1, x[:1].nbytes))
    for start in range(0, len(x), count):
        block = slice(start, start + count)
        largest, rest = out[block], dout[block].astype(dx.dtype)  # rest: the gradient that no pixel has received yet
        any_nan = np.isnan(largest).any()
        for pixel, dpixel in zip(_window_pixels(x[block], sizes), _window_pixels(dx[block], sizes), strict=True):
            hit = pixel == largest
            if any_nan:
                hit |= np.isnan(pixel)
            share = hit * rest
            dpixel += share
            rest -= share
    return dx


def avg_pool_forward(x: Array, pool_param: Mapping[str, Any]) -> tuple[Array, Cache]:
    """Replace every window by its mean; arguments, shapes and errors are those of :func:`max_pool_forward`."""
    height, width, *_ = sizes = pool_sizes(x, pool_param)
    pixels = _window_pixels(x, sizes)
    out = next(pixels).astype(float_type(x))
    for pixel in pixels:
        out += pixel
    out /= height * width
    return out, (x.shape, out.shape, out.dtype, sizes)


def avg_pool_backward(dout: Array, cache: Cache) -> Array:
    """Return the gradient dx (N, C, H, W): every pixel of a window gets an equal share of ``dout``.

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    shape, out_shape, dtype, sizes = cache
    expect_shape("dout", dout, out_shape, f"x of shape {shape}")
    height, width, *_ = sizes
    dx, share = np.zeros(shape, dtype), np.asarray(dout, dtype) / (height * width)
    for dpixel in _window_pixels(dx, sizes):
        dpixel += share
    return dx


def _window_pixels(x: Array, sizes: tuple[int, int, int, int, int]) -> Iterator[Array]:
    """Yield views of the first, second, ... pixel of all windows, line by line; each is (N, C, out_H, out_W)."""
    height, width, stride, out_H, out_W = sizes
    for i in range(height):
        for j in range(width):
            yield x[:, :, i : i + stride * out_H : stride, j : j + stride * out_W : stride]
