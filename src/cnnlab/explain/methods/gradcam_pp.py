"""Grad-CAM++: Grad-CAM with weights that count small and repeated objects of a class as well as large ones.

Chattopadhyay, Sarkar, Howlader, Balasubramanian: Grad-CAM++: improved visual explanations for deep convolutional
networks. WACV 2018. https://arxiv.org/abs/1710.11063 (section 3.2, equations 10, 11 and 19)
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnlab.explain.method import explanation
from cnnlab.explain.probe import Probe


@explanation(
    title="Grad-CAM++",
    signed=False,
    needs_layer=True,
    paper="Chattopadhyay et al. 2018",
    meaning="The redder, the more the outputs of the layer {layer} there speak for {target}.",
    unit="weighted features",
    url="https://arxiv.org/abs/1710.11063",
)
def gradcam_pp(probe: Probe, *, aligned: bool = True) -> Tensor:
    """Return the positive part of the channels of the layer weighted by the sums of their positive gradients, (H, W).

    The score is the exponential of the logit, as in the paper; its derivatives are then powers of the logit's.

    Args:
        probe: the network, the image, the class and the target layer.
        aligned: whether each position is drawn at the centre of its receptive field; see :meth:`Probe.enlarge`.
    """
    gradient, activation = probe.gradient, probe.activation
    square, cube = gradient**2, gradient**3
    divisor = 2 * square + activation.sum((2, 3), keepdim=True) * cube
    alpha = torch.where(divisor != 0, square / divisor, 0)
    weights = (alpha * gradient.relu()).sum((2, 3), keepdim=True)
    return probe.enlarge((weights * activation).sum(1).relu(), aligned)
