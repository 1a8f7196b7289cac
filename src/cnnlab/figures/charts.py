"""Charts: training curves, confusion matrix, reliability diagram, search for a learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cnnlab.errors import UsageError
from cnnlab.figures.style import BLUE, GRID, HEAT, INK, MUTED, ORANGE, new_figure, shorten, styled

_NUMBERS_UP_TO = 20  # classes: beyond that a number no longer fits its cell
_LABELS_UP_TO = 120  # classes: beyond that names give way to positions


def curves(
    rows: Sequence[Mapping[str, Any]],
    panels: Sequence[str] = ("loss", "accuracy", "learning rate"),
    marked: int = 0,
    held_out: str = "validation",
) -> Figure:
    """Draw how a training went, one panel beside the other.

    Args:
        rows: one mapping per epoch with ``epoch`` and any of ``train_loss``, ``val_loss``, ``train_accuracy``,
            ``val_accuracy`` (0..1) and ``lr``; a missing, ``None`` or NaN value leaves a gap.
        panels: which panels, from left to right.
        marked: the epoch whose weights were kept, marked by a vertical line; 0 for none.
        held_out: what to call the split behind the ``val_`` columns.
    """
    series = {
        "loss": (("training", "train_loss", BLUE), (held_out, "val_loss", ORANGE)),
        "accuracy": (("training", "train_accuracy", BLUE), (held_out, "val_accuracy", ORANGE)),
        "learning rate": (("", "lr", INK),),
    }
    if unknown := [panel for panel in panels if panel not in series]:
        raise UsageError(f'There is no panel "{unknown[0]}". Choose from {", ".join(series)}.')
    figure = new_figure(4.2 * len(panels), 3.1)
    epochs = [row.get("epoch", position + 1) for position, row in enumerate(rows)]
    for position, panel in enumerate(panels):
        axes = styled(figure.add_subplot(1, len(panels), position + 1), x="epoch", title=panel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        for label, key, colour in series[panel]:
            values = _column(rows, key)
            if np.isfinite(values).any():
                # One epoch alone has no line: show the point.
                axes.plot(
                    epochs, values, color=colour, label=label, lw=1.8, marker="o" if len(rows) <= 12 else "", ms=4
                )
        if panel == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        if len(rows) <= 12:
            axes.set_xlim(min(epochs, default=1) - 0.5, max(epochs, default=1) + 0.5)
        if panel == "loss":
            axes.set_ylim(0, axes.get_ylim()[1])
        if marked:
            axes.axvline(marked, color=MUTED, lw=1, ls=":", label="kept" if panel != "learning rate" else "")
        if panel != "learning rate" and axes.get_legend_handles_labels()[1]:
            axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return figure


def confusion(matrix: npt.ArrayLike, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix: rows are the true classes, columns the predicted ones.

    The colour is the share of the row, on a square-root scale so that rare mistakes can be seen; cells without an
    image stay empty. Up to 20 classes the numbers stand in the cells, up to 120 every class is named.

    Args:
        matrix: (K, K) numbers of images.
        classes: K names.
    """
    counts = np.asarray(matrix)
    k = len(classes)
    if counts.shape != (k, k):
        raise UsageError(f"A confusion matrix of {k} classes is ({k}, {k}), got {counts.shape}.")
    cell = 0.8 if k <= 4 else 0.52 if k <= 12 else 0.42 if k <= _NUMBERS_UP_TO else max(10.5 / k, 0.05)
    names = [shorten(name, 24) for name in classes]
    # Names take room beside the matrix: about 0.075 inches a letter at this size.
    size = 9.0 if k <= _NUMBERS_UP_TO else float(np.clip(cell * 72 * 0.78, 4.0, 8.5))
    margin = 0.6 + max((len(name) for name in names), default=1) * size * 0.0085
    side = cell * k + margin
    figure = new_figure(max(side + 0.9, 3.6), max(side, 2.6), layout="compressed")
    axes = styled(figure.add_subplot(), x="predicted", y="true", grid=False)
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    shown = np.ma.masked_equal(share, 0)
    norm = PowerNorm(0.5, 0, 1)
    image = axes.imshow(shown, cmap=HEAT, norm=norm, interpolation="nearest")
    bar = figure.colorbar(
        image,
        ax=axes,
        fraction=0.035,
        pad=0.02,
        aspect=30,
        format=PercentFormatter(1.0),
        ticks=[0.01, 0.1, 0.25, 0.5, 1],
    )
    bar.set_label("share of the true class", color=MUTED, fontsize=8)
    bar.ax.tick_params(labelsize=8, colors=MUTED)
    bar.outline.set_visible(False)
    if k <= _LABELS_UP_TO:
        upright = k <= 12 and max(len(name) for name in names) * size * 0.6 < cell * 72
        turn: dict[str, Any] = {} if upright else {"rotation": 90 if k > _NUMBERS_UP_TO else 45, "ha": "right"}
        if turn:
            turn |= {"rotation_mode": "anchor", "va": "center" if k > _NUMBERS_UP_TO else "top"}
        axes.set_xticks(range(k), names, fontsize=size, parse_math=False, **turn)
        axes.set_yticks(range(k), names, fontsize=size, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(k + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(k + 1) - 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color=GRID, lw=0.6 if k <= _NUMBERS_UP_TO else 0.25)
    if k <= _NUMBERS_UP_TO:
        longest = max(len(str(counts.max())), 2)
        number = min(10.0, cell * 72 * 0.85 / (longest * 0.62))
        for row, column in zip(*np.nonzero(counts), strict=True):
            red, green, blue, _ = HEAT(norm(share[row, column]))
            ink = "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "#ffffff"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink, fontsize=number)
    return figure


def reliability(confidence: npt.ArrayLike, accuracy: npt.ArrayLike, count: npt.ArrayLike, error: float) -> Figure:
    """Draw how far the confidence can be believed (Guo et al. 2017, figure 1), and how often each value occurs.

    Args:
        confidence: mean confidence of each of B equal bins of 0..1; NaN in an empty bin.
        accuracy: share of correct predictions in each bin; NaN in an empty bin.
        count: number of predictions in each bin.
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
    figure.legend(frameon=False, labelcolor=INK, fontsize=8, loc="outside lower center", ncols=3, handlelength=1.4)
    styled(below, x="confidence", y="share")
    below.bar(centres, number / max(number.sum(), 1), width * 0.92, color=MUTED)
    for axes in (above, below):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    below.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def find_lr_curve(lrs: npt.ArrayLike, losses: npt.ArrayLike, suggestion: float | None = None) -> Figure:
    """Draw the loss against a rising learning rate (Smith 2017, section 3.3), with the suggested rate marked.

    Args:
        lrs: learning rates, rising.
        losses: smoothed training loss at each of them.
        suggestion: the learning rate to mark, or ``None``.
    """
    rates, values = np.asarray(lrs, dtype=float), np.asarray(losses, dtype=float)
    figure = new_figure(6, 3.6)
    axes = styled(figure.add_subplot(), x="learning rate", y="loss (smoothed)")
    axes.set_xscale("log")
    axes.plot(rates, values, color=BLUE, lw=1.8)
    finite = values[np.isfinite(values)]
    if finite.size:
        # Past the best rate the loss explodes: keep the part that tells something in view.
        low, start = finite.min(), finite[0]
        axes.set_ylim(low - 0.08 * (start - low + 1e-9), min(finite.max(), start + 0.6 * (start - low + 1e-9)) + 1e-6)
    if suggestion is not None:
        axes.axvline(suggestion, color=ORANGE, lw=1.5, ls="--", label=f"suggested: {suggestion:.2g}")
        axes.legend(frameon=False, labelcolor=INK, loc="best")
    return figure


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> npt.NDArray[Any]:
    return np.array([math.nan if row.get(key) is None else float(row[key]) for row in rows], dtype=float)
