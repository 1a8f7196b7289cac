"""Expected value, actual value and difference of a wrong output, side by side."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cnnlab.errors import UsageError
from cnnlab.figures.style import MUTED, new_figure, styled
from cnnlab.learn.comparison import Comparison, corner, shown_part


def draw_comparison(comparison: Comparison | None) -> Figure:
    """Draw expected value, actual value and difference on one scale of colours, the numbers in the cells.

    Raises:
        UsageError: the verdict has no values to compare.
    """
    if comparison is None or not comparison.expected.size:
        raise UsageError("The verdict has no values to draw: either nothing is wrong, or there was no result.")
    expected, got = np.asarray(comparison.expected, float), np.asarray(comparison.got, float)
    if expected.shape == got.shape:
        parts, cut = shown_part(expected, got, 8, 8)
        parts.append(parts[1] - parts[0])
    else:
        parts, cut = [corner(expected, 8, 8), corner(got, 8, 8)], ""
    titles = (f"expected {expected.shape}", f"got {got.shape}", "difference")
    finite = np.concatenate([np.abs(part[np.isfinite(part)]) for part in parts])
    limit = float(finite.max(initial=0.0)) or 1.0
    height = max(part.shape[0] for part in parts)
    figure = new_figure(3.3 * len(parts), float(np.clip(0.36 * height + 1.2, 1.7, 5)), layout="compressed")
    for axes, part, title in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, titles, strict=False):
        styled(axes, grid=False)
        if part.size:  # of an empty result the title says all
            axes.imshow(part, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        for (row, column), value in np.ndenumerate(part):
            colour = "white" if abs(value) > 0.6 * limit else "black"
            axes.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=7, color=colour)
    title = f"{comparison.output} for {comparison.about}" + (f", {cut}" if cut else "")
    figure.suptitle(title, fontsize=8, color=MUTED)
    return figure


def as_svg(comparison: Comparison) -> str:
    """Return the picture on white as the text of an SVG element, the same each time."""
    file = io.StringIO()
    # The salt keeps the ids inside apart from those of other pictures on the page.
    with matplotlib.rc_context({"svg.hashsalt": f"{comparison.output} {comparison.about}"}):
        draw_comparison(comparison).savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :].replace("<svg", '<svg style="max-width: 100%; height: auto"', 1)
