"""im2col and col2im: images as a matrix with a column per position of the filter; the drawing is in ``conv.py``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cnnlab.scratch._checks import Array
from cnnlab.scratch.layers._geometry import float_type, integer_settings, output_size
from cnnlab.scratch.layers.conv_naive import expect_convolvable

COLUMNS_BYTES = 8 * 2**20  # between 2 and 16 MiB the time differs by a tenth


class Geometry:
    """The sizes of a convolution, and the layout of its images in rows of memory.

    Args:
        x, w, b, conv_param: arguments of :func:`~cnnlab.scratch.layers.conv.conv_forward`, which are checked here.

    Attributes:
        in_shape: shape of the images, (N, C, H, W).
        out_shape: shape of the outputs, (N, F, out_H, out_W).
        stride, pad, groups: settings of the convolution.
        offsets: row (i, j) that each weight of a filter reads, and its first position there, as (i, j, start).
            Row (i, j) holds the pixels j, j + stride, ... of the image lines i, i + stride, ...
        height: number of lines of an image in a row, so that ``height * width`` positions belong to the image.
        width: number of positions of a line.
        block: number of images that are processed at a time.
        chunk: number of positions that are processed at a time.
        dtype: floating-point type of the computation.
    """

    def __init__(self, x: Array, w: Array, b: Array, conv_param: Mapping[str, Any]) -> None:
        smallest = {"stride": 1, "pad": 0, "dilation": 1, "groups": 1}
        stride, pad, dilation, groups = integer_settings(
            "conv_param", conv_param, smallest, {"dilation": 1, "groups": 1}
        )
        expect_convolvable(x, w, b, groups)
        N, C, H, W = x.shape
        F, _, HH, WW = w.shape
        out_H = output_size("height", H, HH, stride, pad, dilation)
        out_W = output_size("width", W, WW, stride, pad, dilation)
        self.in_shape, self.out_shape = x.shape, (N, F, out_H, out_W)
        self.stride, self.pad, self.groups = stride, pad, groups
        # The padding behind a line (or image) is the one before the next; more is needed for 1x1 filters alone.
        self.height = max(out_H, -(-(H + pad) // stride))
        self.width = width = max(out_W, -(-(W + pad) // stride))
        distances = [(i * dilation, j * dilation) for i in range(HH) for j in range(WW)]
        self.offsets = [(i % stride, j % stride, i // stride * width + j // stride) for i, j in distances]
        self.dtype = float_type(x, w)
        positions = COLUMNS_BYTES // (C * HH * WW * self.dtype.itemsize or 1)
        self.block = max(1, min(N, positions // (self.height * width)))
        self.chunk = max(1, min(positions, self.positions))

    @property
    def positions(self) -> int:
        """Number of positions of a block of images."""
        return self.block * self.height * self.width

    def blocks(self) -> Iterator[slice]:
        """Yield the images of one block after the other, as slices of N."""
        N = self.in_shape[0]
        return (slice(start, min(start + self.block, N)) for start in range(0, N, self.block))

    def chunks(self, images: int) -> Iterator[slice]:
        """Yield the positions of ``images`` images as slices: all at a time, unless an image is too large for that."""
        positions = images * self.height * self.width
        return (slice(start, min(start + self.chunk, positions)) for start in range(0, positions, self.chunk))

    def as_matrices(self, w: Array) -> Array:
        """Return the filters as a matrix per group, (groups, F / groups, C / groups * HH * WW)."""
        return np.asarray(w, self.dtype).reshape(self.groups, len(w) // self.groups, -1)

    def empty_outputs(self) -> tuple[Array, Array]:
        """Return zeros for the outputs of a block: a matrix per group, and a view without the positions to drop.

        The first is (groups, F / groups, positions), the second (F, block, out_H, out_W).
        """
        _, F, out_H, out_W = self.out_shape
        matrices = np.zeros((self.groups, F // self.groups, self.positions), self.dtype)
        return matrices, matrices.reshape(F, self.block, self.height, self.width)[:, :, :out_H, :out_W]


class Rows:
    """A block of padded images: all lines in one row of memory per channel (and per remainder of the stride)."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        s, C, end = geometry.stride, geometry.in_shape[1], geometry.positions + geometry.offsets[-1][2]
        self.rows = np.zeros((s, s, C, end), geometry.dtype)
        self._columns = np.empty(C * len(geometry.offsets) * geometry.chunk, geometry.dtype)

    def load(self, images: Array) -> int:
        """Copy images (n, C, H, W) into the rows, between the zeros of the padding; return n."""
        for row_pixels, image_pixels in self._pixels(images):
            row_pixels[...] = image_pixels
        return len(images)

    def store(self, images: Array) -> None:
        """Copy the rows into images (n, C, H, W), without the padding."""
        for row_pixels, image_pixels in self._pixels(images):
            image_pixels[...] = row_pixels

    def clear(self) -> None:
        """Fill the rows with zeros."""
        self.rows.fill(0)

    def im2col(self, positions: slice) -> Array:
        """Return the pixels under the filter at these positions, a column each.

        The result is (groups, C / groups * HH * WW, positions) and valid until the next call.
        """
        shape = self.geometry.in_shape[1], len(self.geometry.offsets), positions.stop - positions.start
        columns = self._columns[: math.prod(shape)].reshape(shape)
        for k, pixels in enumerate(self._read_by_weights(positions)):
            columns[:, k] = pixels
        return columns.reshape(self.geometry.groups, -1, shape[2])

    def col2im(self, columns: Array, positions: slice) -> None:
        """Add columns to the rows, each number to the pixel that :meth:`im2col` copied it from."""
        columns = columns.reshape(self.geometry.in_shape[1], len(self.geometry.offsets), -1)
        for k, pixels in enumerate(self._read_by_weights(positions)):
            pixels += columns[:, k]

    def _read_by_weights(self, positions: slice) -> Iterator[Array]:
        """Yield for each weight of a filter a view of the pixels that it reads at these positions, (C, positions)."""
        first, last = positions.start, positions.stop
        return (self.rows[i, j, :, start + first : start + last] for i, j, start in self.geometry.offsets)

    def _pixels(self, images: Array) -> Iterator[tuple[Array, Array]]:
        """Yield pairs of views of the same pixels, (C, n, ...): in the rows, and in the images."""
        geometry, s, p = self.geometry, self.geometry.stride, self.geometry.pad
        lines = self.rows[..., : geometry.positions].reshape(s, s, -1, geometry.block, geometry.height, geometry.width)
        by_channel = images.swapaxes(0, 1)
        for i in range(s):
            for j in range(s):
                # Padded line i, i + s, i + 2 * s, ...: those from pad on are lines of the image.
                first_y, first_x = (i - p) % s, (j - p) % s
                pixels = by_channel[:, :, first_y::s, first_x::s]
                top, left = (first_y + p) // s, (first_x + p) // s
                bottom, right = top + pixels.shape[2], left + pixels.shape[3]
                yield lines[i, j, :, : len(images), top:bottom, left:right], pixels
