"""A figure on which pictures and texts are put from top to bottom, at positions in inches."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnnlab.figures.pictures import grey_scale, to_picture
from cnnlab.figures.style import INK, MUTED, ORANGE, new_figure, shorten

MARGIN = 0.15  # inches
LINE = 0.18  # inches from one line of a paragraph to the next


class Canvas:
    """A figure of fixed width, filled from the top; its height is that of its contents.

    Positions are in inches, counted from the upper left corner. Everything is drawn in one pair of axes, ``page``: a
    hundred axes would take a hundred times as long.

    Args:
        width: width of the figure in inches.

    Attributes:
        top: height down to which the figure is filled, in inches; callers move it past their drawing.
        page: the axes that everything is drawn in.
    """

    def __init__(self, width: float) -> None:
        self.width, self.top = width, MARGIN
        self._figure = new_figure(width, 1, layout="none")
        self.page = self._figure.add_axes((0, 0, 1, 1))
        self.page.set_axis_off()
        self._own_axes: list[tuple[Axes, float, float, float, float]] = []

    def heading(self, text: str) -> None:
        """Write one bold line, shortened to the width of the figure, and move ``top`` below it."""
        fits = letters(self.width - 2 * MARGIN, 12, bold=True)
        self.text(MARGIN, self.top - 0.04, shorten(text, fits), size=12, weight="bold")
        self.top += 0.24

    def paragraph(self, text: str, colour: str = MUTED) -> None:
        """Write a text, wrapped to the width of the figure, and move ``top`` below it."""
        for line in textwrap.wrap(text, letters(self.width - 2 * MARGIN, 9)):
            self.text(MARGIN, self.top, line, colour=colour)
            self.top += LINE

    def text(self, left: float, top: float, text: str, size: float = 9, colour: str = INK, **style: Any) -> None:
        """Write a line at a position; ``size`` is in points, ``style`` the further arguments of ``Axes.text``."""
        options: dict[str, Any] = {"ha": "left", "va": "top", "parse_math": False} | style
        self.page.text(left, top, text, color=colour, fontsize=size, **options)

    def picture(self, pixels: npt.ArrayLike, left: float, top: float, width: float, height: float) -> None:
        """Draw a picture, uint8 or 0..1, (H, W) or (H, W, 3); the pixels of small ones stay squares."""
        picture = to_picture(pixels, "HWC")
        interpolation = "nearest" if max(picture.shape[:2]) < 100 else "antialiased"
        extent = (left, left + width, top + height, top)
        self.page.imshow(picture, extent=extent, interpolation=interpolation, **grey_scale(picture))

    def frame(self, left: float, top: float, width: float, height: float, thickness: float = 1.5) -> None:
        """Draw a frame that is visible on light and dark; ``thickness`` is in points."""
        for colour, line in (("#ffffff", 2 * thickness), (ORANGE, thickness)):
            self.page.add_patch(Rectangle((left, top), width, height, fill=False, ec=colour, lw=line))

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return further axes, for charts with ticks."""
        axes = self._figure.add_axes((0, 0, 1, 1), label=f"axes {len(self._own_axes)}")
        self._own_axes.append((axes, left, top, width, height))
        return axes

    def finish(self) -> Figure:
        """Return the figure, cut below ``top``."""
        height = self.top + 0.1
        self._figure.set_size_inches(self.width, height)
        self.page.set(xlim=(0, self.width), ylim=(height, 0), aspect="auto")
        for axes, left, top, wide, tall in self._own_axes:
            axes.set_position((left / self.width, 1 - (top + tall) / height, wide / self.width, tall / height))
        return self._figure


def letters(width: float, size: float, bold: bool = False) -> int:
    """Return how many letters of ``size`` points fit ``width`` inches, on average."""
    return int(width * 72 / (size * (0.62 if bold else 0.54)))
