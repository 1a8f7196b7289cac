"""A drawn history of networks: the year of each, its error, its size and its cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from cnnlab.errors import UsageError
from cnnlab.figures.style import GRID, HEAT, INK, LEGEND, MUTED, new_figure, styled

__all__ = ["Milestone", "timeline"]

_SIZES = (1e6, 10e6, 100e6)  # parameters of the marks in the legend
_SPREAD = 0.8  # of a year: networks of the same year stand beside each other


@dataclass(frozen=True)
class Milestone:
    """A network in :func:`timeline`.

    Args:
        name: name of the network.
        year: year in which it appeared.
        error: top-5 error of one network in percent.
        parameters: number of its parameters.
        macs: number of multiply-adds for an image.
        better: lower errors in percent that were reached with more views of an image or several networks.
    """

    name: str
    year: int
    error: float
    parameters: float
    macs: float
    better: tuple[float, ...] = ()


def timeline(milestones: Sequence[Milestone]) -> Figure:
    """Draw networks over the years: a mark per network, whose height is its error.

    The area of a mark is proportional to the number of parameters, its colour says the multiply-adds, and a ring below
    it is an error that was reached with more views of an image or with several networks.

    Args:
        milestones: the networks.

    Raises:
        UsageError: there are no networks.
    """
    if not milestones:
        raise UsageError("There are no networks to draw.")
    figure = new_figure(11, 6.2)
    x, y = "year of the paper (networks of one year side by side)", "top-5 error on ImageNet in percent"
    axes = styled(figure.add_subplot(), x=x, y=y)
    points = _positions(milestones)
    costs = [milestone.macs for milestone in milestones]
    marks = axes.scatter(
        [x for x, _ in points], [y for _, y in points], s=[_area(milestone.parameters) for milestone in milestones],
        c=costs, cmap=HEAT, norm=LogNorm(min(costs) * 0.8, max(costs) * 1.25), edgecolors=INK, linewidths=0.6, zorder=3,
    )  # fmt: skip
    labels = [
        (*point, f"{milestone.name} {milestone.error:g}", _area(milestone.parameters))
        for point, milestone in zip(points, milestones, strict=True)
    ]
    for (column, row), milestone in zip(points, milestones, strict=True):
        for error in milestone.better:
            axes.plot([column, column], [row, error], color=MUTED, lw=0.8, zorder=1)
            axes.scatter([column], [error], s=34, facecolors="white", edgecolors=INK, linewidths=1, zorder=2)
            labels.append((column, error, f"{error:g}", 34.0))
    bar = figure.colorbar(marks, ax=axes, pad=0.015, fraction=0.04)
    bar.set_label("multiply-adds of an image", color=INK)
    bar.outline.set_visible(False)
    for size in _SIZES:
        axes.scatter(
            [], [], s=_area(size), facecolors=GRID, edgecolors=INK, linewidths=0.6, label=f"{size / 1e6:g} M parameters"
        )
    axes.scatter([], [], s=34, facecolors="white", edgecolors=INK, label="more views, or several networks")
    axes.legend(**LEGEND, loc="upper right", labelspacing=1.7, borderpad=1)
    axes.set_ylim(0, max(milestone.error for milestone in milestones) * 1.08)
    columns = [column for column, _ in points]
    axes.set_xlim(min(columns) - 0.6, max(columns) + 1.3)  # with room for the last names
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _label(figure, axes, labels)
    return figure


def _area(parameters: float) -> float:
    """Return the area of a mark in square points."""
    return 8 + parameters / 1.2e5


def _positions(milestones: Sequence[Milestone]) -> list[tuple[float, float]]:
    """Return the position of each network; those of one year are spread over it, in their order."""
    counts = Counter(milestone.year for milestone in milestones)
    before: Counter[int] = Counter()
    positions = []
    for milestone in milestones:
        rank, count = before[milestone.year], counts[milestone.year]
        before[milestone.year] += 1
        shift = _SPREAD * (rank / (count - 1) - 0.5) if count > 1 else 0.0
        positions.append((milestone.year + shift, milestone.error))
    return positions


def _label(figure: Figure, axes: Axes, labels: Sequence[tuple[float, float, str, float]]) -> None:
    """Write a name beside each mark: at the first of forty places that touches no mark and no other name."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the names must not move the axes under them
    scale = figure.dpi / 72
    taken = []
    for x, y, _, area in labels:
        column, row = axes.transData.transform((x, y))
        radius = math.sqrt(area / math.pi) * scale
        taken.append(Bbox.from_extents(column - radius, row - radius, column + radius, row + radius))
    legend = axes.get_legend()
    taken += [legend.get_window_extent()] if legend else []
    inside = axes.get_window_extent()
    for x, y, text, area in labels:
        radius = math.sqrt(area / math.pi)
        best: tuple[float, Annotation, Bbox] | None = None
        for distance in (3, 10, 20, 32, 46):
            for angle in (0, 180, 90, 270, 45, 315, 135, 225):
                dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
                label = axes.annotate(
                    text, (x, y), ((radius + distance) * dx, (radius + distance) * dy), textcoords="offset points",
                    ha="left" if dx > 0.1 else "right" if dx < -0.1 else "center",
                    va="bottom" if dy > 0.1 else "top" if dy < -0.1 else "center", fontsize=8, color=INK, zorder=5,
                    arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.5} if distance > 3 else None,
                )  # fmt: skip
                label.get_window_extent()  # puts the text in its place
                box = Text.get_window_extent(label)  # without the line to its mark
                overlap = sum(_overlap(box, other) for other in taken) + _outside(box, inside)
                if best is None or overlap < best[0]:
                    if best is not None:
                        best[1].remove()
                    best = overlap, label, box
                else:
                    label.remove()
                if best[0] == 0:
                    break
            if best is not None and best[0] == 0:
                break
        assert best is not None
        taken.append(best[2])


def _overlap(one: Bbox, other: Bbox) -> float:
    common = Bbox.intersection(one, other)
    return 0.0 if common is None else common.width * common.height


def _outside(box: Bbox, frame: Bbox) -> float:
    return box.width * box.height - _overlap(box, frame)
