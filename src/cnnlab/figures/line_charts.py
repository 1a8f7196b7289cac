"""Line charts: training curves, the search for a learning rate, studies, cross-validation, faithfulness curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cnnlab.errors import UsageError
from cnnlab.figures.style import BLUE, CYCLE, INK, LEGEND, MUTED, ORANGE, PERCENT, new_figure, shorten, styled

Line = tuple[npt.ArrayLike, npt.ArrayLike]


def curves(
    rows: Sequence[Mapping[str, Any]],
    panels: Sequence[str] = ("loss", "accuracy", "learning rate"),
    marked: int = 0,
    held_out: str = "validation",
) -> Figure:
    """Draw loss, accuracy and learning rate over the epochs of a training, in panels side by side.

    Args:
        rows: one mapping per epoch with ``epoch`` and any of ``train_loss``, ``val_loss``, ``train_accuracy``,
            ``val_accuracy`` (0..1) and ``lr``; a missing, ``None`` or NaN value has no point, and the line goes on to
            the next one, as between the evaluations of ``evaluate_every=5``.
        panels: names of the panels, from left to right.
        marked: number of the epoch whose weights were kept, which gets a vertical line; 0 for none.
        held_out: name of the split behind the ``val_`` columns.

    Raises:
        UsageError: there is no panel of such a name.
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
            places = np.flatnonzero(np.isfinite(values))
            if len(places):
                # A single point has no line, and where epochs were left out a line alone does not say which.
                marker = "o" if len(rows) <= 12 or len(places) < len(rows) else ""
                shown = [epochs[place] for place in places]
                axes.plot(shown, values[places], color=colour, label=label, lw=1.8, marker=marker, ms=4)
        if panel == "accuracy":
            axes.yaxis.set_major_formatter(PERCENT)
        if len(rows) <= 12:
            axes.set_xlim(min(epochs, default=1) - 0.5, max(epochs, default=1) + 0.5)
        if panel == "loss":
            axes.set_ylim(0, axes.get_ylim()[1])
        if marked:
            axes.axvline(marked, color=MUTED, lw=1, ls=":", label="kept" if panel != "learning rate" else "")
        if panel != "learning rate" and axes.get_legend_handles_labels()[1]:
            axes.legend(**LEGEND)
    return figure


def find_lr_curve(lrs: npt.ArrayLike, losses: npt.ArrayLike, suggestion: float | None = None) -> Figure:
    """Draw the loss against a rising learning rate (Smith 2017, section 3.3), with the suggested rate marked.

    Args:
        lrs: learning rates (N,), rising.
        losses: smoothed training loss (N,) at each of them.
        suggestion: the learning rate to mark, or ``None``.
    """
    rates, values = np.asarray(lrs, dtype=float), np.asarray(losses, dtype=float)
    figure = new_figure(6, 3.6)
    axes = styled(figure.add_subplot(), x="learning rate", y="loss (smoothed)")
    axes.set_xscale("log")
    axes.plot(rates, values, color=BLUE, lw=1.8)
    finite = values[np.isfinite(values)]
    if finite.size:
        # Past the best rate the loss explodes and would flatten the curve before it.
        low, start = finite.min(), finite[0]
        axes.set_ylim(low - 0.08 * (start - low + 1e-9), min(finite.max(), start + 0.6 * (start - low + 1e-9)) + 1e-6)
    if suggestion is not None:
        axes.axvline(suggestion, color=ORANGE, lw=1.5, ls="--", label=f"suggested: {suggestion:.2g}")
        axes.legend(frameon=False, labelcolor=INK, loc="best")
    return figure


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> npt.NDArray[Any]:
    """Return the values of one key in all rows (R,), NaN where there is none."""
    return np.array([math.nan if row.get(key) is None else float(row[key]) for row in rows], dtype=float)


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
        panels: title of a panel -> its lines, name of a line -> (xs, ys); NaN leaves a gap.
        x, y: names of the axes, in every panel.
        percent: whether y is written as percent of 1.
        log_x, log_y: whether the axes are logarithmic.
        columns: number of panels in a row; up to three when ``None``.

    Raises:
        UsageError: no panel, or xs and ys of different lengths.
    """

    def draw(axes: Axes, line: Line, style: dict[str, Any]) -> Any:
        across, up = (np.asarray(values, dtype=float) for values in line)
        if across.shape != up.shape or across.ndim != 1:
            raise UsageError(
                f'The line "{style["label"]}" has {across.shape} xs and {up.shape} ys; give one y for each x.'
            )
        return axes.plot(across, up, lw=1.6, marker="o" if len(across) <= 25 else "", ms=3.5, **style)[0]

    def finish(axes: Axes, title: str) -> None:
        axes.set_xscale("log" if log_x else "linear")
        axes.set_yscale("log" if log_y else "linear")
        if not log_x:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=_whole(panels[title])))
        if percent:
            axes.yaxis.set_major_formatter(PERCENT)

    return line_panels(panels, draw, finish, x=x, y=y, columns=columns)


def line_panels(
    panels: Mapping[str, Mapping[str, Any]],
    draw: Callable[[Axes, Any, dict[str, Any]], Any],
    finish: Callable[[Axes, str], None],
    *,
    x: str,
    y: str = "",
    columns: int | None,
) -> Figure:
    """Draw panels of named lines; a name means the same colour in every panel, and stands in one legend.

    Args:
        panels: title of a panel -> its lines, name of a line -> the line as ``draw`` takes it.
        draw: function that draws a line with a style (colour, dashes, label) into axes, and returns its handle for the
            legend.
        finish: function that sets scales and ticks of the axes of a panel, which it gets with the panel's title.
        x, y: names of the axes.
        columns: number of panels in a row; up to three when ``None``.

    Raises:
        UsageError: no panel.
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
        for name, line in panel.items():
            handles[name] = draw(axes, line, {**_colour_and_dashes(names.index(name)), "label": name})
        finish(axes, title)
    if len(names) > 1:
        figure.legend(
            [handles[name] for name in names], [shorten(name, 40) for name in names], loc="outside lower center",
            ncols=min(len(names), 2 if columns == 1 else 5), **LEGEND,
        )  # fmt: skip
    return figure


def _colour_and_dashes(number: int) -> dict[str, Any]:
    """Return the style of the line with a number: a colour of the cycle, and other dashes after each turn of it."""
    turn, colour = divmod(number, len(CYCLE))
    return {"color": CYCLE[colour], "ls": ("-", "--", ":")[turn % 3]}


def cross_validation(
    values: Sequence[float], scores: npt.ArrayLike, x: str = "k", y: str = "accuracy", *, log_x: bool = False
) -> Figure:
    """Draw the scores of every fold over a hyperparameter, their mean and standard deviation, and mark the best mean.

    Args:
        values: the V values of the hyperparameter.
        scores: scores of every fold, (V, folds), in 0..1.
        x, y: names of the axes.
        log_x: whether the horizontal axis is logarithmic.

    Raises:
        UsageError: another shape of ``scores``.
    """
    dots = np.asarray(scores, dtype=float)
    if dots.ndim != 2 or len(dots) != len(values):
        raise UsageError(f"{len(values)} values have scores of shape {dots.shape}; give (values, folds).")
    points, mean, spread = np.asarray(values, dtype=float), dots.mean(axis=1), dots.std(axis=1)
    best = int(mean.argmax())
    figure = new_figure(6.4, 3.8)
    axes = styled(figure.add_subplot(), x=x, y=y)
    axes.plot(np.repeat(points, dots.shape[1]), dots.ravel(), "o", color=MUTED, ms=3.5, alpha=0.55, label="one fold")
    axes.errorbar(points, mean, spread, color=BLUE, lw=1.8, capsize=3, label="mean ± standard deviation")
    axes.plot(
        points[best], mean[best], "o", color=ORANGE, ms=8, label=f"best: {x} = {values[best]:g}, {mean[best]:.1%}"
    )
    if log_x:
        axes.set_xscale("log")
        axes.set_xticks(points, [f"{value:g}" for value in values])  # instead of powers of ten
        axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.legend(**LEGEND)
    return figure


def _whole(panel: Mapping[str, Line]) -> bool:
    """Return whether all xs are whole numbers, so that ticks between them would mean nothing."""
    return all(np.equal(np.mod(np.asarray(xs, dtype=float), 1), 0).all() for xs, _ in panel.values())


def faithfulness_curves(curves: Sequence[Any]) -> Figure:
    """Draw the probability over the share of pixels deleted, and inserted, the most important first.

    Args:
        curves: curves of deletion and insertion, as :class:`cnnlab.explain.Curve`. Those called "random maps" are drawn
            dashed in grey.

    Raises:
        UsageError: no curves.
    """
    if not curves:
        raise UsageError("There are no curves to draw. Compare the methods with faithfulness=True.")
    kinds = [kind for kind in ("deletion", "insertion") if any(curve.kind == kind for curve in curves)]
    names = list(dict.fromkeys(curve.name for curve in curves if curve.name != "random maps"))
    figure = new_figure(4.6 * len(kinds) + 0.2, 4.4 + 0.2 * math.ceil(len(names) / 2))
    words = {
        "deletion": ("Deletion: lower is better", "share of the pixels taken away"),
        "insertion": ("Insertion: higher is better", "share of the pixels given back"),
    }
    for number, kind in enumerate(kinds):
        title, x = words[kind]
        axes = styled(figure.add_subplot(1, len(kinds), number + 1), x=x, title=title)
        axes.set_ylabel("probability of the class, of that for the whole image", color=INK, fontsize=9)
        best_first = sorted(curves, key=lambda curve: curve.auc, reverse=kind == "insertion")
        for curve in (curve for curve in best_first if curve.kind == kind):
            line_style: dict[str, Any] = {"color": MUTED, "ls": (0, (4, 3)), "lw": 2}
            if curve.name in names:
                line_style = {**_colour_and_dashes(names.index(curve.name)), "lw": 1.6}
            axes.plot(curve.share, curve.score, label=f"{curve.auc:.2f}  {curve.name}", **line_style)
        axes.xaxis.set_major_formatter(PERCENT)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_xlim(0, 1)
        legend = axes.legend(
            title="area under the curve", loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, alignment="left",
            **LEGEND | {"fontsize": 8.5, "title_fontsize": 8.5},
        )  # fmt: skip
        legend.get_title().set_color(INK)  # a page turns it light in the dark
    return figure
