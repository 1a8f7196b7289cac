"""Arrays in, matplotlib figure out: curves, confusion, reliability, grids of images and filters.

Every function returns a :class:`matplotlib.figure.Figure` built with the object API, so that nothing depends on
pyplot's global state, a display or a backend. :func:`save` writes a figure, :func:`to_png` returns it as bytes and
:func:`to_svg` as markup that takes its colours from the page it is put into (light or dark).

Colours are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), which stay apart for colour-blind
readers; the colour map's lightness (CIELAB) falls evenly from pale to dark blue. Texts are never parsed as
formulas: a class may be called ``"$5"``.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cnnlab.errors import UsageError

INK, MUTED, GRID = "#1b1f24", "#6a737d", "#d9dde2"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
# What to_svg puts in the place of each colour, so that the page's light or dark style decides.
_THEMED = {
    INK: "currentColor",
    MUTED: f"var(--muted, {MUTED})",
    GRID: f"var(--grid, {GRID})",
    BLUE: f"var(--blue, {BLUE})",
    ORANGE: f"var(--orange, {ORANGE})",
    GREEN: f"var(--green, {GREEN})",
}
HEAT = LinearSegmentedColormap.from_list(
    "heat", ["#dff1fb", "#b3daf6", "#8ac3f1", "#65abe9", "#4692db", "#317ac8", "#2861af", "#274a91", "#263570"]
)
_NUMBERS_UP_TO = 20  # classes: beyond that a number no longer fits its cell
_LABELS_UP_TO = 120  # classes: beyond that names give way to positions

Array = npt.NDArray[Any]


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
    figure = _figure(4.2 * len(panels), 3.1)
    epochs = [row.get("epoch", position + 1) for position, row in enumerate(rows)]
    for position, panel in enumerate(panels):
        axes = _axes(figure.add_subplot(1, len(panels), position + 1), x="epoch", title=panel)
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
    figure = _figure(max(side + 0.9, 3.6), max(side, 2.6), layout="compressed")
    axes = _axes(figure.add_subplot(), x="predicted", y="true", grid=False)
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
    figure = _figure(4.6, 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _axes(above, y="accuracy")
    above.bar(centres[filled], right[filled], width * 0.92, color=BLUE, label="accuracy")
    above.bar(
        centres[filled], (sure - right)[filled], width * 0.92, bottom=right[filled], color="none", edgecolor=ORANGE,
        lw=1.2, hatch="////", label="gap",
    )  # fmt: skip
    above.plot([0, 1], [0, 1], color=MUTED, ls="--", lw=1, label="perfectly calibrated")
    above.set(xlim=(0, 1), ylim=(0, 1.0))
    above.set_title(f"calibration error {error:.1%}", color=INK, fontsize=10, loc="left")
    figure.legend(frameon=False, labelcolor=INK, fontsize=8, loc="outside lower center", ncols=3, handlelength=1.4)
    _axes(below, x="confidence", y="share")
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
    figure = _figure(6, 3.6)
    axes = _axes(figure.add_subplot(), x="learning rate", y="loss (smoothed)")
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


def image_grid(
    images: Sequence[npt.ArrayLike], titles: Sequence[str] | None = None, columns: int | None = None, cell: float = 1.35
) -> Figure:
    """Draw pictures in rows and columns, each whole and undistorted, with a title under it.

    Args:
        images: arrays (H, W), (H, W, 1) or (H, W, 3); uint8, or floats of 0..1. Sizes may differ.
        titles: one text per picture; lines are kept, long lines are shortened in the middle.
        columns: pictures per row; a number that gives a wide rectangle when ``None``.
        cell: width of a picture in inches.
    """
    if titles is not None and len(titles) != len(images):
        raise UsageError(f"{len(images)} pictures need as many titles, got {len(titles)}.")
    columns = columns or min(max(len(images), 1), max(4, math.ceil(math.sqrt(2 * len(images)))))
    rows = max(math.ceil(len(images) / columns), 1)
    size = 7.5
    lines = max((title.count("\n") + 1 for title in titles), default=0) if titles else 0
    below = lines * size * 1.35 / 72 / cell + (0.06 if lines else 0.0)  # room for the title, in cells
    step_x, step_y = 1.08, 1.06 + below
    figure = _figure(columns * step_x * cell, rows * step_y * cell, layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    fits = int(step_x * cell * 72 / (size * 0.56))  # letters that fit the width of a cell
    for position, given in enumerate(images):
        pixels = _pixels(given)
        left, top = (position % columns) * step_x, (position // columns) * step_y
        height, width = (side / max(pixels.shape[:2]) for side in pixels.shape[:2])
        x, y = left + (1 - width) / 2, top + (1 - height) / 2
        cmap: dict[str, Any] = {} if pixels.ndim == 3 else {"cmap": "gray", "vmin": 0, "vmax": 255}
        axes.imshow(pixels, extent=(x, x + width, y + height, y), interpolation="nearest", **cmap)
        if titles is not None:
            text = "\n".join(shorten(line, fits) for line in titles[position].split("\n"))
            axes.text(
                left + 0.5, top + 1.04, text, ha="center", va="top", fontsize=size, color=INK, linespacing=1.25,
                parse_math=False,
            )  # fmt: skip
    axes.set(xlim=(-0.04, columns * step_x - 0.04), ylim=(rows * step_y - 0.03, -0.03), aspect="auto")
    return figure


def sample_grid(images: npt.ArrayLike, row_labels: Sequence[str], title: str = "") -> Figure:
    """Draw a row of pictures per class, the name of the class before it.

    More than 25 classes stand in several columns of rows. Small pictures are enlarged by whole factors, so that every
    pixel stays a square.

    Args:
        images: uint8 (K, M, H, W, C), M pictures of each of K classes, C 1 or 3.
        row_labels: K names.
        title: a line above.

    Raises:
        UsageError: another shape, or another number of names.
    """
    pixels = np.asarray(images)
    if pixels.ndim != 5 or pixels.shape[-1] not in (1, 3) or not pixels.size:
        raise UsageError(f"Pictures by class are an array (K, M, H, W, C), C 1 or 3, got {pixels.shape}.")
    if len(row_labels) != len(pixels):
        raise UsageError(f"{len(pixels)} rows of pictures need as many names, got {len(row_labels)}.")
    classes, per_class, height, width, _ = pixels.shape
    dpi, gap, size = 150, 6, 9.0
    factor = max(1, round(84 / height))
    pixels = np.broadcast_to(pixels, (*pixels.shape[:-1], 3)).repeat(factor, axis=2).repeat(factor, axis=3)
    step_y, step_x = height * factor + gap, width * factor + gap
    blocks = math.ceil(classes / 25)
    rows = math.ceil(classes / blocks)
    names = [shorten(name, 24) for name in row_labels]
    margin = round(max(map(len, names)) * size * 0.6 / 72 * dpi) + 24  # room for the names, in dots
    above = round(2.4 * size / 72 * dpi) if title else gap
    block = margin + per_class * step_x + 2 * gap
    canvas = np.full((above + rows * step_y, blocks * block, 3), 255, np.uint8)
    figure = _figure(canvas.shape[1] / dpi, canvas.shape[0] / dpi, layout="none")
    figure.set_dpi(dpi)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    style: dict[str, Any] = {"color": INK, "va": "center", "parse_math": False}
    for k, name in enumerate(names):
        left, top = k // rows * block + margin, above + k % rows * step_y
        axes.text(left - 14, top + step_y / 2 - gap / 2, name, ha="right", fontsize=size, **style)
        for m in range(per_class):
            x = left + m * step_x
            canvas[top : top + step_y - gap, x : x + step_x - gap] = pixels[k, m]
    if title:
        axes.text(14, above / 2, title, ha="left", fontsize=size + 1, **style)
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    return figure


def filters(weights: npt.ArrayLike, limit: int = 96) -> Figure:
    """Draw the filters of a convolution, each scaled by its own largest weight: mid-grey is zero.

    Args:
        weights: (F, C, H, W). With C = 3 a filter is drawn in colour, else the mean over C in grey.
        limit: how many filters to draw, the first ones.
    """
    kernels = np.asarray(weights, dtype=float)
    if kernels.ndim != 4:
        raise UsageError(f"The weights of a convolution are (F, C, H, W), got an array of shape {kernels.shape}.")
    kernels = kernels[:limit]
    if kernels.shape[1] != 3:
        kernels = kernels.mean(axis=1, keepdims=True)
    largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    tiles = 0.5 + kernels / (2 * np.where(largest > 0, largest, 1))
    pictures = list(tiles.transpose(0, 2, 3, 1))
    columns = min(len(pictures), 16 if len(pictures) > 24 else 8)
    return image_grid(pictures, columns=columns, cell=0.55 if columns > 8 else 0.8)


def save(figure: Figure, path: str | Path) -> Path:
    """Write ``figure`` to ``path``; the ending chooses the format (png, svg, pdf). Returns the path.

    Raises:
        UsageError: matplotlib cannot write that format.
    """
    path = Path(path)
    known = figure.canvas.get_supported_filetypes()
    ending = path.suffix.lstrip(".").lower()
    if ending not in known:
        raise UsageError(f'A figure cannot be written as "{path.name}". Name it .png, .svg or .pdf.')
    path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet():
        figure.savefig(path, dpi=150, facecolor="white")
    return path


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    """Return ``figure`` as a PNG on white."""
    buffer = io.BytesIO()
    with _quiet():
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


def to_svg(figure: Figure, name: str = "figure") -> str:
    """Return ``figure`` as an ``<svg>`` element to be put into an HTML page.

    The background is transparent and the colours follow the page: ``currentColor`` and the custom properties
    ``--muted``, ``--grid``, ``--blue``, ``--orange``, ``--green``. Nothing in it refers to another file.

    Args:
        name: a word that keeps the ids inside apart from those of the page's other figures.
    """
    buffer = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name}
    with _quiet(), matplotlib.rc_context(settings):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, dpi=110, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # the same names would stand in every figure of the page
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font: \1px var(--font, sans-serif)", svg)
    for colour, themed in _THEMED.items():
        svg = svg.replace(colour, themed)
    return svg


def shorten(text: str, length: int) -> str:
    """Return ``text`` in at most ``length`` characters: the middle gives way to an ellipsis."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    head = max(length - 1, 1) * 2 // 3
    tail = max(length - 1 - head, 0)
    return f"{text[:head]}…{text[len(text) - tail :]}"


def _figure(width: float, height: float, layout: Any = "constrained") -> Figure:
    return Figure(figsize=(width, height), layout=layout)


def _axes(axes: Axes, x: str = "", y: str = "", title: str = "", grid: bool = True) -> Axes:
    """Give ``axes`` the house style: labels in ink, faint grid, no box."""
    axes.set_xlabel(x, color=INK, fontsize=10)
    axes.set_ylabel(y, color=INK, fontsize=10)
    if title:
        axes.set_title(title, color=INK, fontsize=11, loc="left")
    axes.tick_params(colors=INK, labelsize=9, length=3, color=GRID)
    for side, spine in axes.spines.items():
        spine.set_visible(grid and side in ("left", "bottom"))
        spine.set_color(GRID)
    if grid:
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
    return axes


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> Array:
    return np.array([math.nan if row.get(key) is None else float(row[key]) for row in rows], dtype=float)


def _pixels(image: npt.ArrayLike) -> Array:
    """Return a picture as uint8 (H, W) or (H, W, 3)."""
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or not pixels.size:
        raise UsageError(f"A picture is an array (H, W) or (H, W, 3), got {pixels.shape}.")
    if pixels.dtype != np.uint8:
        pixels = np.round(np.clip(pixels.astype(float), 0, 1) * 255).astype(np.uint8)
    return pixels


@contextmanager
def _quiet() -> Iterator[None]:
    """Draw without a warning per letter that matplotlib's font lacks (class names come in every script)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield
