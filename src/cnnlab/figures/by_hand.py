"""A convolution by hand: what a kernel makes of an image, and where one of its numbers comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnnlab.figures._page import Array, Page, in_colours, signed_colours
from cnnlab.figures.images import input_picture
from cnnlab.figures.maps import SIGNED
from cnnlab.figures.style import GRID, MUTED

GREY = colormaps["gray"]


def output_pixel(
    image: npt.ArrayLike,
    patch: npt.ArrayLike,
    kernel: npt.ArrayLike,
    bias: float,
    output: npt.ArrayLike,
    *,
    at: tuple[int, int],
    rows: Sequence[int] | Array,
    columns: Sequence[int] | Array,
) -> Figure:
    """Draw where one number of a convolution comes from: patch x kernel = products, and their sum.

    Of more than three channels those are drawn whose products have the largest sums; the others are one number.

    Args:
        image: (C, H, W), what the window moves over.
        patch, kernel: (C, kh, kw).
        bias: added to the sum.
        output: (H', W'), what comes out.
        at: row and column there.
        rows, columns: (kh,) and (kw,), where the patch is in the image.
    """
    image, patch, kernel, output = (np.asarray(each, dtype=float) for each in (image, patch, kernel, output))
    products = patch * kernel
    sums = products.sum(axis=(1, 2))
    strongest = np.argsort(-np.abs(sums), kind="stable")[:3]
    shown = range(len(sums)) if len(sums) <= 3 else sorted(strongest.tolist())
    high, wide = kernel.shape[1:]
    cell = min(0.46, 2.3 / wide, 2.3 / high)
    block_w, block_h = cell * wide, cell * high
    side, sign, gap, above = 2.1, 0.34, 0.42, 0.6
    body = max(len(shown) * (block_h + gap) - gap, side)
    start, width = 0.15 + side + 0.4, 0.15 + side + 0.4 + 3 * block_w + 2 * sign + 1.3 + side + 0.15
    page = Page(width, above + body + 0.75)
    first = above + (body - len(shown) * (block_h + gap) + gap) / 2
    middle = above + (body - side) / 2
    if len(sums) in (1, 3):
        seen, title = input_picture(image), "the patch in the input"
    else:
        seen, title = in_colours(image[strongest[0]]), f"the patch in channel {strongest[0]}"
    _framed(page, seen, 0.15, middle, side, (rows, columns), title)
    _framed(page, in_colours(output), width - 0.15 - side, middle, side, ([at[0]], [at[1]]), "its place in the output")
    limits = [(float(image.min()), float(image.max()))]
    limits += [(-top, top) for top in (float(np.abs(each).max()) or 1.0 for each in (kernel, products))]
    for position, values in enumerate((patch, kernel, products)):
        left = start + position * (block_w + sign)
        page.text(
            left + block_w / 2, first - 0.3, ("patch", "kernel", "products")[position], 10, ha="center", va="bottom"
        )
        for line, number in enumerate(shown):
            top = first + line * (block_h + gap)
            colours = GREY if position == 0 else SIGNED
            _matrix(page, left, top, cell, values[number], limits[position], colours, _writer(values[list(shown)]))
            if position < 2:
                page.text(left + block_w + sign / 2, top + block_h / 2, "×="[position], 13, ha="center", va="center")
    for line, number in enumerate(shown):
        top = first + line * (block_h + gap)
        if len(sums) > 1:
            name = ("red", "green", "blue")[number] if len(sums) == 3 else f"channel {number}"
            page.text(start, top - 0.05, name, size=8, colour=MUTED, va="bottom")
        page.text(
            start + 3 * block_w + 2 * sign + 0.1, top + block_h / 2, f"sum {_number(sums[number])}", 10, va="center"
        )
    parts = [_number(sums[number]) for number in shown]
    rest = len(sums) - len(shown)
    if rest:
        parts.append(f"{_number(sums.sum() - sums[list(shown)].sum())} (the other {rest} channels)")
    total = " + ".join(parts) + f" + {_number(bias)} (bias) = {_number(sums.sum() + bias)}"
    page.text(width / 2, page.height - 0.35, total.replace("+ −", "− "), size=11, weight="bold", ha="center")
    return page.figure


def kernel_results(image: npt.ArrayLike, results: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]]) -> Figure:
    """Draw an image and what kernels make of it.

    Args:
        image: (C, H, W).
        results: name of a kernel to the kernel (kh, kw) and to what came out, (C, H', W'). Where its weights sum to
            zero, that is drawn around zero, blue below and red above.
    """
    image = np.asarray(image, dtype=float)
    count = len(results) + 1
    columns = min(count, 3)
    side, strip, gap = 2.3, 0.95, 0.25
    tall = side * image.shape[1] / image.shape[2]
    lines = math.ceil(count / columns)
    page = Page(gap + columns * (side + gap), lines * (strip + tall + 0.12) + 0.4)
    page.text(gap, strip - 0.12, "image", size=11, va="bottom")
    page.picture(input_picture(image), gap, strip, side, tall)
    for position, (name, (kernel, values)) in enumerate(results.items(), start=1):
        left = gap + position % columns * (side + gap)
        top = position // columns * (strip + tall + 0.12)
        weights, outcome = np.asarray(kernel, dtype=float), np.asarray(values, dtype=float)
        cell = min(0.26, 0.78 / max(weights.shape))
        limit = float(np.abs(weights).max()) or 1.0
        place = left + side - cell * weights.shape[1], top + strip - 0.08 - cell * weights.shape[0]
        _matrix(page, *place, cell, weights, (-limit, limit), SIGNED, _fraction)
        page.text(left, top + strip - 0.12, name.replace("_", " "), size=11, va="bottom")
        around_zero = abs(weights.sum()) < 1e-6
        pixels = signed_colours(outcome.mean(axis=0)) if around_zero else input_picture(outcome, image)
        page.picture(pixels, left, top + strip, side, tall)
    if any(abs(np.sum(np.asarray(kernel, dtype=float))) < 1e-6 for kernel, _ in results.values()):
        words = "Results of kernels that sum to 0 are drawn around it: blue below, red above."
        page.text(gap, page.height - 0.3, words, colour=MUTED)
    return page.figure


def _framed(page: Page, pixels: Array, left: float, top: float, side: float, box: tuple[Any, Any], title: str) -> None:
    """Draw a picture that fits a square, with a frame around rows and columns of it, which may be outside."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    left, top = left + (side - width * scale) / 2, top + (side - height * scale) / 2
    page.picture(pixels, left, top, width * scale, height * scale)
    rows, columns = np.asarray(box[0]), np.asarray(box[1])
    high, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    grow = max(0.0, max(height, width) / 24 - min(high, wide)) / 2  # one pixel of a large image would not be seen
    page.frame(
        left + (columns.min() - grow) * scale,
        top + (rows.min() - grow) * scale,
        (wide + 2 * grow) * scale,
        (high + 2 * grow) * scale,
    )
    page.text(left + width * scale / 2, top + height * scale + 0.12, title, colour=MUTED, ha="center")


def _matrix(
    page: Page, left: float, top: float, cell: float, values: Array, limits: tuple[float, float], cmap: Any, text: Any
) -> None:
    """Draw numbers in coloured cells of ``cell`` inches."""
    low, high = limits if limits[0] < limits[1] else (limits[0] - 1, limits[1] + 1)
    colours = cmap(np.clip((values - low) / (high - low), 0, 1))[..., :3]
    rows, columns = values.shape
    page.picture(colours, left, top, columns * cell, rows * cell)
    lines = [((left, left + columns * cell), (top + i * cell,) * 2) for i in range(1, rows)]
    lines += [((left + i * cell,) * 2, (top, top + rows * cell)) for i in range(1, columns)]
    for xs, ys in lines:
        page.canvas.plot(xs, ys, color="#ffffff", lw=1)
    page.canvas.add_patch(Rectangle((left, top), columns * cell, rows * cell, fill=False, ec=GRID, lw=0.8))
    if cell < 0.3 and columns > 3:  # numbers would be too small to be read
        return
    labels = [[text(value) for value in row] for row in values]
    size = min(9.0, cell * 72 / (0.62 * max(3, *(len(label) for row in labels for label in row))))
    for row, column in np.ndindex(rows, columns):
        bright = colours[row, column] @ (0.299, 0.587, 0.114)
        page.text(
            left + (column + 0.5) * cell, top + (row + 0.5) * cell, labels[row][column], size,
            "#000000" if bright > 0.5 else "#ffffff", ha="center", va="center",
        )  # fmt: skip


def _writer(values: Array) -> Any:
    """How the numbers of a matrix are written: whole ones as such, others all with the same places."""
    size = float(np.abs(values).max())
    places = 0 if np.allclose(values, np.round(values)) or size >= 1000 else 1 if size >= 100 else 2

    def write(value: float) -> str:
        return f"{round(float(value), places) + 0.0:.{places}f}".replace("-", "−")  # + 0.0: no "-0"

    return write


def _number(value: float) -> str:
    whole = abs(value - round(value)) < 1e-9
    return f"{value + 0.0:.{0 if whole else 3 if abs(value) < 10 else 1}f}".replace("-", "−")


def _fraction(value: float) -> str:
    near = Fraction(float(value)).limit_denominator(32)
    text = str(near) if abs(float(near) - value) < 1e-9 else f"{value:.2g}"
    return text.replace("-", "−")
