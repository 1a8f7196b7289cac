"""A figure on which things are put at places in inches, and arrays as the colours they are drawn in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cnnlab.figures.images import input_picture, to_picture
from cnnlab.figures.maps import SIGNED, WARM
from cnnlab.figures.style import INK, ORANGE, new_figure

Array = npt.NDArray[Any]


class Page:
    """A figure on which things are put at places in inches, counted from the top left corner.

    All of them are in one pair of axes: a hundred of axes would take a hundred times as long to draw.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = new_figure(width, height, layout="none")
        self.canvas = self.figure.add_axes((0, 0, 1, 1))
        self.canvas.set_axis_off()
        self._hold()

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes of their own, for what has ticks."""
        return self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )

    def picture(self, pixels: npt.ArrayLike, left: float, top: float, width: float, height: float) -> None:
        """Draw a picture, uint8 or 0..1, (H, W) or (H, W, 3); small ones keep their pixels as squares."""
        shown = to_picture(pixels, "HWC")
        style: dict[str, Any] = {} if shown.ndim == 3 else {"cmap": "gray", "vmin": 0, "vmax": 255}
        how = "nearest" if max(shown.shape[:2]) < 100 else "antialiased"
        self.canvas.imshow(shown, extent=(left, left + width, top + height, top), interpolation=how, **style)
        self._hold()

    def frame(self, left: float, top: float, width: float, height: float, thick: float = 1.5) -> None:
        """Draw a frame that is seen on light and dark."""
        for colour, line in (("#ffffff", 2 * thick), (ORANGE, thick)):
            self.canvas.add_patch(Rectangle((left, top), width, height, fill=False, ec=colour, lw=line))

    def text(self, left: float, top: float, text: str, size: float = 9, colour: str = INK, **style: Any) -> None:
        options: dict[str, Any] = {"ha": "left", "va": "top", "parse_math": False} | style
        self.canvas.text(left, top, text, color=colour, fontsize=size, **options)

    def _hold(self) -> None:
        self.canvas.set(xlim=(0, self.width), ylim=(self.height, 0), aspect="auto")


def signed_colours(values: Array, top: float | None = None) -> Array:
    """The colours (H, W, 3) of a map around zero; the strongest 0.5 % of the pixels have the same."""
    top = top_of(values) if top is None else top
    return to_picture(SIGNED(np.clip(values / (2 * top) + 0.5, 0, 1))[..., :3], "HWC")


def warm_colours(values: Array, top: float) -> Array:
    return to_picture(WARM(np.clip(values / top, 0, 1))[..., :3], "HWC")


def in_colours(values: Array) -> Array:
    """A map of both signs around zero, one of one sign from black to white."""
    return signed_colours(values) if values.min() < 0 < values.max() else input_picture(values[None])


def top_of(values: Array) -> float:
    size = np.abs(values)
    return float(np.percentile(size, 99.5)) or float(size.max()) or 1.0


def mosaic(tiles: Array, columns: int, gap: int | None = None) -> Array:
    """Put pictures (n, h, w, 3) of one size into rows, white lines between them; small ones are enlarged."""
    factor = max(1, round(48 / max(tiles.shape[1:3])))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, _ = tiles.shape
    gap = max(2, round(max(height, width) / 16)) if gap is None else gap
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for position, tile in enumerate(tiles):
        top, left = position // columns * (height + gap), position % columns * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    return canvas
