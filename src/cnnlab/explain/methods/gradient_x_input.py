"""Gradient x input: the contribution of each pixel, as if the network were linear near the image.

Shrikumar, Greenside, Shcherbina, Kundaje: Not just a black box: learning important features through propagating
activation differences. 2016. https://arxiv.org/abs/1605.01713 (section 2)
"""

from __future__ import annotations

from torch import Tensor

from cnnlab.explain.method import explanation
from cnnlab.explain.probe import Probe


@explanation(
    title="Gradient x input",
    signed=True,
    paper="Shrikumar et al. 2016",
    url="https://arxiv.org/abs/1605.01713",
    meaning="Red pixels add to the score of {target}, blue ones take from it, as if the network were linear.",
    unit="contribution to the score",
)
def gradient_x_input(probe: Probe) -> Tensor:
    """Return the first-order contribution of each pixel, its value times its gradient, (C, H, W).

    A value of 0, which is the mean colour where images are normalised, never contributes.
    """
    return probe.input_gradient[0] * probe.image[0]
