"""A batch of copies of one tensor, used again and again: each copy differs from it in a rectangle only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnlab.explain.perturbation.sliding_windows import Span


class Reused:
    """Copies of a tensor (1, C, H, W); what is put on them is taken off before the next use, which costs little."""

    def __init__(self, base: Tensor) -> None:
        self.base, self.batch = base, base[:0]
        self.put_on: Sequence[Span] = []

    def __call__(self, spans: Sequence[Span], contents: Sequence[Tensor]) -> Tensor:
        """Return copies, each with its content (C, h, w) in its rectangle; valid until the next call.

        Args:
            spans: rows and columns of each copy's rectangle; empty ones change nothing.
            contents: what to put there.
        """
        if len(self.batch) < len(spans):
            copies = self.base.expand(len(spans), -1, -1, -1)
            self.batch, self.put_on = copies.clone(memory_format=torch.channels_last), []
        for place, (rows, columns) in enumerate(self.put_on):
            self.batch[place, :, rows, columns] = self.base[0, :, rows, columns]
        self.put_on = spans
        for place, ((rows, columns), content) in enumerate(zip(spans, contents, strict=True)):
            self.batch[place, :, rows, columns] = content
        return self.batch[: len(spans)]
