"""Images that are made when a network is to see them, in batches of the size that a machine computes fastest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from torch import Tensor

MakeImages = Callable[[int, int], Tensor]
"""A function from ``start`` and ``end`` to the images with these numbers, (end - start, C, H, W)."""


class Batches:
    """Makes images in batches, whose size doubles as long as the time per image falls.

    One size that is no better may be an accident of a busy machine; after two in a row the best size stays.

    Args:
        start: the first size.
        largest: the largest size.
    """

    def __init__(self, start: int, largest: int) -> None:
        self.size, self.best, self.largest = start, start, largest
        self.least, self.worse = math.inf, 0
        self.warm = self.settled = False

    def of(self, count: int, make: MakeImages) -> Iterator[Tensor]:
        """Yield ``count`` images in batches, and time what is done with each batch."""
        start = 0
        while start < count:
            end = min(count, start + self.size)
            images = make(start, end)
            started = time.perf_counter()
            yield images
            if end - start == self.size and not self.settled:
                self._judge((time.perf_counter() - started) / self.size)
            start = end

    def _judge(self, seconds: float) -> None:
        """Choose the next size after a batch that took so many seconds per image."""
        if not self.warm:  # the first batch of a size pays for its preparation
            self.warm = True
            return
        self.worse = 0 if seconds < 0.97 * self.least else self.worse + 1
        if not self.worse:
            self.least, self.best = seconds, self.size
        if self.size < self.largest and self.worse < 2:
            self.size, self.warm = self.size * 2, False
        else:
            self.size, self.settled = self.best, True
