"""Maps of a layer, resized to the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cnnlab.explain.probe import Probe


def enlarged(maps: Tensor, probe: Probe, aligned: bool = True) -> Tensor:
    """Return a map (1, h, w) of the target layer at the size of the image, (H, W), by bilinear interpolation.

    Args:
        maps: the map.
        probe: the image and the target layer.
        aligned: whether each position is drawn at the centre of its receptive field. ``False`` stretches the map over
            the image, as the papers do; padding makes the two differ, by half a position in most ResNets, which a note
            says. On photos the heat of aligned maps lies on the animal more often
            (``tests/explain/methods/test_photos.py``).
    """
    size = probe.image.shape[2:]
    centres = probe.centres
    if centres is None:
        if aligned:
            probe.note(
                f'The receptive field of the layer "{probe.layer}" is unknown: the map is stretched over the image.'
            )
    elif aligned:
        axes = []
        for pixels, (first, step), count in zip(size, centres, maps.shape[1:], strict=True):
            position = (torch.arange(pixels, dtype=maps.dtype, device=maps.device) - first) / step
            axes.append(2 * position / max(count - 1, 1) - 1)
        grid = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), dim=-1)[None]
        return functional.grid_sample(maps[None], grid, padding_mode="border", align_corners=True)[0, 0]
    else:
        moves = [
            (pixels / count - 1) / 2 - first
            for pixels, (first, _), count in zip(size, centres, maps.shape[1:], strict=True)
        ]
        if max(abs(move) / step for move, (_, step) in zip(moves, centres, strict=True)) > 0.25:
            shift = " and ".join(
                f"{abs(move):.0f} pixels further {words[move < 0]}"
                for move, words in zip(moves, (("up", "down"), ("left", "right")), strict=True)
                if abs(move) >= 1
            )
            probe.note(
                f"The receptive fields of the layer lie {shift} than the map is drawn; aligned=True puts it there."
            )
    return functional.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0, 0]
