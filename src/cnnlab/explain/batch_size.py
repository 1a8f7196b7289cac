"""The number of images per batch, found by measuring."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


class BatchSize:
    """Doubles the size of batches as long as the time per image falls.

    One size that is no better may be an accident of a busy machine; after two in a row the best size stays.

    Args:
        start: the first size.
        largest: the largest size.
    """

    def __init__(self, start: int, largest: int) -> None:
        self.largest = largest
        self.size, self.best, self.least, self.worse = start, start, math.inf, 0
        self.warm = self.settled = False

    def next(self) -> int:
        """Return the size of the next batch."""
        return self.size

    @contextmanager
    def timing(self, count: int) -> Iterator[None]:
        """Time a batch of ``count`` images."""
        started = time.perf_counter()
        yield
        if self.settled or count != self.size:
            return
        if not self.warm:  # the first batch of a size pays for its preparation
            self.warm = True
            return
        each = (time.perf_counter() - started) / count
        self.worse = 0 if each < 0.97 * self.least else self.worse + 1
        if not self.worse:
            self.least, self.best = each, self.size
        if self.size < self.largest and self.worse < 2:
            self.size, self.warm = self.size * 2, False
        else:
            self.size, self.settled = self.best, True
