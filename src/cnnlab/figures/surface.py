"""Paths on a surface of two variables, as optimizers walk down it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cnnlab.errors import UsageError
from cnnlab.figures.style import CYCLE, HEAT, INK, LEGEND, new_figure, styled


def paths_on_surface(
    surface: Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    paths: Mapping[str, npt.ArrayLike],
    limits: tuple[float, float, float, float],
    *,
    target: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """Draw paths over the level lines of a surface, each with a dot at its last point.

    Args:
        surface: function from x and y, arrays of equal shape, to the height.
        paths: name of a path -> its points (steps, 2), the first one where all begin.
        limits: smallest and largest x, smallest and largest y that are drawn.
        target: the lowest point, which gets a star.
        title: line above the figure.

    Raises:
        UsageError: a path that is not of shape (steps, 2).
    """
    left, right, bottom, top = limits
    xs, ys = np.meshgrid(np.linspace(left, right, 160), np.linspace(bottom, top, 160))
    heights = surface(xs, ys)
    figure = new_figure(7.0, 4.6)
    axes = styled(figure.add_subplot(), title=title, grid=False)
    # Level lines close together near the lowest point, where paths end.
    levels = heights.min() + (heights.max() - heights.min()) * np.linspace(0, 1, 16) ** 2.5
    axes.contourf(xs, ys, heights, levels=levels, cmap=HEAT, alpha=0.75)
    axes.contour(xs, ys, heights, levels=levels, colors=INK, linewidths=0.3, alpha=0.4)
    for number, (name, points) in enumerate(paths.items()):
        path = np.asarray(points, dtype=float)
        if path.ndim != 2 or path.shape[1] != 2:
            raise UsageError(f'The path "{name}" has shape {path.shape}; give (steps, 2).')
        colour = CYCLE[(number + 1) % len(CYCLE)]  # not the blue of the surface
        axes.plot(*path.T, color=colour, lw=1.8, label=name)
        axes.plot(*path[-1], "o", color=colour, ms=6)
    if target is not None:
        axes.plot(*target, "*", color=INK, ms=12)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    figure.legend(loc="outside lower center", ncols=min(5, max(1, len(paths))), **LEGEND)
    return figure
