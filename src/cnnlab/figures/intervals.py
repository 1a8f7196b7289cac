"""Effects with their intervals, and lines with the spread over seeds: the figures of studies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from cnnlab.errors import UsageError
from cnnlab.figures.line_charts import line_panels
from cnnlab.figures.style import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PERCENT, new_figure, shorten, styled

MAX_LOG_TICKS = 7  # more numbers below a logarithmic axis would overlap

Band = tuple[npt.ArrayLike, npt.ArrayLike]
"""The xs (P,), and the ys of every seed (seeds, P)."""


@dataclass(frozen=True)
class Effect:
    """An effect to draw.

    Attributes:
        title: the claim in short.
        unit: unit of the numbers.
        answer: the verdict in words.
        values: effect of each seed.
        low, high: 95 % interval of the mean over seeds.
        margin: value that the claim says is exceeded.
    """

    title: str
    unit: str
    answer: str
    values: Sequence[float]
    low: float
    high: float
    margin: float


def bands(
    panels: Mapping[str, Mapping[str, Band]],
    x: str = "",
    *,
    percent: Sequence[str] = (),
    log_x: bool = False,
    log_y: Sequence[str] = (),
    columns: int | None = None,
) -> Figure:
    """Draw lines of several seeds: the mean in bold, and the range over the seeds as a band around it.

    Args:
        panels: title of a panel -> its lines: name of a line -> (xs (P,), ys (seeds, P)); NaN leaves a gap. A name has
            the same colour in every panel.
        x: name of the horizontal axes.
        percent: titles of the panels whose values are shares of 1, written as percent.
        log_x: whether the horizontal axes are logarithmic; up to seven xs are then the ticks.
        log_y: titles of the panels whose vertical axis is logarithmic.
        columns: number of panels in a row; up to three when ``None``.

    Raises:
        UsageError: there is no panel, or the ys do not have a column for each x.
    """

    def draw(axes: Axes, line: Band, style: dict[str, Any]) -> Any:
        across, values = np.asarray(line[0], dtype=float), np.atleast_2d(np.asarray(line[1], dtype=float))
        if values.shape[1:] != across.shape:
            raise UsageError(
                f'The line "{style["label"]}" has {across.shape} xs and {values.shape} ys; give (seeds, xs).'
            )
        mean, low, high = _mean_and_range(values)
        axes.fill_between(across, low, high, color=style["color"], alpha=0.18, lw=0)
        if len(across) == 1:  # a band around a single x has no width
            axes.vlines(across, low, high, color=style["color"], alpha=0.35, lw=5)
        return axes.plot(across, mean, lw=1.8, marker="o" if len(across) <= 12 else "", ms=3.5, **style)[0]

    def finish(axes: Axes, title: str) -> None:
        axes.set_xscale("log" if log_x else "linear")
        axes.set_yscale("log" if title in log_y else "linear")
        ticks = sorted({float(value) for across, _ in panels[title].values() for value in np.asarray(across)})
        if not log_x:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        elif len(ticks) <= MAX_LOG_TICKS:
            axes.set_xticks(ticks, [f"{value:g}" for value in ticks])  # those that were tried, not powers of ten
            axes.set_xticks([], minor=True)
        if title in percent:
            axes.yaxis.set_major_formatter(PERCENT)
            if title in log_y:
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_minor_formatter(NullFormatter())

    return line_panels(panels, draw, finish, x=x, columns=columns)


def _mean_and_range(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return mean, smallest and largest over the first axis; NaN where no seed has a number."""
    mean, low, high = (np.full(values.shape[1], math.nan) for _ in range(3))
    filled = np.isfinite(values).any(axis=0)
    numbers = np.where(np.isfinite(values), values, math.nan)[:, filled]
    mean[filled], low[filled], high[filled] = (f(numbers, axis=0) for f in (np.nanmean, np.nanmin, np.nanmax))
    return mean, low, high


def effects(claims: Sequence[Effect]) -> Figure:
    """Draw the effect that each claim is about: a dot for every seed, the mean, and its 95 % interval.

    Args:
        claims: the effects, one below the other, each on an axis of its own because units differ. The dashed line is
            what the claim says is exceeded.

    Raises:
        UsageError: no effects.
    """
    if not claims:
        raise UsageError("There is nothing to draw: give at least one effect.")
    colours = {"borne out": GREEN, "not borne out": ORANGE}
    figure = new_figure(8.4, 1.25 * len(claims) + 0.2)
    for number, claim in enumerate(claims):
        axes = styled(figure.add_subplot(len(claims), 1, number + 1), x=claim.unit, title=shorten(claim.title, 78))
        axes.title.set_fontsize(10)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        values = np.asarray(claim.values, dtype=float)
        values = values[np.isfinite(values)]
        axes.axvline(claim.margin, color=MUTED, lw=1.2, ls="--")
        offsets = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(len(values))
        axes.plot(values, offsets, "o", color=BLUE, ms=4.5, alpha=0.55, mew=0)
        colour = colours.get(claim.answer, INK)
        axes.plot([claim.low, claim.high], [0, 0], color=colour, lw=3, solid_capstyle="butt")
        axes.plot([values.mean()], [0], "D", color=colour, ms=7)
        ends = [claim.margin, claim.low, claim.high, *values]
        room = 0.06 * (max(ends) - min(ends) or 1.0)
        axes.set_xlim(min(ends) - room, max(ends) + room)
        axes.set_ylim(-0.5, 0.5)
        axes.text(
            1.0, 1.06, claim.answer, transform=axes.transAxes, ha="right", va="bottom", color=colour, fontsize=10,
            fontweight="bold",
        )  # fmt: skip
        axes.spines["bottom"].set_color(GRID)
    return figure
