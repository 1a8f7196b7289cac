"""Nearest neighbours of images in their pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def nearest(images: Tensor, others: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Return for each image the position of the nearest of the others and its Euclidean distance.

    Args:
        images: images (n, C, H, W).
        others: images (m, C, H, W); when None, the images themselves, each but itself.
    """
    left = pooled(images)
    right = left if others is None else pooled(others)
    # The distances of values that lie far from zero would be lost in rounding.
    middle, spread = right.mean(), right.std().clamp_min(1e-12)
    left, right = (left - middle) / spread, (right - middle) / spread
    indices, distances = [], []
    for start in range(0, len(left), 512):
        part = torch.cdist(left[start : start + 512], right)
        if others is None:
            part[torch.arange(len(part)), torch.arange(start, start + len(part))] = torch.inf
        values, places = part.min(1)
        indices.append(places)
        distances.append(values)
    return torch.cat(indices).numpy(), torch.cat(distances).numpy()


def pooled(images: Tensor, side: int = 32) -> Tensor:
    """Return images as rows of at most side x side positions, float32 (n, C * side * side)."""
    images = images.float()
    if images.ndim == 4 and max(images.shape[2:]) > side:
        images = nn.functional.adaptive_avg_pool2d(images, side)
    return images.flatten(1)
