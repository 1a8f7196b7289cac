"""Convolution as it is defined: four loops and a sum of products, to be read; ``conv.py`` is to be used.

What networks call convolution is a cross-correlation: the filter is not flipped.
Source: CS231n, "Convolutional networks" (https://cs231n.github.io/convolutional-networks/#conv).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.errors import ShapeError, UsageError
from cnnlab.scratch._checks import Array, Cache, expect_ndim, expect_shape
from cnnlab.scratch.layers._geometry import float_type, integer_settings, output_size


def conv_forward_naive(x: Array, w: Array, b: Array, conv_param: Mapping[str, Any]) -> tuple[Array, Cache]:
    """Slide every filter over every image and compute the sum of products with the pixels at each position.

    Args:
        x: images (N, C, H, W).
        w: filters (F, C, HH, WW).
        b: biases (F,).
        conv_param: ``stride``, the distance from one position of the filter to the next in pixels, and ``pad``, the
            zeros added on all four sides.

    Returns:
        The outputs (N, F, 1 + (H + 2 * pad - HH) / stride, 1 + (W + 2 * pad - WW) / stride), and the cache.

    Raises:
        ShapeError: the shapes do not fit each other, a filter is larger than the padded image, or the stride does not
            divide the image.
        UsageError: a key of ``conv_param`` is unknown, missing, or not a whole number.
    """
    for key in ("dilation", "groups"):
        if key in conv_param:
            raise UsageError(f'The naive convolution has no "{key}", only stride and pad. conv_forward has all four.')
    stride, pad = integer_settings("conv_param", conv_param, {"stride": 1, "pad": 0})
    expect_convolvable(x, w, b)
    N, _, H, W = x.shape
    F, _, HH, WW = w.shape
    out_H = output_size("height", H, HH, stride, pad)
    out_W = output_size("width", W, WW, stride, pad)

    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    out = np.empty((N, F, out_H, out_W), dtype=float_type(x, w))
    for n in range(N):
        for f in range(F):
            for i in range(out_H):
                for j in range(out_W):
                    top, left = i * stride, j * stride
                    window = padded[n, :, top : top + HH, left : left + WW]
                    out[n, f, i, j] = np.sum(window * w[f]) + b[f]
    return out, (padded, w, stride, pad)


def conv_backward_naive(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Return the gradients dx (N, C, H, W), dw (F, C, HH, WW), db (F,) from ``dout``, of the shape of the outputs.

    An output is a sum of products of pixels and weights: the gradient of a pixel is the weight it was multiplied with,
    times ``dout``, summed over all windows it is in; the gradient of a weight is the pixel it was multiplied with,
    times ``dout``, summed over all positions of the window.

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    padded, w, stride, pad = cache
    N, _, H, W = padded.shape
    F, _, HH, WW = w.shape
    out_H, out_W = (H - HH) // stride + 1, (W - WW) // stride + 1
    expect_shape("dout", dout, (N, F, out_H, out_W), f"padded images of shape {padded.shape} and w of shape {w.shape}")

    dtype = float_type(padded, w)
    dpadded, dw, db = np.zeros(padded.shape, dtype), np.zeros(w.shape, dtype), np.zeros(F, dtype)
    for n in range(N):
        for f in range(F):
            for i in range(out_H):
                for j in range(out_W):
                    top, left = i * stride, j * stride
                    dpadded[n, :, top : top + HH, left : left + WW] += w[f] * dout[n, f, i, j]
                    dw[f] += padded[n, :, top : top + HH, left : left + WW] * dout[n, f, i, j]
                    db[f] += dout[n, f, i, j]
    return dpadded[:, :, pad : H - pad, pad : W - pad], dw, db


def expect_convolvable(x: Array, w: Array, b: Array, groups: int = 1) -> None:
    """Raise unless images, filters and biases fit each other.

    Raises:
        ShapeError: the number of axes, channels, filters or biases differs; both shapes are named.
    """
    expect_ndim("x", x, 4, "(N, C, H, W)")
    expect_ndim("w", w, 4, "(F, C, HH, WW)")
    C, F = x.shape[1], w.shape[0]
    expect_shape("b", b, (F,), f"{F} filters, w of shape {w.shape}")
    if groups > 1 and (C % groups or F % groups):
        raise ShapeError(
            f"{groups} groups must divide channels and filters: x of shape {x.shape} has {C} channels, "
            f"w of shape {w.shape} has {F} filters."
        )
    if w.shape[1] * groups != C:
        per_group = f" in each of {groups} groups" if groups > 1 else ""
        raise ShapeError(
            f"w of shape {w.shape} is for {w.shape[1]} channels{per_group}, but x of shape {x.shape} has {C}. "
            f"For these images w must be of shape {(F, C // groups, *w.shape[2:])}."
        )
    if 0 in w.shape[2:]:
        raise ShapeError(f"w of shape {w.shape} has filters without a pixel.")
