"""Images before and after a change: adversarial examples and deep dreams."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cnnlab.figures.canvas import MARGIN, Canvas, letters
from cnnlab.figures.pictures import to_picture
from cnnlab.figures.style import shorten


def fooling(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    difference: npt.ArrayLike,
    *,
    answers: Sequence[str],
    caption: str = "",
) -> Figure:
    """Draw image + difference = adversarial example, with the network's answers to both.

    Args:
        before, after: the two images, uint8 or 0..1, (H, W) or (H, W, 3).
        difference: the perturbation, (C, H, W), in shares of the pixel range. It is magnified until it is visible;
            mid-grey is no change.
        answers: texts of the network's answers to the image and to the adversarial example.
        caption: a sentence or two below the images.
    """
    change = np.asarray(difference, dtype=float)
    change = change if len(change) == 3 else change.mean(axis=0)
    largest = float(np.percentile(np.abs(change), 99.5)) or float(np.abs(change).max())
    factor = _round_down(0.5 / largest) if largest else 1
    pictures = to_picture(before, "HWC"), to_picture(0.5 + factor * change), to_picture(after, "HWC")
    titles = answers[0], f"difference, {factor:g} times magnified", answers[1]
    side, sign = 2.6, 0.42
    height = side * pictures[0].shape[0] / pictures[0].shape[1]
    canvas = Canvas(3 * side + 2 * sign + 2 * MARGIN)
    for position, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        left = MARGIN + position * (side + sign)
        canvas.picture(picture, left, canvas.top, side, height)
        bold = position != 1
        text = shorten(title, letters(side + 2 * MARGIN, 10, bold=bold))
        weight = "bold" if bold else "normal"
        canvas.text(left + side / 2, canvas.top + height + 0.1, text, size=10, ha="center", weight=weight)
        if position < 2:
            centre = left + side + sign / 2, canvas.top + height / 2
            canvas.text(*centre, "+="[position], size=16, ha="center", va="center")
    canvas.top += height + 0.42
    canvas.paragraph(caption)
    return canvas.finish()


def _round_down(factor: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, 50, ... that is not above ``factor``; 1 at least."""
    power = 10.0 ** math.floor(math.log10(max(factor, 1.0)))
    return power * max(step for step in (1, 2, 5) if step * power <= max(factor, 1.0))


def before_and_after(before: npt.ArrayLike, after: npt.ArrayLike, caption: str = "") -> Figure:
    """Draw two pictures (H, W) or (H, W, 3) beside each other, with a line below."""
    pictures = to_picture(before, "HWC"), to_picture(after, "HWC")
    side = 3.6
    height = side * pictures[0].shape[0] / pictures[0].shape[1]
    canvas = Canvas(2 * side + 3 * MARGIN)
    for position, picture in enumerate(pictures):
        canvas.picture(picture, MARGIN + position * (side + MARGIN), canvas.top, side, height)
    canvas.text(MARGIN, canvas.top + height + 0.1, caption, size=10)
    canvas.top += height + 0.3
    return canvas.finish()
