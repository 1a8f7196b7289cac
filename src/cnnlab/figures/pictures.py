"""Arrays and tensors as pictures: pixels of 8 bits, in NumPy alone."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cnnlab.errors import UsageError

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]


def to_picture(image: Any, axes: Literal["CHW", "HWC"] = "CHW") -> Pixels:
    """Return an array or a tensor as a picture: uint8 (H, W) for grey, (H, W, 3) for colour.

    It is what ``PIL.Image.fromarray`` and ``Axes.imshow`` take. Floats are multiplied by 255 and rounded; those below 0
    become black, those above 1 full. The order of the axes is declared and never guessed: (3, 5, 3) could be either.

    Args:
        image: NumPy array or torch tensor of uint8, bool, or floats in 0..1: (H, W), or with 1 or 3 channels.
        axes: order of the axes of an image with channels.

    Raises:
        UsageError: the shape is another one, or the values are other integers, NaN or infinite.
    """
    if hasattr(image, "detach"):  # a torch tensor; NumPy has no bfloat16
        image = image.detach().cpu()
        image = image.float() if image.is_floating_point() else image
    values = np.asarray(image)
    axis, other = (0, "HWC") if axes == "CHW" else (2, "CHW")
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[axis] not in (1, 3)) or not values.size:
        hint = f' If its axes are {", ".join(other)}, say axes="{other}".' if values.ndim == 3 else ""
        raise UsageError(f"A picture is (H, W) or ({', '.join(axes)}) with C 1 or 3, got {values.shape}.{hint}")
    if values.ndim == 3:
        values = np.moveaxis(values, axis, 2)
        values = values[:, :, 0] if values.shape[2] == 1 else values
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if values.dtype.kind not in "fb":
        raise UsageError(f"A picture is uint8 or floats in 0..1, got {values.dtype}. Try .astype(np.uint8).")
    if not np.isfinite(values).all():
        raise UsageError("A picture must not hold NaN or infinite values.")
    return np.ascontiguousarray(np.round(np.clip(values.astype(float), 0, 1) * 255).astype(np.uint8))


def grey_scale(picture: Pixels) -> dict[str, Any]:
    """Return the arguments with which ``Axes.imshow`` draws a grey picture from black (0) to white (255)."""
    return {} if picture.ndim == 3 else {"cmap": "gray", "vmin": 0, "vmax": 255}


def input_picture(image: npt.ArrayLike, like: npt.ArrayLike | None = None) -> Pixels:
    """Return the picture of a network's input: its smallest value becomes black, its largest white.

    Args:
        image: input of the network, (C, H, W), numbers of any range; the mean of other than 3 channels is drawn in
            grey.
        like: array whose smallest and largest values become black and white; ``image`` itself when ``None``.

    Raises:
        UsageError: the image has another shape.
    """
    values = np.asarray(image, dtype=float)
    if values.ndim != 3 or not values.size:
        raise UsageError(f"A network's input is (C, H, W), got {values.shape}.")
    values = values if len(values) == 3 else values.mean(axis=0)
    scale = values if like is None else np.asarray(like, dtype=float)
    low, high = float(scale.min()), float(scale.max())
    return to_picture((values - low) / ((high - low) or 1))


def mosaic(tiles: Pixels, columns: int, gap: int | None = None) -> Pixels:
    """Return pictures of one size in rows, with white lines between them; small ones are enlarged.

    Args:
        tiles: uint8 (n, h, w, 3).
        columns: number of pictures in a row.
        gap: width of the lines in pixels; a sixteenth of a picture when ``None``.
    """
    factor = max(1, round(48 / max(tiles.shape[1:3])))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, _ = tiles.shape
    gap = max(2, round(max(height, width) / 16)) if gap is None else gap
    rows = math.ceil(count / columns)
    pixels = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for position, tile in enumerate(tiles):
        top, left = position // columns * (height + gap), position % columns * (width + gap)
        pixels[top : top + height, left : left + width] = tile
    return pixels
