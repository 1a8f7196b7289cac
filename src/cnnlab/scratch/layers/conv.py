"""Convolution at the speed of matrix multiplication, in NumPy alone.

Write what a filter sees at one place as a column of C * HH * WW numbers, and the filters as the rows of a matrix: then
all responses are one matrix product, ``filters (F, C*HH*WW) @ columns (C*HH*WW, places)``, which BLAS computes as fast
as the processor can (Chellapilla, Puri & Simard, "High performance convolutional neural networks for document
processing", 2006). What is left to do is to build the columns fast, and here is how.

Lay the padded lines of an image one after the other into a single row of memory. An image of 3x3 pixels 1..9 with pad 1
becomes lines of four; the zero that begins a line also ends the line before::

    0 0 0 0   0 1 2 3   0 4 5 6   0 7 8 9   0 0 0 0   0 0 ...

Now what weight (i, j) of a 3x3 filter meets at all places, line by line, is this row from its number 4 * i + j on::

    weight (0, 0)   0 0 0 0   0 1 2 3   0 4 5 6
    weight (0, 1)   0 0 0 0   1 2 3 0   4 5 6 0
    weight (0, 2)   0 0 0 1   2 3 0 4   5 6 0 7
    weight (1, 0)   0 1 2 3   0 4 5 6   0 7 8 9
    ...
    weight (2, 2)   5 6 0 7   8 9 0 0   0 0 0 0
                          ^         ^         ^

Read downwards these are the columns, and each of their nine rows was copied in one piece, at the speed of memory. The
price: of four columns the last (^) belongs to no place, since its window would leave the image at one side and come in
at the other; nor does the fourth line, between this image and the next. Their responses are computed and dropped.

The same holds for several images at once, one after the other in the row. A stride of s needs every s-th pixel of every
s-th line: these go into a row of their own, s * s rows in all, and within them the step is 1 again. Dilation makes the
distances i and j larger. Groups are blocks of rows of the columns. And backwards::

    dw       = dout @ columns.T      with zeros in dout where responses were dropped
    dcolumns = w.T @ dout            each row is added where it was copied from

Images are taken in blocks whose columns need 8 MiB, so that memory stays bounded and the columns in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.scratch._checks import Array, expect_shape
from cnnlab.scratch.layers._lines import Layout, Lines

Cache = tuple[Any, ...]


def conv_forward(x: Array, w: Array, b: Array, conv_param: Mapping[str, Any]) -> tuple[Array, Cache]:
    """Convolve images with filters; equal to :func:`conv_forward_naive`, hundreds of times faster.

    Args:
        x: images (N, C, H, W).
        w: filters (F, C / groups, HH, WW).
        b: biases (F,).
        conv_param: ``stride``, pixels from one place to the next; ``pad``, zeros added on all four sides; and if
            wanted ``dilation`` (1), pixels from one weight of a filter to the next, and ``groups`` (1), into which
            channels and filters are divided: a filter sees the channels of its group only.

    Returns:
        Responses (N, F, out_H, out_W) with out_H = 1 + (H + 2 * pad - dilation * (HH - 1) - 1) / stride, likewise
        out_W, and the cache for the backward pass.

    Raises:
        ShapeError: shapes that do not fit each other, a filter larger than the padded image, or a stride that does not
            divide the image.
        UsageError: a key of ``conv_param`` is unknown, missing, or not a whole number.
    """
    layout = Layout.of(x, w, b, conv_param)
    filters, lines = layout.grouped(w), Lines(layout)
    out = np.empty(layout.responses, layout.dtype)
    flat, response = layout.empty_responses()
    for images in layout.blocks():
        count = lines.put(x[images])
        for places in layout.pieces(count):
            np.matmul(filters, lines.columns(places), out=flat[:, :, places])
        np.add(response[:, :count].swapaxes(0, 1), b[:, None, None], out=out[images])
    return out, (x, w, layout)


def conv_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`conv_forward`: dx (N, C, H, W), dw (F, C / groups, HH, WW), db (F,).

    Args:
        dout: gradient with respect to the responses, (N, F, out_H, out_W).
        cache: what the forward pass returned.

    Raises:
        ShapeError: ``dout`` does not have the shape of the responses.
    """
    x, w, layout = cache
    expect_shape("dout", dout, layout.responses, f"x of shape {x.shape} and w of shape {w.shape}")
    filters, lines, dlines = layout.grouped(w), Lines(layout), Lines(layout)
    dx = np.empty(x.shape, layout.dtype)
    dw, db = np.zeros_like(filters), np.zeros(filters.shape[:2], layout.dtype)
    flat, response = layout.empty_responses()
    # The gradient of the columns is an outer product where a group has one filter, and BLAS is slow at those.
    product = np.multiply if filters.shape[1] == 1 else np.matmul
    for images in layout.blocks():
        count = lines.put(x[images])
        response[:, :count] = dout[images].swapaxes(0, 1)
        dlines.clear()
        for places in layout.pieces(count):
            columns, dflat = lines.columns(places), flat[:, :, places]
            dw += dflat @ columns.swapaxes(1, 2)
            db += dflat.sum(axis=2)
            product(filters.swapaxes(1, 2), dflat, out=columns)  # the columns are not needed any more
            dlines.add_columns(columns, places)
        dlines.take(dx[images])
    return dx, dw.reshape(w.shape), db.reshape(-1)
