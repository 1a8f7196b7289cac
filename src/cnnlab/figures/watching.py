"""A network while it trains: how outputs, gradients, weights and dead ReLUs change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cnnlab.figures.plots import CYCLE
from cnnlab.figures.style import INK, MUTED, new_figure, shorten, styled


def distributions(watches: Mapping[str, Sequence[Any]], columns: int = 6) -> Figure:
    """Draw how outputs, gradients, weights and dead ReLUs of layers change in one or several trainings.

    Args:
        watches: name of a training to its looks, as :class:`cnnlab.explain.activations.watch.Look`.
        columns: how many layers, from the first to the last.
    """
    trainings = list(watches.values())
    layers = [looks[0].inputs_of_activations for looks in trainings]
    picked = sorted({round(i) for i in np.linspace(0, len(layers[0]) - 1, min(columns, len(layers[0])))})
    figure = new_figure(max(2.05 * len(picked) + 0.5, 9.5), 7.9)
    grid = figure.add_gridspec(3, 1)
    for line, what in enumerate(("outputs", "gradients")):
        row = grid[line].subgridspec(1, len(picked)).subplots(sharey=line == 0, squeeze=False)[0]
        for axes, place in zip(row, picked, strict=True):
            names = dict.fromkeys(found[place].name for found in layers)
            _small(styled(axes), " / ".join(shorten(name, 22) for name in names))
            for number, looks in enumerate(trainings):
                _bands(axes, looks, place, what, CYCLE[number])
            if line == 1:
                axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
                axes.yaxis.get_offset_text().set_fontsize(7.5)
            if axes is row[0]:
                axes.set_ylabel("outputs" if line == 0 else "gradients of the loss", color=INK, fontsize=10)
    dead, weights, depth, loss = grid[2].subgridspec(1, 4).subplots(squeeze=False)[0]
    handles = []
    for looks, colour in zip(trainings, CYCLE, strict=False):
        at = [look.at for look in looks]
        dead.plot(at, [look.dead for look in looks], color=colour)
        norms = np.array([[each.weight_norm for each in look.layers if each.kind == "weights"] for look in looks])
        weights.plot(at, norms / norms[0], color=colour, lw=1, alpha=0.6)
        for look, dashes in ((looks[0], ":"), (looks[-1], "-")):
            spreads = [each.gradients.std if each.gradients else np.nan for each in look.inputs_of_activations]
            depth.plot(range(1, len(spreads) + 1), spreads, ls=dashes, color=colour, marker=".", ms=4)
        handles += loss.plot(at, [look.loss for look in looks], color=colour)
    _small(styled(dead, x="step"), "dead ReLUs, mean of all layers")
    top = max(0.05, dead.get_ylim()[1])
    dead.set_ylim(-0.03 * top, top)  # a line at zero does not hide behind the axis
    dead.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _small(styled(weights, x="step"), "weights: their norm, 1 at first")
    _small(styled(depth, x="layer"), "spread of gradients: first ···, last —")
    depth.set_yscale("log")
    _small(styled(loss, x="step"), "loss")
    words = (
        "Bands hold the middle 50 % and 90 % of the numbers, the line is their median; the same images at every step."
    )
    figure.supxlabel(words, color=MUTED, fontsize=9, x=0.01, ha="left")
    if len(watches) > 1:
        figure.legend(handles, list(watches), loc="outside upper left", ncols=4, frameon=False, labelcolor=INK)
    return figure


def _small(axes: Axes, title: str) -> None:
    """A title and ticks for a small panel."""
    axes.set_title(title, color=INK, fontsize=9, loc="left", parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(labelsize=7.5)


def _bands(axes: Axes, looks: Sequence[Any], place: int, what: str, colour: str) -> None:
    """Draw median, quartiles, and the 5 % and 95 % quantiles over time."""
    at = [look.at for look in looks]
    spreads = [getattr(look.inputs_of_activations[place], what) for look in looks]
    values = np.array([[np.nan] * 7 if spread is None else spread.quantiles for spread in spreads])
    for low, high, alpha in ((1, 5, 0.18), (2, 4, 0.32)):
        axes.fill_between(at, values[:, low], values[:, high], color=colour, alpha=alpha, lw=0)
    axes.plot(at, values[:, 3], color=colour, lw=1.4)
