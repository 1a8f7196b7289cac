"""What stands in for pixels that are taken away: a number, the image's mean, or the image out of focus."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cnnlab.errors import UsageError

Fill = float | Literal["mean", "blur"]
"""A number in the units of the model's input, the mean of each channel, or the blurred image."""


def filling(image: Tensor, fill: Fill) -> Tensor:
    """Return the image that shines through where pixels are taken away.

    Args:
        image: (1, C, H, W).
        fill: a finite number; ``"mean"``: the mean of each channel over the image; ``"blur"``: the image out of focus
            (Gaussian with a standard deviation of a 14th of the shorter side), which leaves colours and takes shapes.

    Returns:
        (1, C, H, W).

    Raises:
        UsageError: another ``fill``.
    """
    if fill == "mean":
        return image.mean(dim=(2, 3), keepdim=True).expand_as(image).contiguous()
    if fill == "blur":
        return blurred(image, min(image.shape[2:]) / 14)
    if isinstance(fill, str | bool) or not math.isfinite(fill):
        raise UsageError(f'fill is {fill!r}; give a finite number, "mean" or "blur".')
    return torch.full_like(image, fill)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Return ``image`` (N, C, H, W) under a Gaussian of ``sigma`` pixels; the border is mirrored."""
    for axis in (2, 3):
        radius = min(math.ceil(3 * sigma), image.shape[axis] - 1)
        if radius < 1:
            continue
        steps = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
        weights = torch.exp(-(steps**2) / (2 * sigma**2))
        kernel = (weights / weights.sum()).view(1, 1, *((-1, 1) if axis == 2 else (1, -1)))
        around = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        channels = image.shape[1]
        image = F.conv2d(F.pad(image, around, mode="reflect"), kernel.expand(channels, 1, -1, -1), groups=channels)
    return image
