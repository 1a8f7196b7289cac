"""LayerCAM: each position of each map with a weight of its own, so that earlier, finer layers can be looked at.

Jiang, Zhang, Hou, Cheng, Wei: LayerCAM: exploring hierarchical class activation maps for localization. IEEE TIP 2021.
https://doi.org/10.1109/TIP.2021.3089943 (section III-B)
"""

from __future__ import annotations

from torch import Tensor

from cnnlab.explain.method import explanation
from cnnlab.explain.probe import Probe
from cnnlab.explain.upsampling import enlarged


@explanation(
    title="LayerCAM",
    signed=False,
    needs_layer=True,
    paper="Jiang et al. 2021",
    meaning="The redder, the more the layer {layer} finds there that speaks for {target}.",
    unit="weighted features",
    url="https://doi.org/10.1109/TIP.2021.3089943",
)
def layercam(probe: Probe, *, aligned: bool = True) -> Tensor:
    """Where the features of the layer speak for the class: its maps times their positive gradients, (H, W).

    Args:
        probe: model, image, target and layer.
        aligned: put each position where the middle of what it sees is; ``False`` stretches the map over the image, as
            the paper does.
    """
    return enlarged((probe.gradient.relu() * probe.activation).sum(1).relu(), probe, aligned)
