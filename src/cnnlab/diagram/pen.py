"""The primitives of a drawing: text, boxes, lines and arrows, at positions in inches, downwards."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from cnnlab.figures.style import INK

Point = tuple[float, float]

POINTS_PER_INCH = 72
LINE, THIN_LINE = 0.8, 0.7  # widths in points
ROUNDED = 0.045  # radius of the corners of a box
HEAD, HEAD_SLOPE = 0.06, 0.42  # length of an arrow head, and half its width as a share of that
_BEHIND, _LINES, _BOXES, _SIGNS, _TEXTS = 0.5, 2, 3, 4, 5  # zorder: the larger is drawn over the smaller


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Return the width of a text in inches, for a size in points."""
    if not text:
        return 0.0
    path = TextPath((0, 0), text, size=size, prop=FontProperties(), usetex=False)
    return float(path.get_extents().width) / POINTS_PER_INCH


class Pen:
    """Draws into axes whose unit is the inch, downwards from the upper left corner.

    Args:
        axes: the axes, which fill the whole page.
    """

    def __init__(self, axes: Axes) -> None:
        self.axes = axes

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        colour: str = INK,
        *,
        weight: str = "normal",
        align: str = "center",
    ) -> None:
        """Write a text whose middle is at height ``y``; nothing for ``""``. ``size`` is in points."""
        if text:
            alignment: dict[str, Any] = {"ha": align, "va": "center", "zorder": _TEXTS}
            self.axes.text(x, y, text, size=size, color=colour, weight=weight, parse_math=False, **alignment)

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, edge: str, radius: float = ROUNDED, *,
        under: bool = False,
    ) -> None:  # fmt: skip
        """Draw a box with round corners, its upper left corner at (x, y); ``under`` puts it behind all else."""
        style = f"round,pad=0,rounding_size={radius}"
        self.axes.add_patch(
            FancyBboxPatch((x, y), width, height, style, fc=fill, ec=edge, lw=LINE, zorder=_BEHIND if under else _BOXES)
        )

    def circle(self, x: float, y: float, radius: float) -> None:
        """Draw a circle around a point."""
        self.axes.add_patch(Circle((x, y), radius, fc="white", ec=INK, lw=LINE, zorder=_BOXES))

    def line(
        self, points: Sequence[Point], *, arrow: bool = False, rounding: float = 0.0, colour: str = INK,
        width: float = LINE, above: bool = False,
    ) -> None:  # fmt: skip
        """Draw a line through points, with corners rounded by up to ``rounding`` inches; ``width`` is in points."""
        points = [p for i, p in enumerate(points) if i == 0 or math.dist(p, points[i - 1]) > 1e-6]
        if len(points) < 2:
            return
        vertices = [points[0]]
        codes: list[Any] = [Path.MOVETO]
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            reach = min(rounding, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
            if reach:
                vertices += [_toward(corner, before, reach), corner, _toward(corner, after, reach)]
                codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
            else:
                vertices.append(corner)
                codes.append(Path.LINETO)
        end = _toward(points[-1], points[-2], HEAD * 2 / 3) if arrow else points[-1]
        self._add_path([*vertices, end], [*codes, Path.LINETO], colour, width, _SIGNS if above else _LINES)
        if arrow:
            self._add_head(points[-2], points[-1], colour)

    def curve(self, points: Sequence[Point], *, arrow: bool = False) -> None:
        """Draw a line that leaves and enters every point vertically."""
        vertices = [points[0]]
        codes: list[Any] = [Path.MOVETO]
        for a, b in itertools.pairwise(points):
            if abs(a[0] - b[0]) < 1e-6:
                vertices.append(b)
                codes.append(Path.LINETO)
            else:
                half = (a[1] + b[1]) / 2
                vertices += [(a[0], half), (b[0], half), b]
                codes += [Path.CURVE4] * 3
        self._add_path(vertices, codes, INK, THIN_LINE, _LINES)
        if arrow:
            self._add_head((points[-1][0], points[-1][1] - 1), points[-1], INK)

    def _add_path(self, vertices: Sequence[Point], codes: Sequence[Any], colour: str, width: float, layer: int) -> None:
        path = Path(vertices, codes)
        self.axes.add_patch(PathPatch(path, fc="none", ec=colour, lw=width, zorder=layer, capstyle="round"))

    def _add_head(self, before: Point, tip: Point, colour: str) -> None:
        """Draw the head of an arrow that comes from ``before``."""
        base = _toward(tip, before, HEAD)
        across = ((tip[1] - base[1]) * HEAD_SLOPE, (base[0] - tip[0]) * HEAD_SLOPE)
        corners = [tip, (base[0] + across[0], base[1] + across[1]), (base[0] - across[0], base[1] - across[1])]
        self.axes.add_patch(Polygon(corners, closed=True, fc=colour, ec="none", zorder=_SIGNS))


def _toward(start: Point, end: Point, distance: float) -> Point:
    """Return the point at a distance from ``start`` on the way to ``end``, at most ``end`` itself."""
    share = min(1.0, distance / max(math.dist(start, end), 1e-9))
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
