"""SmoothGrad: the mean gradient over noisy copies of the image.

Smilkov, Thorat, Kim, Viégas, Wattenberg: SmoothGrad: removing noise by adding noise. 2017.
https://arxiv.org/abs/1706.03825 (section 3)
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.explain.method import explanation
from cnnlab.explain.probe import Probe


@explanation(
    title="SmoothGrad",
    signed=False,
    paper="Smilkov et al. 2017",
    url="https://arxiv.org/abs/1706.03825",
    many_passes=True,
    meaning="The redder, the more a small change of the pixel changes the score of {target}, on average nearby.",
    unit="|change of the score| per unit of the pixel",
)
def smoothgrad(probe: Probe, *, samples: int = 32, noise: float = 0.15, seed: int = 0) -> Tensor:
    """Return the saliency of the mean gradient over noisy copies of the image, (H, W).

    Args:
        probe: the network, the image and the class.
        samples: the number of copies.
        noise: the standard deviation of the noise, as a share of the image's range; the paper advises 0.1 to 0.2.
        seed: the seed of the noise.
    """
    if samples < 1 or noise < 0:
        raise UsageError(f"samples={samples} and noise={noise} make no sense; give at least 1 and at least 0.")
    image = probe.image
    deviation = noise * (image.max() - image.min())
    generator = torch.Generator().manual_seed(seed)

    def copies(start: int, end: int) -> Tensor:
        drawn = [torch.randn(image.shape, generator=generator, dtype=image.dtype) for _ in range(start, end)]
        return image + deviation * torch.cat(drawn).to(image.device)

    total = torch.zeros_like(image[0])
    for gradients in probe.gradients_for(samples, copies):
        total += gradients.sum(0)
    return (total / samples).abs().amax(0)
