"""Plots for studies: lines in panels, cross-validation, heat maps, histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cnnlab.errors import UsageError
from cnnlab.figures.style import BLUE, GREEN, HEAT, INK, MUTED, ORANGE, new_figure, shorten, styled

#: Colours of Okabe and Ito (2008) in the order in which lines take them; beyond eight, dashes tell them apart.
CYCLE = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", INK, "#b0a000")

Line = tuple[npt.ArrayLike, npt.ArrayLike]


def lines(
    panels: Mapping[str, Mapping[str, Line]],
    x: str = "",
    y: str = "",
    *,
    percent: bool = False,
    log_x: bool = False,
    log_y: bool = False,
    columns: int | None = None,
) -> Figure:
    """Draw lines in one or several panels; a name means the same colour in every panel, and stands in one legend.

    Args:
        panels: title of a panel to its lines, name of a line to (xs, ys); NaN leaves a gap.
        x, y: what the axes are, in every panel.
        percent: write y as percent of 1.
        log_x, log_y: logarithmic axes.
        columns: panels in a row; up to three when ``None``.

    Raises:
        UsageError: no panel, or xs and ys of different lengths.
    """
    if not panels:
        raise UsageError("There is nothing to draw: give at least one panel.")
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    columns = columns or min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(max(4.2 * columns, 5.0), 3.2 * rows + (0.35 if len(names) > 1 else 0))
    handles: dict[str, Any] = {}
    for position, (title, panel) in enumerate(panels.items()):
        axes = styled(figure.add_subplot(rows, columns, position + 1), x=x, y=y, title=title)
        for name, (xs, ys) in panel.items():
            across, up = np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)
            if across.shape != up.shape or across.ndim != 1:
                raise UsageError(f'The line "{name}" has {across.shape} xs and {up.shape} ys; give one y for each x.')
            turn, colour = divmod(names.index(name), len(CYCLE))
            (handles[name],) = axes.plot(
                across, up, color=CYCLE[colour], ls=("-", "--", ":")[turn % 3], lw=1.6,
                marker="o" if len(across) <= 25 else "", ms=3.5, label=name,
            )  # fmt: skip
        axes.set_xscale("log" if log_x else "linear")
        axes.set_yscale("log" if log_y else "linear")
        if not log_x:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=_whole(panel)))
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if len(names) > 1:
        figure.legend(
            [handles[name] for name in names], [shorten(name, 40) for name in names], loc="outside lower center",
            ncols=min(len(names), 2 if columns == 1 else 4), frameon=False, labelcolor=INK, fontsize=9,
        )  # fmt: skip
    return figure


def cross_validation(
    values: Sequence[float], scores: npt.ArrayLike, x: str = "k", y: str = "accuracy", *, log_x: bool = False
) -> Figure:
    """Draw the scores of every fold over a hyperparameter, their mean and standard deviation, and mark the best mean.

    Args:
        values: V values of the hyperparameter.
        scores: (V, folds) in 0..1.
        x, y: what the axes are.
        log_x: a logarithmic axis.

    Raises:
        UsageError: another shape of ``scores``.
    """
    dots = np.asarray(scores, dtype=float)
    if dots.ndim != 2 or len(dots) != len(values):
        raise UsageError(f"{len(values)} values have scores of shape {dots.shape}; give (values, folds).")
    where, mean, spread = np.asarray(values, dtype=float), dots.mean(axis=1), dots.std(axis=1)
    best = int(mean.argmax())
    figure = new_figure(6.4, 3.8)
    axes = styled(figure.add_subplot(), x=x, y=y)
    axes.plot(np.repeat(where, dots.shape[1]), dots.ravel(), "o", color=MUTED, ms=3.5, alpha=0.55, label="one fold")
    axes.errorbar(where, mean, spread, color=BLUE, lw=1.8, capsize=3, label="mean ± standard deviation")
    axes.plot(where[best], mean[best], "o", color=ORANGE, ms=8, label=f"best: {x} = {values[best]:g}, {mean[best]:.1%}")
    if log_x:
        axes.set_xscale("log")
        axes.set_xticks(where, [f"{value:g}" for value in values])  # those that were tried, not powers of ten
        axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return figure


def heat_map(
    values: npt.ArrayLike,
    x: str = "",
    y: str = "",
    title: str = "",
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    numbers: bool = False,
    percent: bool = False,
    label: str = "",
) -> Figure:
    """Draw a matrix as colours, pale for small and dark for large, with a colour bar.

    Args:
        values: (H, W); NaN stays empty.
        x, y, title: what the axes and the whole are.
        rows, columns: a name for each.
        numbers: write the value into each cell.
        percent: numbers and colour bar in percent of 1.
        label: what the colour means.

    Raises:
        UsageError: not a matrix, or names that are not as many as rows or columns.
    """
    matrix = np.asarray(values, dtype=float)
    if matrix.ndim != 2 or not matrix.size:
        raise UsageError(f"A heat map is drawn from a matrix (H, W), got {matrix.shape}.")
    height, width = matrix.shape
    for what, names, count in (("rows", rows, height), ("columns", columns, width)):
        if names is not None and len(names) != count:
            raise UsageError(f"A matrix of {height} rows and {width} columns has {len(names)} names of {what}.")
    named = rows is not None or columns is not None or numbers
    wide = float(np.clip(0.75 * width + 2.2, 3.6, 12)) if named else 7.5
    # Long and flat or narrow matrices are stretched: a cell need not be a square to be seen.
    high = float(np.clip(0.5 * height + 1.4, 2.4, 12)) if named else float(np.clip(7.5 * height / width, 2.4, 7.5))
    figure = new_figure(wide, high)
    axes = styled(figure.add_subplot(), x=x, y=y, title=title, grid=False)
    image = axes.imshow(matrix, cmap=HEAT, aspect="auto", interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, format=PercentFormatter(1.0) if percent else None)
    bar.set_label(label, color=INK, fontsize=9)
    bar.ax.tick_params(labelsize=8, colors=MUTED)
    bar.outline.set_visible(False)
    if rows is not None:
        axes.set_yticks(range(height), list(rows), parse_math=False)
    if columns is not None:
        axes.set_xticks(range(width), list(columns), parse_math=False)
    if numbers:
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                red, green, blue, _ = HEAT(image.norm(value))
                ink = "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "#ffffff"
                text = f"{value:.1%}" if percent else f"{value:.3g}"
                axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)
    return figure


def histograms(
    rows: Mapping[str, Sequence[npt.ArrayLike]],
    columns: Sequence[str],
    *,
    limits: tuple[float, float] | None = None,
    bins: int = 40,
) -> Figure:
    """Draw a grid of histograms, all over the same range, so that widths can be compared at a glance.

    Args:
        rows: name of a row to one array of any shape per column.
        columns: titles.
        limits: of the horizontal axis; from the smallest to the largest value when ``None``. Values outside count to
            the first and last bar.
        bins: how many bars.

    Raises:
        UsageError: no rows, or a row with another number of arrays than there are titles.
    """
    if not rows:
        raise UsageError("There is nothing to draw: give at least one row.")
    for name, arrays in rows.items():
        if len(arrays) != len(columns):
            raise UsageError(
                f'The row "{name}" has {len(arrays)} arrays for {len(columns)} columns; give one for each.'
            )
    flat = {name: [np.asarray(array, dtype=float).ravel() for array in arrays] for name, arrays in rows.items()}
    every = [array for arrays in flat.values() for array in arrays]
    low, high = limits or (min(array.min() for array in every), max(array.max() for array in every))
    if low == high:
        low, high = low - 0.5, high + 0.5
    figure = new_figure(1.9 * len(columns) + 1.2, 1.35 * len(rows) + 0.5)
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True)
    for number, (row, (name, arrays)) in enumerate(zip(grid, flat.items(), strict=True)):
        for title, axes, array in zip(columns, row, arrays, strict=True):
            styled(axes, title=title if number == 0 else "", grid=False)
            axes.spines["bottom"].set_visible(True)
            axes.hist(np.clip(array, low, high), bins=bins, range=(low, high), color=BLUE)
            axes.set_yticks([])
        # Names of rows are read, so they lie flat.
        row[0].set_ylabel(shorten(name, 28), color=INK, rotation=0, ha="right", va="center", fontsize=10)
    return figure


def _whole(panel: Mapping[str, Line]) -> bool:
    """Whether all xs are whole numbers, so that ticks between them would mean nothing."""
    return all(np.equal(np.mod(np.asarray(xs, dtype=float), 1), 0).all() for xs, _ in panel.values())
