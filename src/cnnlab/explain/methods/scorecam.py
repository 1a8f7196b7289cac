"""Score-CAM: the channels of a layer, each weighted by the score of the image masked by it.

Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu: Score-CAM: score-weighted visual explanations for convolutional neural
networks. CVPR workshop 2020. https://arxiv.org/abs/1910.01279 (algorithm 1)
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.explain.method import explanation
from cnnlab.explain.probe import Probe


@explanation(
    title="Score-CAM",
    signed=False,
    needs_layer=True,
    paper="Wang et al. 2020",
    url="https://arxiv.org/abs/1910.01279",
    many_passes=True,
    meaning="The redder, the more the outputs of the layer {layer} there suffice for {target} when all else is dimmed.",
)
def scorecam(probe: Probe, *, channels: int | None = None, aligned: bool = True) -> Tensor:
    """Return the channels of the layer weighted by the scores of the image masked by them, (H, W).

    No gradient is needed, but a forward pass for each channel of the layer. Constant channels are left out.

    Args:
        probe: the network, the image, the class and the target layer.
        channels: the number of channels to use, those that vary most over the image; all when ``None``.
        aligned: whether each position is drawn at the centre of its receptive field; see :meth:`Probe.enlarge`.

    Raises:
        UsageError: ``channels`` is below 1.
    """
    if channels is not None and channels < 1:
        raise UsageError(f"channels is {channels}; give at least 1, or None for all.")
    maps = probe.activation[0]  # (C, h, w)
    low, high = maps.amin((1, 2)), maps.amax((1, 2))
    chosen = (high - low).sort(descending=True).indices[: int((high > low).sum())][:channels]
    if not len(chosen):
        probe.note(f'All maps of the layer "{probe.layer}" are even: there is nothing to see in them.')
        return maps.new_zeros(probe.image.shape[2:])
    if len(chosen) < len(maps):
        probe.note(f"{len(chosen)} of {len(maps)} channels.")
    maps = maps[chosen]

    def masked_images(start: int, end: int) -> Tensor:
        masks = torch.stack([probe.enlarge(one[None], aligned) for one in maps[start:end]])[:, None]
        least, most = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
        masks = (masks - least) / (most - least).clamp_min(torch.finfo(masks.dtype).tiny)
        return (probe.image * masks).contiguous(memory_format=torch.channels_last)

    scores = probe.logits_for(len(maps), masked_images)[:, probe.target]
    return probe.enlarge(torch.einsum("c,chw->hw", scores.softmax(0), maps).relu()[None], aligned)
