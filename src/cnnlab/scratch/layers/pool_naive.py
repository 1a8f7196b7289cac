"""Max pooling as it is defined, loop by loop, to be read; ``pool.py`` is to be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.scratch._checks import Array, Cache, expect_ndim, expect_shape
from cnnlab.scratch.layers._geometry import float_type, integer_settings, output_size


def max_pool_forward_naive(x: Array, pool_param: Mapping[str, Any]) -> tuple[Array, Cache]:
    """Keep the largest value of every window; all as in :func:`~cnnlab.scratch.layers.pool.max_pool_forward`."""
    height, width, stride, out_H, out_W = pool_sizes(x, pool_param)
    N, C, _, _ = x.shape
    out = np.empty((N, C, out_H, out_W), dtype=x.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(out_H):
                for j in range(out_W):
                    top, left = i * stride, j * stride
                    out[n, c, i, j] = np.max(x[n, c, top : top + height, left : left + width])
    return out, (x, height, width, stride, out.shape)


def max_pool_backward_naive(dout: Array, cache: Cache) -> Array:
    """Return the gradient dx (N, C, H, W); all as in :func:`~cnnlab.scratch.layers.pool.max_pool_backward`."""
    x, height, width, stride, shape = cache
    expect_shape("dout", dout, shape, f"x of shape {x.shape}")
    N, C, out_H, out_W = shape
    dx = np.zeros(x.shape, dtype=float_type(x))
    for n in range(N):
        for c in range(C):
            for i in range(out_H):
                for j in range(out_W):
                    top, left = i * stride, j * stride
                    window = x[n, c, top : top + height, left : left + width]
                    row, column = np.unravel_index(np.argmax(window), window.shape)
                    dx[n, c, top + row, left + column] += dout[n, c, i, j]
    return dx


def pool_sizes(x: Array, pool_param: Mapping[str, Any]) -> tuple[int, int, int, int, int]:
    """Return pool_height, pool_width, stride, and height and width of the output, after checking the arguments.

    Raises:
        ShapeError: ``x`` has not four axes, a window is larger than the image, or the stride does not divide the image.
        UsageError: a key of ``pool_param`` is unknown, missing, or not a whole number.
    """
    smallest = {"pool_height": 1, "pool_width": 1, "stride": 1}
    height, width, stride = integer_settings("pool_param", pool_param, smallest)
    expect_ndim("x", x, 4, "(N, C, H, W)")
    out_H = output_size("height", x.shape[2], height, stride)
    out_W = output_size("width", x.shape[3], width, stride)
    return height, width, stride, out_H, out_W
