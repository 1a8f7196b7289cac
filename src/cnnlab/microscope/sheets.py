"""Small pictures of layer outputs: numbers from 0 to 255 between the smallest and the largest value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

THUMBNAIL_SIDE = 32
SHEET_SIDE = 64  # pixels of a channel on a sheet, at most
MANY, MANY_SIDE = 80, 48  # more channels than that have smaller pictures: the page shows them small
LARGE = 2**16  # a sheet of more bytes has 64 steps from the smallest to the largest value, which pack better than 256
BINS = 24


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """The mean of the channels of a layer's output, small.

    Attributes:
        pixels: uint8 (32, 32).
        low, high: the values that 0 and 255 stand for.
        size: rows and columns of the output.
    """

    pixels: np.ndarray
    low: float
    high: float
    size: tuple[int, int]


def thumbnail(output: Tensor) -> Thumbnail:
    """Return the thumbnail of a layer's output (C, H, W).

    Maps are averaged over their channels. A vector is laid out in rows of about equal length.
    """
    channels, height, width = output.shape
    if height == width == 1:
        side = int(np.ceil(np.sqrt(channels)))
        picture = F.pad(output.float().reshape(-1), (0, side * side - channels)).reshape(side, side)
        picture = picture[: -(-channels // side)]
    else:
        picture = output.float().mean(0)
    small = _resized(picture[None], THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    pixels, low, high = quantised(small)
    return Thumbnail(pixels[0], float(low[0]), float(high[0]), (height, width))


def quantised(maps: Tensor, steps: int = 256) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return maps (C, h, w) as uint8, and for each the values of 0 and of 255, float32 (C,).

    Args:
        maps: the maps.
        steps: the number of different values from 0 to 255.
    """
    flat = maps.flatten(1)
    low, high = flat.min(1).values, flat.max(1).values
    spread = torch.where(high > low, high - low, torch.ones_like(high))
    share = ((flat - low[:, None]) / spread[:, None] * (steps - 1)).round() / (steps - 1)
    pixels = (share * 255).round().clamp(0, 255).to(torch.uint8)
    return pixels.reshape(maps.shape).numpy(), low.numpy(), high.numpy()


def _resized(maps: Tensor, height: int, width: int) -> Tensor:
    """Return maps (C, H, W) with the sides asked for: pixels are averaged where there are more, repeated otherwise."""
    rows, columns = maps.shape[1:]
    if rows > height or columns > width:
        maps = F.adaptive_avg_pool2d(maps[None], (min(rows, height), min(columns, width)))[0]
    return F.interpolate(maps[None], (height, width), mode="nearest-exact")[0]


def sheet(output: Tensor) -> dict[str, Any]:
    """Return all channels of a layer's output (C, H, W), as the reply ``layer`` of the protocol has them."""
    channels, height, width = output.shape
    maps = output.float()
    side = SHEET_SIDE if channels <= MANY else MANY_SIDE
    if height > side or width > side:
        small = F.adaptive_avg_pool2d(maps[None], (min(height, side), min(width, side)))[0]
    else:
        small = maps
    pixels, low, high = quantised(small, 256 if small.numel() <= LARGE else 64)
    flat = maps.flatten(1)
    return {
        "shape": [channels, height, width],
        "sheet": pixels,
        "low": low,
        "high": high,
        "strength": flat.abs().mean(1).numpy(),
        "mean": flat.mean(1).numpy(),
        "zeros": (flat == 0).float().mean(1).numpy(),
    }


def statistics(values: Tensor) -> dict[str, Any]:
    """Return histogram and numbers of a channel (H, W), as the reply ``channel`` of the protocol has them."""
    array = values.double().numpy().ravel()  # in float32 nearly equal numbers leave no room for bins
    counts, edges = np.histogram(array, bins=min(BINS, max(1, array.size)))
    return {
        "histogram": {"counts": counts.astype(np.int32), "edges": edges.astype(np.float32)},
        "mean": float(array.mean()),
        "std": float(array.std()),
        "low": float(array.min()),
        "high": float(array.max()),
        "zeros": float((array == 0).mean()),
    }
