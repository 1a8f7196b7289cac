"""The row of memory in which the fast convolution lays its images; ``conv.py`` draws it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnlab.scratch._checks import Array
from cnnlab.scratch.layers._windows import float_type, whole_numbers, windows_along
from cnnlab.scratch.layers.conv_naive import expect_convolvable

COLUMNS_BYTES = 8 * 2**20  # between 2 and 16 MiB the time differs by a tenth


@dataclass(frozen=True)
class Layout:
    """How images lie in rows of memory.

    Attributes:
        images: (N, C, H, W). ``responses``: (N, F, out_H, out_W).
        starts: for each weight of a filter, line by line, the row it meets and its first place in it, (i, j, start).
            Row (i, j) holds the pixels j, j + stride, ... of the lines i, i + stride, ...
        height: lines of an image in a row, so that ``height * width`` places belong to it; ``width``: of a line.
        block: images at a time. ``piece``: places at a time.
    """

    images: tuple[int, ...]
    responses: tuple[int, ...]
    stride: int
    pad: int
    groups: int
    starts: tuple[tuple[int, int, int], ...]
    height: int
    width: int
    block: int
    piece: int
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, x: Array, w: Array, b: Array, conv_param: Mapping[str, Any]) -> Layout:
        """Check what :func:`conv_forward` was given, and lay it out."""
        smallest = {"stride": 1, "pad": 0, "dilation": 1, "groups": 1}
        stride, pad, dilation, groups = whole_numbers("conv_param", conv_param, smallest, {"dilation": 1, "groups": 1})
        expect_convolvable(x, w, b, groups)
        N, C, H, W = x.shape
        F, _, HH, WW = w.shape
        out_H = windows_along("height", H, HH, stride, pad, dilation)
        out_W = windows_along("width", W, WW, stride, pad, dilation)
        # The padding behind a line (or image) is the one before the next; more is needed for 1x1 filters alone.
        height, width = max(out_H, -(-(H + pad) // stride)), max(out_W, -(-(W + pad) // stride))
        distances = [(i * dilation, j * dilation) for i in range(HH) for j in range(WW)]
        starts = tuple((y % stride, x % stride, y // stride * width + x // stride) for y, x in distances)
        dtype = float_type(x, w)
        places = COLUMNS_BYTES // (C * HH * WW * dtype.itemsize or 1)
        block = max(1, min(N, places // (height * width)))
        piece = max(1, min(places, block * height * width))
        shapes = x.shape, (N, F, out_H, out_W)
        return cls(*shapes, stride, pad, groups, starts, height, width, block, piece, dtype)

    @property
    def places(self) -> int:
        """Places in a row, but for what is read beyond its end."""
        return self.block * self.height * self.width

    def blocks(self) -> Iterator[slice]:
        """Which images to take at a time."""
        N = self.images[0]
        return (slice(start, min(start + self.block, N)) for start in range(0, N, self.block))

    def pieces(self, count: int) -> Iterator[slice]:
        """Which places of ``count`` images to take at a time: all of them, unless an image is too large for that."""
        places = count * self.height * self.width
        return (slice(start, min(start + self.piece, places)) for start in range(0, places, self.piece))

    def grouped(self, w: Array) -> Array:
        """Return the filters as matrices (groups, F / groups, C / groups * HH * WW)."""
        return np.asarray(w, self.dtype).reshape(self.groups, len(w) // self.groups, -1)

    def empty_responses(self) -> tuple[Array, Array]:
        """Return room for the responses of a block, (groups, F / groups, places), and a view of those that count."""
        _, F, out_H, out_W = self.responses
        flat = np.zeros((self.groups, F // self.groups, self.places), self.dtype)
        return flat, flat.reshape(F, self.block, self.height, self.width)[:, :, :out_H, :out_W]


class Lines:
    """The padded lines of a block of images, all in one row for each channel (and each remainder of the stride)."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        s, C, end = layout.stride, layout.images[1], layout.places + layout.starts[-1][2]
        self.rows = np.zeros((s, s, C, end), layout.dtype)
        self._columns = np.empty(C * len(layout.starts) * layout.piece, layout.dtype)

    def put(self, images: Array) -> int:
        """Write images (n, C, H, W) into the rows, between zeros; return n."""
        for line, pixel in self._pixels(images):
            line[...] = pixel
        return len(images)

    def take(self, images: Array) -> None:
        """Write what is in the rows into images (n, C, H, W), without the padding."""
        for line, pixel in self._pixels(images):
            pixel[...] = line

    def clear(self) -> None:
        self.rows.fill(0)

    def columns(self, places: slice) -> Array:
        """Return what the filters see at these places, (groups, C / groups * HH * WW, places); valid until the next."""
        shape = self.layout.images[1], len(self.layout.starts), places.stop - places.start
        columns = self._columns[: math.prod(shape)].reshape(shape)
        for k, row in enumerate(self._seen(places)):
            columns[:, k] = row
        return columns.reshape(self.layout.groups, -1, shape[2])

    def add_columns(self, columns: Array, places: slice) -> None:
        """Add columns to what is in the rows, each number where :meth:`columns` found it."""
        columns = columns.reshape(self.layout.images[1], len(self.layout.starts), -1)
        for k, row in enumerate(self._seen(places)):
            row += columns[:, k]

    def _seen(self, places: slice) -> Iterator[Array]:
        """The part of the rows that each weight meets at these places, (C, places)."""
        return (self.rows[i, j, :, start + places.start : start + places.stop] for i, j, start in self.layout.starts)

    def _pixels(self, images: Array) -> Iterator[tuple[Array, Array]]:
        """Pairs of views of the same pixels, (C, n, ...): in the rows, and in the images."""
        layout, s, p = self.layout, self.layout.stride, self.layout.pad
        lines = self.rows[..., : layout.places].reshape(s, s, -1, layout.block, layout.height, layout.width)
        by_channel = images.swapaxes(0, 1)
        for i in range(s):
            for j in range(s):
                # Padded line i, i + s, i + 2 * s, ...: those from pad on are lines of the image.
                first_y, first_x = (i - p) % s, (j - p) % s
                pixels = by_channel[:, :, first_y::s, first_x::s]
                top, left = (first_y + p) // s, (first_x + p) // s
                bottom, right = top + pixels.shape[2], left + pixels.shape[3]
                yield lines[i, j, :, : len(images), top:bottom, left:right], pixels
