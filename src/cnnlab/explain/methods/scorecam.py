"""Score-CAM: the maps of a layer, each weighted by what the network says of the image seen through it.

Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu: Score-CAM: score-weighted visual explanations for convolutional neural
networks. CVPR workshop 2020. https://arxiv.org/abs/1910.01279 (algorithm 1)
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.explain.method import explanation
from cnnlab.explain.probe import Probe
from cnnlab.explain.upsampling import enlarged


@explanation(
    title="Score-CAM",
    signed=False,
    needs_layer=True,
    paper="Wang et al. 2020",
    url="https://arxiv.org/abs/1910.01279",
    meaning="The redder, the more the layer {layer} finds there that is enough for {target} when all else is dimmed.",
)
def scorecam(probe: Probe, *, channels: int | None = None, aligned: bool = True) -> Tensor:
    """Where maps of the layer are bright that let the class through when the image is seen through them, (H, W).

    No gradient is needed, but a forward pass for each channel of the layer. Channels that are even say nothing about
    where, and are left out.

    Args:
        probe: model, image, target and layer.
        channels: look at this many only: those that differ most over the image; all when ``None``.
        aligned: put each position where the middle of what it sees is; ``False`` stretches the map over the image, as
            the paper does.

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

    def seen_through(start: int, end: int) -> Tensor:
        masks = torch.stack([enlarged(one[None], probe, aligned) for one in maps[start:end]])[:, None]
        least, most = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
        masks = (masks - least) / (most - least).clamp_min(torch.finfo(masks.dtype).tiny)
        return (probe.image * masks).contiguous(memory_format=torch.channels_last)

    scores = probe.logits_for(len(maps), seen_through)[:, probe.target]
    return enlarged(torch.einsum("c,chw->hw", scores.softmax(0), maps).relu()[None], probe, aligned)
