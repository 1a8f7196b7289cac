"""From a split to batches on the device, as a pure function of (seed, epoch, step)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.data.augment import Augment
from cnnlab.data.base import Split
from cnnlab.data.batch_augment import BatchAugment, draw_crops
from cnnlab.data.decoding_split import DecodingSplit
from cnnlab.data.preprocess import Preprocess
from cnnlab.data.scanning import workers
from cnnlab.errors import UsageError

# While a batch is used, this many more are being decoded.
_AHEAD = 2

# The generators of so many batches are made at once. Between two steps of a network, the code that makes one is not in
# the processor's cache any more, and takes seven times as long.
_PLANNED = 32

# First number of each seed, so that order and augmentation never share a stream.
_ORDER, _STEP, _FLIP = 1, 2, 3


@dataclass(frozen=True)
class Batch:
    """A batch, on the device of its loader.

    Args:
        images: float32 (n, C, S, S), normalised.
        labels: int64 (n,).
        targets: the labels; or float32 (n, classes), rows summing to 1, when images were mixed.
        indices: int64 (n,) positions in the split, on the CPU.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)


class Loader:
    """Batches of a split.

    Order comes from (seed, epoch), augmentation from (seed, epoch, step, rank); so ``epoch(e, start_step=k)`` gives
    the same batches, bit for bit, as ``epoch(e)`` after k of them. Images in files are decoded by threads, two batches
    ahead; there are no worker processes. When shuffled, a last batch that would leave a process with a single image
    joins the batch before it, because BatchNorm cannot learn from one image.

    Args:
        split: split that the images come from.
        preprocess: preprocessing that the network needs.
        batch_size: images per step over all processes; each takes its slice of every batch.
        classes: number of classes; needed for the targets of mixed images. The largest label + 1 by default.
        augment: random changes, for training.
        shuffle: whether each epoch has a new order instead of that of the split.
        sampling: way of drawing when shuffled: ``"shuffle"`` gives every image once, ``"balanced"`` draws as many
            images with replacement, every class equally often on average; ``"in_order"`` keeps the order of the split
            in every epoch, to show what shuffling is worth.
        seed: seed of order and augmentation.
        device: device that the batches are put on.
        channels_last: whether the images have the memory format ``torch.channels_last``.
        rank, world: number of this process, from 0, and number of processes.

    Raises:
        UsageError: an argument makes no sense.
    """

    def __init__(
        self,
        split: Split,
        preprocess: Preprocess,
        batch_size: int,
        *,
        classes: int | None = None,
        augment: Augment | None = None,
        shuffle: bool = False,
        sampling: Literal["shuffle", "balanced", "in_order"] = "shuffle",
        seed: int = 0,
        device: str | torch.device = "cpu",
        channels_last: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"The batch size is {batch_size}; it must be at least 1.")
        if world < 1 or not 0 <= rank < world:
            raise UsageError(f"Process {rank} of {world} does not exist; ranks are 0..{max(world, 1) - 1}.")
        if sampling not in ("shuffle", "balanced", "in_order"):
            raise UsageError(f'sampling is "{sampling}"; expected "shuffle", "balanced" or "in_order".')
        if shuffle and min(batch_size, len(split)) < world:
            raise UsageError(
                f"{world} processes cannot share batches of {min(batch_size, len(split))} images; "
                f"use a batch size and a training split of at least {world}, or fewer processes."
            )
        if classes is None:
            classes = int(split.labels.max()) + 1 if len(split) else 1
        self.split, self.preprocess, self.batch_size = split, preprocess, batch_size
        self.shuffle, self.sampling, self.seed = shuffle, sampling, seed
        self.device, self.channels_last = torch.device(device), channels_last
        self.rank, self.world = rank, world
        self.augment = augment or Augment()
        self._mirrored_first: Tensor | None = None
        seed = self.seed % 2**63
        self._seed_words = [seed] if seed < 2**32 else [seed % 2**32, seed >> 32]
        self._augments, self._unused = self.augment.active, np.random.default_rng(0)
        self._batch_augment = BatchAugment(self.augment, preprocess, classes)
        self._bounds = _batch_bounds(len(split), batch_size, world if shuffle else 0)

    def __len__(self) -> int:
        """Return the number of steps per epoch."""
        return len(self._bounds)

    def images_in(self, step: int) -> int:
        """Return the number of images of a step over all processes; the last step may have fewer, or one more."""
        start, stop = self._bounds[step]
        return stop - start

    def order(self, epoch: int) -> Tensor:
        """Return int64 (N,): the positions of the images in the order of this epoch, over all processes."""
        count = len(self.split)
        if not self.shuffle or self.sampling == "in_order" or count == 0:
            return torch.arange(count)
        rng = self._rng(_ORDER, epoch)
        if self.sampling == "shuffle":
            return torch.from_numpy(rng.permutation(count))
        # Inverse class frequency: the class first, each equally likely, then one of its images.
        labels = self.split.labels.numpy()
        by_class = np.argsort(labels, kind="stable")
        _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
        chosen = rng.integers(0, len(sizes), count)
        return torch.from_numpy(by_class[starts[chosen] + rng.integers(0, sizes[chosen])])

    def epoch(
        self, epoch: int, start_step: int = 0, side: Callable[[int], int | None] | None = None
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch from ``start_step`` on.

        Args:
            epoch: number of the epoch, from 0.
            start_step: number of steps to leave out.
            side: function from the step within the epoch, from 0, to the side in pixels to which the augmented and
                normalised images are resized; it returns None to leave their size. It is called when the batch is about
                to be yielded, not when its decoding starts.

        A process that has no image of the last batch of an unshuffled epoch gets one batch less.

        Raises:
            UsageError: epoch is negative, or the epoch has no such step.
            DataError: a file cannot be read any more.
        """
        if epoch < 0 or not 0 <= start_step <= len(self):
            raise UsageError(f"There is no step {start_step} of epoch {epoch}; an epoch has {len(self)} steps.")
        return self._batches(epoch, start_step, side or (lambda step: None))

    def _batches(self, epoch: int, start_step: int, side: Callable[[int], int | None]) -> Iterator[Batch]:
        ahead = _AHEAD if isinstance(self.split, DecodingSplit) else 0
        waiting: deque[tuple[int, Tensor, Callable[[], Tensor], np.random.Generator, Tensor | None]] = deque()
        # Threads start with the first file to decode: none when everything is in the cache or in memory.
        pool = ThreadPoolExecutor(workers(), thread_name_prefix="cnnlab-decode")
        try:
            for step, indices, rng in self._plan(epoch, start_step):
                if len(indices):
                    fetched = self._start(indices, rng, pool)
                    waiting.append((step, indices, fetched, rng, self._mirrored(indices, epoch)))
                if len(waiting) > ahead:
                    yield self._finish(side, *waiting.popleft())
            while waiting:
                yield self._finish(side, *waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _plan(self, epoch: int, start_step: int) -> Iterator[tuple[int, Tensor, np.random.Generator]]:
        """Yield the number of each step, the positions of its images, and the generator of its augmentation."""
        order = self.order(epoch)
        for first in range(start_step, len(self), _PLANNED):
            steps = range(first, min(first + _PLANNED, len(self)))
            shares = [self.share_of(order, step) for step in steps]
            # Without augmentation no number is drawn.
            rngs = [self._rng(_STEP, epoch, step, self.rank) if self._augments else self._unused for step in steps]
            yield from zip(steps, shares, rngs, strict=True)

    def _rng(self, *key: int) -> np.random.Generator:
        # As an array of 32-bit words the key gives the numbers that it gives as a list, and sooner.
        return np.random.default_rng(np.array([key[0], *self._seed_words, *key[1:]], np.uint32))

    def share_of(self, order: Tensor, step: int) -> Tensor:
        """Return the positions that this process takes of a step of an epoch with this :meth:`order`."""
        start, stop = self._bounds[step]
        count = stop - start
        return order[start + count * self.rank // self.world : start + count * (self.rank + 1) // self.world]

    def _start(self, indices: Tensor, rng: np.random.Generator, pool: ThreadPoolExecutor) -> Callable[[], Tensor]:
        scale = self.augment.crop_scale
        crops = None if scale is None else draw_crops(rng, len(indices), scale)
        if isinstance(self.split, DecodingSplit):
            return self.split.start(indices, self.preprocess, crops, pool)
        return lambda: self.split.fetch(indices, self.preprocess, crops)

    def _mirrored(self, indices: Tensor, epoch: int) -> Tensor | None:
        """Return whether each image is mirrored in this epoch, where that alternates from epoch to epoch."""
        if self.augment.flip != "alternate":
            return None
        if self._mirrored_first is None:
            self._mirrored_first = torch.from_numpy(self._rng(_FLIP).random(len(self.split)) < 0.5)
        return self._mirrored_first[indices] ^ (epoch % 2 == 1)

    def _finish(
        self,
        side: Callable[[int], int | None],
        step: int,
        indices: Tensor,
        fetched: Callable[[], Tensor],
        rng: np.random.Generator,
        mirrored: Tensor | None,
    ) -> Batch:
        pixels, labels = self._to_device(fetched()), self._to_device(self.split.labels[indices])
        images, targets = self._batch_augment(pixels, labels, rng, mirrored)
        if (size := side(step)) not in (None, images.shape[-1]):
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return Batch(images, labels, targets, indices)

    def _to_device(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


def _batch_bounds(count: int, batch_size: int, sharing: int) -> list[tuple[int, int]]:
    """Return (start, stop) of each batch over all processes.

    Args:
        count: number of images.
        batch_size: number of images per batch.
        sharing: number of processes that each need two images of every batch; 0 when a short last batch does no harm.
    """
    bounds = [(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    least = min(2 * sharing, batch_size)
    if len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] < least:
        _, stop = bounds.pop()
        bounds[-1] = (bounds[-1][0], stop)
    return bounds
