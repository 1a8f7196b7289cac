"""Windows that slide over an image, the image with windows covered, and the mean of the windows that cover a pixel."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnnlab.errors import UsageError

Pair = tuple[int, int]
Window = tuple[slice, slice]
"""The rows and columns of a window."""

NO_WINDOW: Window = (slice(0, 0), slice(0, 0))


def pair(name: str, value: int | Sequence[int]) -> Pair:
    """Return ``value`` as (vertical, horizontal), both at least 1; one number stands for both.

    Raises:
        UsageError: something else.
    """
    try:
        values = list(value) if isinstance(value, Sequence) else [value, value]
        vertical, horizontal = (operator.index(v) for v in values)
        if isinstance(value, str) or bool in map(type, values) or min(vertical, horizontal) < 1:
            raise ValueError
    except (TypeError, ValueError):
        raise UsageError(
            f"{name} is {value!r}; give a whole number of pixels of at least 1, or (vertical, horizontal)."
        ) from None
    return vertical, horizontal


@dataclass(frozen=True)
class SlidingWindows:
    """Windows over an image from its top left corner on, a stride apart, until every pixel is covered.

    The last ones may hang over the right and lower border: they are cut there.

    Attributes:
        image: height and width of the image in pixels.
        window: height and width of a window in pixels.
        stride: the distance of neighbouring windows in pixels, (vertical, horizontal).

    Raises:
        UsageError: the window is larger than the image, or the stride leaves pixels between the windows uncovered.
    """

    image: Pair
    window: Pair
    stride: Pair

    def __post_init__(self) -> None:
        (height, width), (h, w) = self.image, self.window
        if h > height or w > width:
            raise UsageError(
                f"A window of {h}x{w} pixels is larger than the image of {height}x{width}. Give at most the image's "
                "size; (height, width) / 7 is a good start."
            )
        for side, long, step in zip(self.image, self.window, self.stride, strict=True):
            if step > long and long < side:
                raise UsageError(
                    f"With windows of {h}x{w} pixels and a stride of {self.stride[0]}x{self.stride[1]} some pixels are "
                    "covered by no window. Give a stride of at most the window's size."
                )

    @property
    def counts(self) -> Pair:
        """The numbers of windows below each other, and beside each other."""
        down, across = (
            math.ceil((side - long) / step) + 1
            for side, long, step in zip(self.image, self.window, self.stride, strict=True)
        )
        return down, across

    def __len__(self) -> int:
        return self.counts[0] * self.counts[1]

    def __iter__(self) -> Iterator[Window]:
        """Yield the rows and columns of every window, line by line."""
        rows, columns = self.spans(0), self.spans(1)
        return ((row, column) for row in rows for column in columns)

    def spans(self, axis: int) -> list[slice]:
        """Return the rows (axis 0) or the columns (axis 1) of the windows."""
        side, long, step = self.image[axis], self.window[axis], self.stride[axis]
        return [slice(start, min(start + long, side)) for start in range(0, self.counts[axis] * step, step)]

    def average(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return for each pixel the mean of the values of the windows that cover it, (H, W).

        Args:
            values: one number for each window, in their order.
        """
        down, across = self._cover(0), self._cover(1)
        total = down.T @ np.asarray(values, dtype=np.float64).reshape(self.counts) @ across
        return total / np.outer(down.sum(axis=0), across.sum(axis=0))

    def _cover(self, axis: int) -> npt.NDArray[np.float64]:
        """Return (number of windows, pixels) with 1 where a window covers a pixel, along one axis."""
        cover = np.zeros((self.counts[axis], self.image[axis]))
        for line, span in zip(cover, self.spans(axis), strict=True):
            line[span] = 1
        return cover


class PatchedCopies:
    """A reused batch of copies of a tensor: a patch is removed before the next use, which is cheaper than a new copy.

    Args:
        base: the tensor (1, C, H, W).
    """

    def __init__(self, base: Tensor) -> None:
        self.base, self.batch = base, base[:0]
        self.patched: Sequence[Window] = []

    def __call__(self, windows: Sequence[Window], contents: Sequence[Tensor]) -> Tensor:
        """Return one copy per window, each with its content in the window; valid until the next call.

        Args:
            windows: rows and columns of the patch of each copy; empty ones change nothing.
            contents: the patches (C, h, w).
        """
        if len(self.batch) < len(windows):
            copies = self.base.expand(len(windows), -1, -1, -1)
            self.batch, self.patched = copies.clone(memory_format=torch.channels_last), []
        for copy, (rows, columns) in zip(self.batch, self.patched, strict=False):
            copy[:, rows, columns] = self.base[0, :, rows, columns]
        self.patched = windows
        for copy, (rows, columns), content in zip(self.batch, windows, contents, strict=False):
            copy[:, rows, columns] = content
        return self.batch[: len(windows)]


class CoveredImages:
    """Batches of an image, each with another window covered; image number 0 has none.

    Args:
        image: the image (1, C, H, W).
        fill: the image (1, C, H, W) that covers it.
        windows: the windows.
    """

    def __init__(self, image: Tensor, fill: Tensor, windows: SlidingWindows) -> None:
        self.copies, self.fill = PatchedCopies(image), fill
        self.windows: list[Window] = [NO_WINDOW, *windows]

    def __call__(self, numbers: Sequence[int]) -> Tensor:
        """Return the images with these numbers, (len(numbers), C, H, W); valid until the next call."""
        windows = [self.windows[number] for number in numbers]
        return self.copies(windows, [self.fill[0, :, rows, columns] for rows, columns in windows])
