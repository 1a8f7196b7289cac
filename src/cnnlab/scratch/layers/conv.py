"""Convolution at the speed of matrix multiplication, in NumPy alone.

im2col: write the pixels under a filter at one position as a column of C * HH * WW numbers, and the filters as the rows
of a matrix. Then all outputs are one matrix product, ``filters (F, C*HH*WW) @ columns (C*HH*WW, positions)``, which
BLAS computes as fast as the processor can (Chellapilla, Puri & Simard, "High performance convolutional neural networks
for document processing", 2006). What remains is to build the columns fast.

Lay the padded lines of an image one after the other into a single row of memory. An image of 3x3 pixels 1..9 with pad 1
becomes lines of four; the zero that begins a line also ends the line before::

    0 0 0 0   0 1 2 3   0 4 5 6   0 7 8 9   0 0 0 0   0 0 ...

Now the pixels that weight (i, j) of a 3x3 filter reads at all positions, line by line, are this row from number
4 * i + j on::

    weight (0, 0)   0 0 0 0   0 1 2 3   0 4 5 6
    weight (0, 1)   0 0 0 0   1 2 3 0   4 5 6 0
    weight (0, 2)   0 0 0 1   2 3 0 4   5 6 0 7
    weight (1, 0)   0 1 2 3   0 4 5 6   0 7 8 9
    ...
    weight (2, 2)   5 6 0 7   8 9 0 0   0 0 0 0
                          ^         ^         ^

Read downwards these are the columns, and each of their nine rows was copied in one piece, at the speed of memory. The
price: of four columns the last (^) belongs to no position, since its window would leave the image at one side and come
in at the other; nor does the fourth line, between this image and the next. Their outputs are computed and dropped.

The same holds for several images at once, one after the other in the row. A stride of s needs every s-th pixel of every
s-th line: these go into a row of their own, s * s rows in all, and within them the step is 1 again. Dilation makes the
distances i and j larger. Groups are blocks of rows of the columns. And backwards::

    dw       = dout @ columns.T      with zeros in dout where outputs were dropped
    dcolumns = w.T @ dout            and col2im adds each number to the pixel that im2col copied it from

Images are processed in blocks whose columns need 8 MiB, so that memory is bounded and columns stay in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.scratch._checks import Array, Cache, expect_shape
from cnnlab.scratch.layers._im2col import Geometry, Rows


def conv_forward(x: Array, w: Array, b: Array, conv_param: Mapping[str, Any]) -> tuple[Array, Cache]:
    """Convolve images with filters: the same as :func:`conv_forward_naive`, hundreds of times faster.

    Args:
        x: images (N, C, H, W).
        w: filters (F, C / groups, HH, WW).
        b: biases (F,).
        conv_param: ``stride``, the distance from one position of the filter to the next in pixels; ``pad``, the zeros
            added on all four sides; and optionally ``dilation`` (1), the distance from one weight of a filter to the
            next in pixels, and ``groups`` (1), into which channels and filters are divided: a filter reads the channels
            of its group only.

    Returns:
        The outputs (N, F, out_H, out_W) with out_H = 1 + (H + 2 * pad - dilation * (HH - 1) - 1) / stride, likewise
        out_W, and the cache.

    Raises:
        ShapeError: the shapes do not fit each other, a filter is larger than the padded image, or the stride does not
            divide the image.
        UsageError: a key of ``conv_param`` is unknown, missing, or not a whole number.
    """
    geometry = Geometry(x, w, b, conv_param)
    filters, rows = geometry.as_matrices(w), Rows(geometry)
    out = np.empty(geometry.out_shape, geometry.dtype)
    out_matrices, out_block = geometry.empty_outputs()
    for images in geometry.blocks():
        count = rows.load(x[images])
        for positions in geometry.chunks(count):
            columns = rows.im2col(positions)
            np.matmul(filters, columns, out=out_matrices[:, :, positions])
        np.add(out_block[:, :count].swapaxes(0, 1), b[:, None, None], out=out[images])
    return out, (x, w, geometry)


def conv_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Return the gradients dx (N, C, H, W), dw (F, C / groups, HH, WW), db (F,) from ``dout`` (N, F, out_H, out_W).

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    x, w, geometry = cache
    expect_shape("dout", dout, geometry.out_shape, f"x of shape {x.shape} and w of shape {w.shape}")
    filters, rows, drows = geometry.as_matrices(w), Rows(geometry), Rows(geometry)
    dx = np.empty(x.shape, geometry.dtype)
    dw, db = np.zeros_like(filters), np.zeros(filters.shape[:2], geometry.dtype)
    dout_matrices, dout_block = geometry.empty_outputs()
    # The gradient of the columns is an outer product where a group has one filter, and BLAS is slow at those.
    product = np.multiply if filters.shape[1] == 1 else np.matmul
    for images in geometry.blocks():
        count = rows.load(x[images])
        dout_block[:, :count] = dout[images].swapaxes(0, 1)
        drows.clear()
        for positions in geometry.chunks(count):
            columns, dout_columns = rows.im2col(positions), dout_matrices[:, :, positions]
            dw += dout_columns @ columns.swapaxes(1, 2)
            db += dout_columns.sum(axis=2)
            dcolumns = product(filters.swapaxes(1, 2), dout_columns, out=columns)  # in the memory of the columns
            drows.col2im(dcolumns, positions)
        drows.store(dx[images])
    return dx, dw.reshape(w.shape), db.reshape(-1)
