"""Batches of captioned images on the device, as a pure function of (seed, epoch, step)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cnnlab.generate.captions.data import CaptionSplit

#: a function from positions of images, int64 (n,), to the inputs of the network on its device, (n, ...)
Fetch = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CaptionBatch:
    """A batch of n images with k captions each.

    Attributes:
        inputs: inputs of the network, (n, ...), on its device.
        captions: positions of words (n k, T), the k captions of an image one after the other, on the same device.
        indices: positions of the images in the split, int64 (n,).
    """

    inputs: Tensor
    captions: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)


class CaptionLoader:
    """Batches of captioned images; an epoch shows every image once, with some of its captions.

    Order and choice of captions come from (seed, epoch), so that ``epoch(e, start_step=k)`` gives the same batches as
    ``epoch(e)`` after k of them. Images without a caption are left out.

    Args:
        split: captioned images.
        fetch: function that returns the inputs of the network for positions of images.
        batch_size: number of images per batch.
        per_image: number of captions of each image. Of an image that has fewer, some are used twice.
        seed: seed of the order.
        device: device that the captions are put on.
    """

    def __init__(
        self, split: CaptionSplit, fetch: Fetch, batch_size: int, per_image: int, seed: int, device: torch.device
    ) -> None:
        self.split, self.fetch, self.batch_size, self.per_image = split, fetch, batch_size, per_image
        self.seed, self.device = seed, device
        self._by_image = torch.argsort(split.image_of, stable=True)
        self._counts = torch.bincount(split.image_of, minlength=len(split))
        self._starts = self._counts.cumsum(0) - self._counts
        self._images = torch.nonzero(self._counts).flatten()
        count = len(self._images)
        self._bounds = [(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
        if len(self._bounds) > 1 and self._bounds[-1][1] - self._bounds[-1][0] == 1:
            # BatchNorm needs more than one image: a single last image joins the batch before it.
            _, stop = self._bounds.pop()
            self._bounds[-1] = (self._bounds[-1][0], stop)

    def __len__(self) -> int:
        """Return the number of steps per epoch."""
        return len(self._bounds)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[CaptionBatch]:
        """Yield the batches of an epoch from ``start_step`` on."""
        rng = np.random.default_rng([self.seed, epoch])
        order = self._images[torch.from_numpy(rng.permutation(len(self._images)))]
        # Consecutive captions from a random one on, cyclically: none is drawn twice while there are enough.
        first = torch.from_numpy(rng.random(len(self._images)))
        for start, stop in self._bounds[start_step:]:
            indices = order[start:stop]
            counts = self._counts[indices]
            offsets = (first[start:stop] * counts).long()[:, None] + torch.arange(self.per_image)
            rows = self._by_image[self._starts[indices][:, None] + offsets % counts[:, None]].flatten()
            yield CaptionBatch(self.fetch(indices), self.trimmed(rows), indices)

    def trimmed(self, rows: Tensor) -> Tensor:
        """Return the captions at ``rows`` on the device, without the last columns where all of them are NULL."""
        captions = self.split.captions[rows]
        length = int((captions != self.split.vocabulary.null).sum(1).max())
        return captions[:, :length].to(self.device)
