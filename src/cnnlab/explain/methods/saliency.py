"""Saliency: how strongly a small change of each pixel changes the score.

Simonyan, Vedaldi, Zisserman: Deep inside convolutional networks: visualising image classification models and saliency
maps. ICLR workshop 2014. https://arxiv.org/abs/1312.6034 (section 3)
"""

from __future__ import annotations

from torch import Tensor

from cnnlab.explain.method import explanation
from cnnlab.explain.probe import Probe


@explanation(
    title="Saliency",
    signed=False,
    paper="Simonyan, Vedaldi, Zisserman 2014",
    meaning="The redder, the more a small change of the pixel changes the score of {target}.",
    unit="|change of the score| per unit of the pixel",
    url="https://arxiv.org/abs/1312.6034",
)
def saliency(probe: Probe) -> Tensor:
    """Return the largest absolute gradient of the score over the channels of each pixel, (H, W)."""
    return probe.input_gradient[0].abs().amax(0)
