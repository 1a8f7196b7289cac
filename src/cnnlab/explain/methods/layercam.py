"""LayerCAM: each position of each channel has a weight of its own, which suits earlier, finer layers.

Jiang, Zhang, Hou, Cheng, Wei: LayerCAM: exploring hierarchical class activation maps for localization. IEEE TIP 2021.
https://doi.org/10.1109/TIP.2021.3089943 (section III-B)
"""

from __future__ import annotations

from torch import Tensor

from cnnlab.explain.method import explanation
from cnnlab.explain.probe import Probe


@explanation(
    title="LayerCAM",
    signed=False,
    needs_layer=True,
    paper="Jiang et al. 2021",
    meaning="The redder, the more the outputs of the layer {layer} there speak for {target}.",
    unit="weighted features",
    url="https://doi.org/10.1109/TIP.2021.3089943",
)
def layercam(probe: Probe, *, aligned: bool = True) -> Tensor:
    """Return the positive part of the output of the layer times its positive gradients, summed over channels, (H, W).

    Args:
        probe: the network, the image, the class and the target layer.
        aligned: whether each position is drawn at the centre of its receptive field; see :meth:`Probe.enlarge`.
    """
    return probe.enlarge((probe.gradient.relu() * probe.activation).sum(1).relu(), aligned)
