"""Bar charts: bars with names, histograms and the reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cnnlab.errors import UsageError
from cnnlab.figures.style import BLUE, INK, LEGEND, MUTED, ORANGE, PERCENT, new_figure, shorten, styled


def histograms(
    rows: Mapping[str, Sequence[npt.ArrayLike]],
    columns: Sequence[str],
    *,
    limits: tuple[float, float] | None = None,
    bins: int = 40,
) -> Figure:
    """Draw a grid of histograms, all over the same range, so that widths can be compared at a glance.

    Args:
        rows: name of a row -> one array of any shape for each column.
        columns: titles of the columns.
        limits: ends of the horizontal axis; the smallest and the largest value when ``None``. Values outside count
            in the first and last bar.
        bins: number of bars.

    Raises:
        UsageError: there are no rows, or a row has another number of arrays than there are titles.
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
        # The names of rows are written horizontally, not along the axis.
        row[0].set_ylabel(shorten(name, 28), color=INK, rotation=0, ha="right", va="center", fontsize=10)
    return figure


def reliability(confidence: npt.ArrayLike, accuracy: npt.ArrayLike, count: npt.ArrayLike, error: float) -> Figure:
    """Draw the accuracy over the confidence (Guo et al. 2017, figure 1), and how often each confidence occurs.

    Args:
        confidence: mean confidence (B,) of each of B equal bins of 0..1; NaN in an empty bin.
        accuracy: share of correct predictions (B,) in each bin; NaN in an empty bin.
        count: number of predictions (B,) in each bin.
        error: expected calibration error, 0..1, written on the figure.
    """
    sure, right, number = (np.asarray(values, dtype=float) for values in (confidence, accuracy, count))
    bins, filled = len(number), number > 0
    centres, width = (np.arange(bins) + 0.5) / bins, 1 / bins
    figure = new_figure(4.6, 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    styled(above, y="accuracy")
    above.bar(centres[filled], right[filled], width * 0.92, color=BLUE, label="accuracy")
    above.bar(
        centres[filled], (sure - right)[filled], width * 0.92, bottom=right[filled], color="none", edgecolor=ORANGE,
        lw=1.2, hatch="////", label="gap",
    )  # fmt: skip
    above.plot([0, 1], [0, 1], color=MUTED, ls="--", lw=1, label="perfectly calibrated")
    above.set(xlim=(0, 1), ylim=(0, 1.0))
    above.set_title(f"calibration error {error:.1%}", color=INK, fontsize=10, loc="left")
    figure.legend(**LEGEND | {"fontsize": 8}, loc="outside lower center", ncols=3, handlelength=1.4)
    styled(below, x="confidence", y="share")
    below.bar(centres, number / max(number.sum(), 1), width * 0.92, color=MUTED)
    for axes in (above, below):
        axes.yaxis.set_major_formatter(PERCENT)
    below.xaxis.set_major_formatter(PERCENT)
    return figure


def bars(values: Mapping[str, float], x: str = "", reference: tuple[float, str] | None = None) -> Figure:
    """Draw a horizontal bar for each name, with its number on the right.

    Args:
        values: name of a bar -> its length, at least 0.
        x: name of the horizontal axis.
        reference: a length that is marked by a dashed line, and the text that names it.

    Raises:
        UsageError: there is no bar.
    """
    if not values:
        raise UsageError("There is nothing to draw: give at least one bar.")
    names, lengths = [shorten(name, 28) for name in values], np.asarray(list(values.values()), dtype=float)
    figure = new_figure(6.4, 0.27 * len(names) + 1.0)
    axes = styled(figure.subplots(), x=x, grid=False)
    axes.barh(np.arange(len(names)), lengths, height=0.72, color=BLUE)
    for position, length in enumerate(lengths):  # in a column, where no line crosses them
        axes.text(
            1.01, position, f"{length:,g}", transform=axes.get_yaxis_transform(), va="center", color=INK, fontsize=9
        )
    axes.set_yticks(np.arange(len(names)), names, color=INK)
    longest = max(lengths.max(), reference[0] if reference else 0) or 1
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.03 * longest))
    if reference:
        line = axes.axvline(reference[0], color=ORANGE, ls="--", lw=1.2, zorder=3, label=reference[1])
        figure.legend(handles=[line], loc="outside lower center", **LEGEND)
    return figure
