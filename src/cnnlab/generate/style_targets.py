"""Style losses: three descriptions of a layer output that do not depend on the order of its positions.

Every loss is relative: 0 for the painting itself, 1 for a layer output of zeros (a constant one for ``swag``). So a
weight means the same in every layer and every network. The sources are in :mod:`cnnlab.generate.losses`.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from cnnlab.generate.losses import content_loss, gram_matrix, matrix_root, moments, smooth, wasserstein_loss


class StyleTarget(Protocol):
    """The description of one layer output of one painting."""

    def loss(self, features: Tensor) -> Tensor:
        """Return the relative loss of a layer output (1, C, H, W) against the painting's, a scalar."""


class GramTarget:
    """The Gram matrix (Gatys et al. 2016).

    Args:
        features: the layer output for the painting, (1, C, H, W).
    """

    def __init__(self, features: Tensor) -> None:
        self.gram = gram_matrix(features)
        self.weight = 1 / _positive(self.gram.square().sum())

    def loss(self, features: Tensor) -> Tensor:
        return content_loss(self.weight, gram_matrix(features), self.gram)


class SwagTarget:
    """The Gram matrix after a softmax over channels and positions (Wang et al. 2021).

    The temperature of the softmax is a quarter of the largest absolute value of the layer output for the painting; the
    paper has none. Layers whose outputs reach 6 and 1000 are thus smoothed alike. With the standard deviation as the
    temperature, one value in ten thousand got a quarter of the softmax's sum, and the images were noise.

    Args:
        features: the layer output for the painting, (1, C, H, W).
    """

    def __init__(self, features: Tensor) -> None:
        self.temperature = _positive(features.abs().amax() / 4)
        smoothed = smooth(features, self.temperature)
        self.gram = gram_matrix(smoothed)
        constant = gram_matrix(torch.ones_like(smoothed))
        self.weight = 1 / _positive((self.gram - constant).square().sum())

    def loss(self, features: Tensor) -> Tensor:
        return content_loss(self.weight, gram_matrix(smooth(features, self.temperature)), self.gram)


class WassersteinTarget:
    """The mean and the covariance of the channels, as a Gaussian distribution.

    Args:
        features: the layer output for the painting, (1, C, H, W).
    """

    def __init__(self, features: Tensor) -> None:
        self.mean, covariance = moments(features)
        self.root = matrix_root(covariance)
        self.weight = 1 / _positive(self.mean.square().sum() + self.root.square().sum())

    def loss(self, features: Tensor) -> Tensor:
        return self.weight * wasserstein_loss(*moments(features), self.mean, self.root).sum()


STYLE_TARGETS: dict[str, type[GramTarget] | type[SwagTarget] | type[WassersteinTarget]] = {
    "gram": GramTarget,
    "swag": SwagTarget,
    "wasserstein": WassersteinTarget,
}


def _positive(scale: Tensor) -> Tensor:
    """Return a scale to divide by, which is never 0."""
    return scale.clamp_min(torch.finfo(scale.dtype).tiny * 1e6)
