"""im2col as it is defined: the pixels under the filter at every position, as the columns of a matrix.

With it a convolution is a matrix product: ``w.reshape(F, -1) @ im2col(x, HH, WW)`` are its outputs without the biases.
``conv_forward`` does the same by a layout in memory that is faster to write; ``conv.py`` draws it.
"""

from __future__ import annotations

import numpy as np

from cnnlab.scratch._checks import Array, expect_ndim
from cnnlab.scratch.layers._geometry import output_size


def im2col(x: Array, HH: int, WW: int, stride: int = 1, pad: int = 0) -> Array:
    """Return the pixels under a filter at every position as a column: (N, C * HH * WW, out_H * out_W).

    The rows are ordered as the weights of a filter (C, HH, WW) are, and the columns as the outputs (out_H, out_W).
    Source: Chellapilla, Puri & Simard, "High performance convolutional neural networks for document processing", 2006.

    Args:
        x: images (N, C, H, W).
        HH: height of the filter in pixels.
        WW: width of the filter in pixels.
        stride: distance from one position of the filter to the next, in pixels.
        pad: number of zeros added on all four sides.

    Raises:
        ShapeError: x has other axes, the filter is larger than the padded image, or the stride does not divide the
            image.
    """
    expect_ndim("x", x, 4, "(N, C, H, W)")
    N, C, H, W = x.shape
    out_H, out_W = output_size("height", H, HH, stride, pad), output_size("width", W, WW, stride, pad)
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    columns = np.empty((N, C, HH, WW, out_H, out_W), x.dtype)
    for i in range(HH):
        for j in range(WW):
            # What weight (i, j) reads at all positions: every stride-th pixel from (i, j) on.
            columns[:, :, i, j] = padded[:, :, i : i + stride * out_H : stride, j : j + stride * out_W : stride]
    return columns.reshape(N, C * HH * WW, out_H * out_W)
