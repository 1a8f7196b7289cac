"""Batches of copies of one tensor, each of which differs from it in a rectangle only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnlab.explain.perturbation.sliding_windows import NO_WINDOW, SlidingWindows, Window


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
