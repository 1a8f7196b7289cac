"""Grad-CAM: the output of a layer, its channels weighted by their mean gradients.

Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra: Grad-CAM: visual explanations from deep networks via gradient-based
localization. ICCV 2017. https://arxiv.org/abs/1610.02391 (section 3)
"""

from __future__ import annotations

from torch import Tensor

from cnnlab.explain.method import explanation
from cnnlab.explain.probe import Probe


@explanation(
    title="Grad-CAM",
    signed=False,
    needs_layer=True,
    paper="Selvaraju et al. 2017",
    meaning="The redder, the more the outputs of the layer {layer} there speak for {target}.",
    unit="weighted features",
    url="https://arxiv.org/abs/1610.02391",
)
def gradcam(probe: Probe, *, aligned: bool = True) -> Tensor:
    """Return the positive part of the channels of the layer weighted by their mean gradients, (H, W).

    Args:
        probe: the network, the image, the class and the target layer.
        aligned: whether each position is drawn at the centre of its receptive field; see :meth:`Probe.enlarge`.
    """
    weights = probe.gradient.mean((2, 3), keepdim=True)
    return probe.enlarge((weights * probe.activation).sum(1).relu(), aligned)
