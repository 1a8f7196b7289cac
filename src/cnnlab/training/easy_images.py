"""Leaving easy images out of some epochs (Qin et al., InfoBatch: Lossless Training Speed Up, 2024, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

# All images in the first epochs, whose losses are those of a beginner, and at the end of the run (their section 3.3).
FULL_EPOCHS, LAST_SHARE = 2, 0.875


class EasyImages:
    """The last loss of every training image, and which images the current epoch may leave out.

    An image is easy when it had less than the mean loss. An epoch leaves out a share of the easy images at random; the
    loss of the others of them counts 1 / (1 - share) times, so that the expected gradient is that of all images.

    Args:
        images: number of training images.
        share: share of the easy images that are left out.

    Attributes:
        losses: float32 (N,), the loss of each image when it was last trained on; NaN before.
        skipped: float32 (N,), the probability of each image to be left out of the current epoch.
    """

    def __init__(self, images: int, share: float) -> None:
        self.share = share
        self.losses = torch.full((images,), torch.nan)
        self.skipped = torch.zeros(images)

    def begin_epoch(self, epoch: int, done: float) -> None:
        """Decide which images the epoch may leave out.

        Args:
            epoch: number of the epoch, from 0.
            done: share of the run that is over.
        """
        active = epoch >= FULL_EPOCHS and done < LAST_SHARE
        easy = self.losses < self.losses.nanmean()
        self.skipped = self.share * easy.float() if active else torch.zeros_like(self.losses)

    def weights(self, indices: Tensor) -> Tensor:
        """Return float32 (n,): how much each of the images at ``indices`` counts."""
        return 1 / (1 - self.skipped[indices])

    def trained(self, indices: Tensor, losses: Tensor) -> None:
        """Note the losses (n,) of the images at ``indices``, which were just trained on."""
        self.losses[indices] = losses.float().cpu()
