"""One pass of a network over a split: its logits, and the loss and accuracy that they give."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from cnnlab.data import Loader
from cnnlab.hardware import Precision
from cnnlab.tracing.hooks import evaluating
from cnnlab.training import distributed
from cnnlab.training.feature_cache import caches_features
from cnnlab.training.recipe import Recipe

EVALUATION_BYTES = 1 << 30  # memory for the layer outputs of one batch
_MOST_IMAGES = 256  # more of them at a time make no evaluation faster
_LEAST_IMAGES = 8


def evaluation_batch(recipe: Recipe, side: int) -> int:
    """Return how many images an evaluation passes through the network at a time.

    Their layer outputs take about 1 GiB at most, or less than those of the part of a training step that is computed at
    a time, which keeps all of them for its backward pass. The number depends on the recipe and the size of the images
    alone, so that another machine repeats an evaluation to the last bit.

    Args:
        recipe: the recipe of the training.
        side: height and width of the images in pixels.
    """
    # What the networks of the zoo need at a time in fp32, for each pixel of the image. Stems made for photos halve the
    # image at once, but not one of 64 pixels or less. Only the large NASNet and PNASNet need more there.
    pixel_bytes = 4096 if side <= 64 else 512
    fitting = EVALUATION_BYTES // (pixel_bytes * side**2)
    # Where features are cached, no step of the training passes its batch through the whole network.
    part = 0 if caches_features(recipe) else -(-recipe.batch_size // recipe.parts(recipe.batch_size))
    return max(_LEAST_IMAGES, part, min(_MOST_IMAGES, fitting))


def evaluate(
    model: nn.Module, loader: Loader, device: torch.device, precision: Precision
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (N, K) float32 and labels (N,) int64 of a whole split, in its order, on every process.

    Every part of the network is left in the mode it was in.
    """
    parts = list(outputs_of(model, loader, device, precision))
    mine = tuple(torch.cat(column) for column in zip(*parts, strict=True)) if parts else None
    shares = [share for share in distributed.gather(mine) if share is not None]
    outputs, labels, positions = (torch.cat(column) for column in zip(*shares, strict=True))
    order = positions.argsort()
    return outputs[order].numpy(), labels[order].numpy()


class SixViews(nn.Module):
    """The mean of a network's logits for six views of each image: test-time augmentation.

    The views are the image and its mirror image, each unshifted (weight 1/4) and shifted by one pixel down-right and
    up-left (1/8), with reflected borders (Jordan 2024, https://arxiv.org/abs/2404.00498, section 3.5).

    Args:
        model: the network.
    """

    COUNT = 6  #: number of views of an image

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, K) float32 of images (N, C, H, W)."""
        height, width = images.shape[-2:]
        padded = nn.functional.pad(images, (1, 1, 1, 1), "reflect")
        views = ((images, 0.25), (padded[..., :height, :width], 0.125), (padded[..., 2:, 2:], 0.125))
        return sum(weight * self.model(side).float() for view, weight in views for side in (view, view.flip(-1)))


Part = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Outputs (n, ...) float32, labels (n,) and positions in the split (n,) of a batch, on the CPU."""


@torch.no_grad()
def outputs_of(model: nn.Module, loader: Loader, device: torch.device, precision: Precision) -> Iterator[Part]:
    """Yield the outputs of the network, in eval mode, for each batch of the loader that is this process's."""
    with evaluating(model):
        for batch in loader.epoch(0):
            with precision.autocast(device):
                outputs = model(batch.images).float().cpu()
            yield outputs, batch.labels.cpu(), batch.indices.cpu()


def loss_and_accuracy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the mean cross entropy and the accuracy of ``logits`` (N, K) for ``labels`` (N,)."""
    scores, truth = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    return float(nn.functional.cross_entropy(scores, truth)), float((scores.argmax(1) == truth).double().mean())
