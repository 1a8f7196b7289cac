"""Charts of a search over settings: the best accuracy so far, and the accuracy over each setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cnnlab.errors import UsageError
from cnnlab.figures.style import BLUE, GRID, INK, LEGEND, MUTED, ORANGE, PERCENT, new_figure, shorten, styled

# State of a trial -> how its point is drawn; a failed trial has no accuracy and stands at the lower edge.
_POINTS: dict[str, dict[str, Any]] = {
    "completed": {"marker": "o", "color": BLUE, "s": 34, "linewidths": 0, "label": "completed"},
    "pruned": {"marker": "o", "facecolors": "white", "edgecolors": MUTED, "s": 30, "label": "stopped early"},
    "failed": {"marker": "x", "color": ORANGE, "s": 36, "label": "failed"},
}


def trial_history(
    numbers: Sequence[int], accuracies: Sequence[float | None], states: Sequence[str], y: str = "accuracy"
) -> Figure:
    """Draw the accuracy of each trial in its order, and the best of the completed ones so far.

    Args:
        numbers: number of each trial, rising.
        accuracies: accuracy of each trial, 0..1; None where it failed.
        states: state of each trial: completed, pruned or failed.
        y: name of the vertical axis.

    Raises:
        UsageError: there are no trials, or not as many states, or other states.
    """
    _check(accuracies, states)
    figure = new_figure(6.4, 3.8)
    axes = styled(figure.add_subplot(), x="trial", y=y)
    best, line = -math.inf, []
    for accuracy, state in zip(accuracies, states, strict=True):
        best = max(best, accuracy) if accuracy is not None and state == "completed" else best
        line.append(best if math.isfinite(best) else math.nan)
    axes.plot(numbers, line, color=BLUE, lw=1.6, drawstyle="steps-post", label="best so far", zorder=1)
    _draw_points(axes, numbers, accuracies, states)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(**LEGEND, loc="best")
    return figure


def trial_settings(
    settings: Mapping[str, Sequence[Any]],
    accuracies: Sequence[float | None],
    states: Sequence[str],
    *,
    log: Sequence[str] = (),
    y: str = "accuracy",
) -> Figure:
    """Draw the accuracy over each setting, one panel per setting; the best trial has a ring.

    Args:
        settings: name of a setting -> its value in each trial; texts and booleans stand beside each other in
            alphabetical order.
        accuracies: accuracy of each trial, 0..1; None where it failed.
        states: state of each trial: completed, pruned or failed.
        log: names of the settings whose axis is logarithmic.
        y: name of the vertical axes.

    Raises:
        UsageError: there are no trials, no settings, or lists of different lengths.
    """
    _check(accuracies, states)
    if not settings or any(len(values) != len(accuracies) for values in settings.values()):
        raise UsageError(f"{len(accuracies)} trials have a value each for at least one setting.")
    columns = min(len(settings), 3)
    rows = math.ceil(len(settings) / columns)
    figure = new_figure(max(3.6 * columns, 4.6), 3.0 * rows + 0.35)
    completed = [
        (accuracy, -position)
        for position, (accuracy, state) in enumerate(zip(accuracies, states, strict=True))
        if accuracy is not None and state == "completed"
    ]
    height, best = max(completed, default=(0.0, None))
    for number, (name, values) in enumerate(settings.items()):
        first = number % columns == 0
        axes = styled(figure.add_subplot(rows, columns, number + 1), x=shorten(name, 40), y=y if first else "")
        across: Sequence[float] = values
        if name in log:
            axes.set_xscale("log")
        elif any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
            names = sorted({shorten(str(value), 14) for value in values})
            across = [names.index(shorten(str(value), 14)) for value in values]
            axes.set_xticks(range(len(names)), names, parse_math=False, rotation=30 if len(names) > 3 else 0)
            axes.set_xlim(-0.5, len(names) - 0.5)
        elif all(float(value).is_integer() for value in values):
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        handles = _draw_points(axes, across, accuracies, states)
        if best is not None:
            ring: dict[str, Any] = {"s": 110, "facecolors": "none", "edgecolors": INK, "linewidths": 1.4}
            handles["best"] = axes.scatter(across[-best], height, clip_on=False, **ring)
    names = list(handles)
    if len(names) > 1:
        figure.legend(handles.values(), names, loc="outside lower center", ncols=4, **LEGEND)
    return figure


def _check(accuracies: Sequence[float | None], states: Sequence[str]) -> None:
    """Raise a UsageError unless there are trials, and as many states of the three sorts."""
    if not accuracies or len(accuracies) != len(states) or not set(states) <= set(_POINTS):
        raise UsageError(
            f"{len(accuracies)} trials and {len(states)} states: give at least one, and to each {', '.join(_POINTS)}."
        )


def _draw_points(
    axes: Axes, across: Sequence[float], accuracies: Sequence[float | None], states: Sequence[str]
) -> dict[str, Any]:
    """Draw a point per trial; return label -> handle for a legend."""
    heights = [accuracy for accuracy in accuracies if accuracy is not None]
    spread = max(heights, default=1.0) - min(heights, default=0.0)
    floor = min(heights, default=0.0) - 0.08 * (spread or 0.1)
    handles = {}
    for state, style in _POINTS.items():
        points = [
            (x, floor if accuracy is None else accuracy)
            for x, accuracy, own in zip(across, accuracies, states, strict=True)
            if own == state
        ]
        if points:
            xs, ys = zip(*points, strict=True)
            handles[style["label"]] = axes.scatter(xs, ys, zorder=2, clip_on=False, **style)
    if "failed" in states:
        axes.axhline(floor, color=GRID, lw=0.8, zorder=0)
    axes.yaxis.set_major_formatter(PERCENT)
    return handles
