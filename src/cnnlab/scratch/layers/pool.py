"""Pooling without loops over pixels: all windows at once, one position within the window after the other.

The pixels in the upper left corner of all windows are a view of the images, ``x[:, :, 0::stride, 0::stride]``; those
beside them are ``x[:, :, 0::stride, 1::stride]``, and so on. Windows of 2x2 are four such views, and their maxima are
those of four arrays, number by number. Windows may overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cnnlab.scratch._checks import Array, expect_shape
from cnnlab.scratch.layers._geometry import float_type
from cnnlab.scratch.layers.pool_naive import pool_sizes

Cache = tuple[Any, ...]

_BLOCK_BYTES = 2**20  # of images at a time, so that intermediate results stay in the processor's cache


def max_pool_forward(x: Array, pool_param: Mapping[str, Any]) -> tuple[Array, Cache]:
    """Keep the largest value of every window; equal to :func:`max_pool_forward_naive`.

    Args:
        x: images (N, C, H, W).
        pool_param: ``pool_height`` and ``pool_width``, the size of the window, and ``stride``, the distance from one
            window to the next, all in pixels.

    Returns:
        The largest values (N, C, 1 + (H - pool_height) / stride, 1 + (W - pool_width) / stride), and the cache for the
        backward pass. A window with a NaN gives NaN.

    Raises:
        ShapeError: ``x`` has not four axes, a window larger than the image, or a stride that does not divide the image.
        UsageError: a key of ``pool_param`` is unknown, missing, or not a whole number.
    """
    sizes = pool_sizes(x, pool_param)
    pixels = _window_pixels(x, sizes)
    out = next(pixels).copy()
    for pixel in pixels:
        np.maximum(out, pixel, out=out)
    return out, (x, out, sizes)


def max_pool_backward(dout: Array, cache: Cache) -> Array:
    """Return the gradient of :func:`max_pool_forward`, dx (N, C, H, W): all of it goes to the largest pixel.

    Where several are equally large, it goes to the first, line by line (of several NaN likewise).

    Args:
        dout: gradient with respect to the largest values, of their shape.
        cache: the cache that the forward pass returned.

    Raises:
        ShapeError: ``dout`` does not have the shape of the forward pass's output.
    """
    x, out, sizes = cache
    expect_shape("dout", dout, out.shape, f"x of shape {x.shape}")
    dx = np.zeros(x.shape, float_type(x))
    for block in _blocks(x):
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
    """Replace every window by its mean.

    Args:
        x: images (N, C, H, W).
        pool_param: ``pool_height`` and ``pool_width``, the size of the window, and ``stride``, the distance from one
            window to the next, all in pixels.

    Returns:
        The means (N, C, 1 + (H - pool_height) / stride, 1 + (W - pool_width) / stride), and the cache for the backward
        pass.

    Raises:
        ShapeError: ``x`` has not four axes, a window larger than the image, or a stride that does not divide the image.
        UsageError: a key of ``pool_param`` is unknown, missing, or not a whole number.
    """
    height, width, *_ = sizes = pool_sizes(x, pool_param)
    pixels = _window_pixels(x, sizes)
    out = next(pixels).astype(float_type(x))
    for pixel in pixels:
        out += pixel
    out /= height * width
    return out, (x.shape, out.shape, out.dtype, sizes)


def avg_pool_backward(dout: Array, cache: Cache) -> Array:
    """Return the gradient of :func:`avg_pool_forward`, dx (N, C, H, W): every pixel of a window gets an equal share.

    Args:
        dout: gradient with respect to the means, of their shape.
        cache: the cache that the forward pass returned.

    Raises:
        ShapeError: ``dout`` does not have the shape of the forward pass's output.
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


def _blocks(x: Array) -> Iterator[slice]:
    """Yield the images to process at a time, as slices of N."""
    images = max(1, _BLOCK_BYTES // max(1, x[:1].nbytes))
    return (slice(start, start + images) for start in range(0, len(x), images))
