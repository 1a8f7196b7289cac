"""Nearest images by the Euclidean distance of their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnnlab.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest other image of each image.

    Attributes:
        indices: position of the nearest other image, int64 (n,).
        distances: Euclidean distance from it, in the unit of the pixels, float64 (n,).
    """

    indices: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]


def nearest_images(images: Tensor, others: Tensor | None = None, block: int = 4096) -> Neighbours:
    """Return the nearest of some other images for each image, by the Euclidean distance of their pixels.

    Args:
        images: images of any type (n, ...), or rows of their pixels.
        others: images of the same shape (m, ...); ``None`` for the images themselves, each except itself.
        block: number of other images that are compared at once.

    Raises:
        ShapeError: the images have different shapes.
    """
    candidates = images if others is None else others
    if images.shape[1:] != candidates.shape[1:]:
        shapes = tuple(images.shape[1:]), tuple(candidates.shape[1:])
        raise ShapeError(f"Images have the shape {shapes[0]} and the others {shapes[1]}; they must be equal.")
    # |a - b|^2 = |a|^2 - 2 a.b + |b|^2, whose first term does not choose. It loses digits where pixels lie far from
    # zero or are very large; so their mean becomes about 0 and their standard deviation about 1.
    sample = candidates[:: -(-len(candidates) // block)].float()
    middle, spread = sample.mean(), sample.std(correction=0)
    spread = torch.where(spread > 0, spread, 1.0)
    queries = (images.flatten(1).float() - middle) / spread
    lowest = torch.full((len(images),), torch.inf)
    indices = torch.zeros(len(images), dtype=torch.int64)
    for start in range(0, len(candidates), block):
        part = (candidates[start : start + block].flatten(1).float() - middle) / spread
        scores = part.square().sum(1) - 2 * queries @ part.T
        if others is None:
            own = torch.arange(len(part))
            scores[own + start, own] = torch.inf
        best, positions = scores.min(1)
        closer = best < lowest
        indices[closer] = positions[closer] + start
        lowest = torch.minimum(lowest, best)
    # The distance of the chosen pair anew, as the expanded square loses digits where images are nearly equal.
    differences = images.flatten(1).double() - candidates[indices].flatten(1).double()
    return Neighbours(indices.numpy(), differences.square().sum(1).sqrt().numpy())
