"""Matrices as colours: the confusion matrix and any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from cnnlab.errors import UsageError
from cnnlab.figures.style import GRID, HEAT, INK, MUTED, PERCENT, ink_on, new_figure, shorten, styled

_NUMBERS_UP_TO = 20  # classes: beyond that a number no longer fits its cell
_LABELS_UP_TO = 120  # classes: beyond that names give way to positions


def confusion(matrix: npt.ArrayLike, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix: rows are the true classes, columns the predicted ones.

    The colour is the share of the row, on a square-root scale so that rare mistakes can be seen; cells without an
    image stay empty. Up to 20 classes the numbers stand in the cells, up to 120 every class is named.

    Args:
        matrix: numbers of images, (K, K).
        classes: names of the K classes.

    Raises:
        UsageError: the matrix has another shape.
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
    norm = PowerNorm(0.5, 0, 1)
    image = axes.imshow(np.ma.masked_equal(share, 0), cmap=HEAT, norm=norm, interpolation="nearest")
    shares = {"format": PERCENT, "ticks": [0.01, 0.1, 0.25, 0.5, 1]}
    bar = _colour_bar(figure, image, fraction=0.035, aspect=30, **shares)
    bar.set_label("share of the true class", color=MUTED, fontsize=8)
    if k <= _LABELS_UP_TO:
        _name_classes(axes, names, size, cell)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(k + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(k + 1) - 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color=GRID, lw=0.6 if k <= _NUMBERS_UP_TO else 0.25)
    if k <= _NUMBERS_UP_TO:
        longest = max(len(str(counts.max())), 2)
        number = min(10.0, cell * 72 * 0.85 / (longest * 0.62))
        for row, column in zip(*np.nonzero(counts), strict=True):
            ink = ink_on(HEAT(norm(share[row, column])))
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink, fontsize=number)
    return figure


def _colour_bar(figure: Figure, image: AxesImage, **options: Any) -> Colorbar:
    """Draw the scale of an image beside its axes, with options of ``Figure.colorbar``."""
    bar = figure.colorbar(image, ax=image.axes, pad=0.02, **options)
    bar.ax.tick_params(labelsize=8, colors=MUTED)
    bar.outline.set_visible(False)
    return bar


def _name_classes(axes: Axes, names: Sequence[str], size: float, cell: float) -> None:
    """Write the names along both axes, turned where they are longer than a cell of ``cell`` inches."""
    k = len(names)
    turn: dict[str, Any] = {}
    if k > _NUMBERS_UP_TO:
        turn = {"rotation": 90, "ha": "right", "va": "center", "rotation_mode": "anchor"}
    elif k > 12 or max(len(name) for name in names) * size * 0.6 >= cell * 72:
        turn = {"rotation": 45, "ha": "right", "va": "top", "rotation_mode": "anchor"}
    axes.set_xticks(range(k), names, fontsize=size, parse_math=False, **turn)
    axes.set_yticks(range(k), names, fontsize=size, parse_math=False)


def heat_map(
    values: npt.ArrayLike,
    x: str = "",
    y: str = "",
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    numbers: bool = False,
    percent: bool = False,
    label: str = "",
) -> Figure:
    """Draw a matrix as colours, pale for small and dark for large, with a colour bar.

    Args:
        values: the matrix, (H, W); NaN stays empty.
        x, y: names of the axes.
        rows, columns: names of the H rows and of the W columns.
        numbers: whether the value is written into each cell.
        percent: whether numbers and colour bar are in percent of 1.
        label: meaning of the colour.

    Raises:
        UsageError: the values are no matrix, or there are not as many names as rows or columns.
    """
    matrix = np.asarray(values, dtype=float)
    if matrix.ndim != 2 or not matrix.size:
        raise UsageError(f"A heat map is drawn from a matrix (H, W), got {matrix.shape}.")
    height, width = matrix.shape
    for side, names, count in (("rows", rows, height), ("columns", columns, width)):
        if names is not None and len(names) != count:
            raise UsageError(
                f"A matrix of {height} rows and {width} columns has {len(names)} names of {side}; give {count}."
            )
    named = rows is not None or columns is not None or numbers
    wide = float(np.clip(0.75 * width + 2.2, 3.6, 12)) if named else 7.5
    # Long and flat or narrow matrices are stretched: a cell need not be a square to be seen.
    high = float(np.clip(0.5 * height + 1.4, 2.4, 12)) if named else float(np.clip(7.5 * height / width, 2.4, 7.5))
    figure = new_figure(wide, high)
    axes = styled(figure.add_subplot(), x=x, y=y, grid=False)
    image = axes.imshow(matrix, cmap=HEAT, aspect="auto", interpolation="nearest")
    bar = _colour_bar(figure, image, fraction=0.05, format=PERCENT if percent else None)
    bar.set_label(label, color=INK, fontsize=9)
    if rows is not None:
        axes.set_yticks(range(height), list(rows), parse_math=False)
    if columns is not None:
        axes.set_xticks(range(width), list(columns), parse_math=False)
    if numbers:
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                text = f"{value:.1%}" if percent else f"{value:.3g}"
                ink = ink_on(HEAT(image.norm(value)))
                axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)
    return figure
