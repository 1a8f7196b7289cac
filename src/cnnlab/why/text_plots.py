"""The plot of a finding, as lines of text for the terminal."""

from __future__ import annotations

import math

import numpy as np

from cnnlab.why.diagnosis import Plot

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 24  # characters of the longest bar
_ROWS = 12  # bars at most
_POINTS = 60  # characters of a line


def text_of(plot: Plot) -> list[str]:
    """Return a plot as lines of text; pictures have none."""
    if plot.kind == "bars":
        values = {name: float(numbers[0]) for name, numbers in list(plot.series.items())[:_ROWS]}
        longest = max((value for value in values.values() if math.isfinite(value)), default=0.0)
        width = max((len(name) for name in values), default=0)
        lines = [f"{name:>{width}} {_bar(value, longest)} {value:.3g}" for name, value in values.items()]
        return [plot.x, *lines] if plot.x else lines
    if plot.kind == "lines":
        width = max((len(name) for name in plot.series), default=0)
        return [f"{name:<{width}} {_sparkline(values)}" for name, values in plot.series.items()]
    return []


def _bar(value: float, longest: float) -> str:
    if not math.isfinite(value) or longest <= 0:
        return ""
    return "█" * max(0, round(_WIDTH * value / longest))


def _sparkline(values: object) -> str:
    """Return a line of blocks whose heights are the values, with the first and the last number."""
    numbers = np.asarray(values, float)
    if not len(numbers):
        return ""
    some = numbers[np.linspace(0, len(numbers) - 1, min(_POINTS, len(numbers))).astype(int)]
    finite = some[np.isfinite(some)]
    if not len(finite):
        return "not a number"
    low, spread = float(finite.min()), float(np.ptp(finite)) or 1.0
    blocks = (" " if not math.isfinite(one) else _BLOCKS[int(7 * (one - low) / spread)] for one in some.tolist())
    return f"{''.join(blocks)} {numbers[0]:.3g} to {numbers[-1]:.3g}"
