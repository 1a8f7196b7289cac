"""Convolutions: their filters, the result of a kernel on an image, and the arithmetic of one number of the output."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnnlab.errors import UsageError
from cnnlab.figures.canvas import MARGIN, Canvas
from cnnlab.figures.heatmaps import signed_colours
from cnnlab.figures.pictures import Array, Pixels, input_picture, mosaic, to_picture
from cnnlab.figures.style import GRID, MUTED, SIGNED, ink_on

_GREY = colormaps["gray"]


def filters(weights: npt.ArrayLike, layer: str = "", before: npt.ArrayLike | None = None, limit: int = 0) -> Figure:
    """Draw the filters of a convolution, or the same before and after training.

    Each filter is scaled by its own largest weight. Filters on three channels are drawn in colour, mid-grey being
    zero; others slice by slice, blue below zero and red above, and with more than one channel a filter in a row.

    Args:
        weights: the weights, (F, C, kh, kw).
        layer: name of the layer, for the heading.
        before: the same weights before training.
        limit: largest number of filters, and of slices of each; as many as fit when 0.

    Raises:
        UsageError: the weights are no array (F, C, kh, kw).
    """
    kernels = np.asarray(weights, dtype=float)
    if kernels.ndim != 4 or not kernels.size:
        raise UsageError(f"The weights of a convolution are (F, C, H, W), got an array of shape {kernels.shape}.")
    count, channels, _, _ = kernels.shape
    in_rows = channels not in (1, 3)
    drawn = min(count, limit or (16 if in_rows else 96))
    slices = min(channels, limit or 24) if in_rows else channels
    sides = {"": kernels} if before is None else {"before": np.asarray(before, dtype=float), "after": kernels}
    if in_rows:
        columns, lines = slices, drawn
    else:
        columns = min(drawn, 8 if before is not None or drawn <= 32 else 12)
        lines = math.ceil(drawn / columns)
    panels = {name: mosaic(_filter_tiles(each[:drawn, :slices]), columns) for name, each in sides.items()}
    cell = float(np.clip(min(8.0 / len(sides) / columns, 7.0 / lines), 0.2, 0.7))
    width = columns * cell if in_rows else max(columns * cell, 2.2)
    gap = 0.3
    canvas = Canvas(max(2 * MARGIN + len(sides) * (width + gap) - gap, 4.6))
    if layer:
        canvas.heading(layer)
    if before is not None:
        for position, name in enumerate(panels):
            canvas.text(MARGIN + position * (width + gap), canvas.top + 0.05, name, size=10)
        canvas.top += 0.28
    height = 0.0
    for position, panel in enumerate(panels.values()):
        height = width * panel.shape[0] / panel.shape[1]
        canvas.picture(panel, MARGIN + position * (width + gap), canvas.top, width, height)
    canvas.top += height + 0.12
    canvas.paragraph(_about_filters(kernels, drawn, slices, sides.get("before")))
    return canvas.finish()


def _filter_tiles(kernels: Array) -> Pixels:
    """Return the colours (n, kh, kw, 3) of filters on three channels, or of all slices of others."""
    largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    unit = kernels / np.where(largest > 0, largest, 1)  # -1..1
    if kernels.shape[1] == 3:
        return np.stack([to_picture(0.5 + each / 2) for each in unit])
    return np.stack([signed_colours(each, 1.0) for each in unit.reshape(-1, *kernels.shape[2:])])


def _about_filters(kernels: Array, drawn: int, slices: int, before: Array | None) -> str:
    """Return the caption of a figure of filters: their number and size, which are drawn, and the colours."""
    count, channels, high, wide = kernels.shape
    words = f"{count} filters of {high} x {wide} on {channels} channel{'s' * (channels != 1)}"
    if drawn < count or slices < channels:
        words += f"; the first {drawn}" + (f", and {slices} slices of each" if slices < channels else "")
    words += ". Mid-grey is zero." if channels == 3 else ". Blue is below zero, red above."
    if channels not in (1, 3):
        words += " One filter in a row, a slice for each channel."
    words += " Each filter is scaled by its own largest weight."
    if before is not None:
        moved = np.linalg.norm(kernels - before) / (np.linalg.norm(before) or 1.0)
        words += f" The weights moved by {moved:.0%} of their length."
    return words


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
    """Draw the arithmetic of one number of a convolution's output: patch x kernel = products, and their sum.

    Of more than three channels the three with the largest sums are drawn, and the sum of the others is written.

    Args:
        image: the input of the convolution without its padding, (C, H, W).
        patch, kernel: the part of the input that is multiplied, and the weights, both (C, kh, kw).
        bias: the bias of the output channel.
        output: the result of the convolution, (H', W').
        at: row and column of the number in the output.
        rows, columns: rows (kh,) and columns (kw,) of the patch in the image; in the padding they lie outside.
    """
    image, patch, kernel, output = (np.asarray(each, dtype=float) for each in (image, patch, kernel, output))
    products = patch * kernel
    sums = products.sum(axis=(1, 2))
    strongest = np.argsort(-np.abs(sums), kind="stable")[:3]
    channels = list(range(len(sums))) if len(sums) <= 3 else sorted(strongest.tolist())
    cell = min(0.46, 2.3 / kernel.shape[2], 2.3 / kernel.shape[1])
    side, gap, above = 2.1, 0.42, 0.6  # of the two pictures; between channels; for the names
    table = _ProductTable(cell * kernel.shape[2], cell * kernel.shape[1], gap)
    body = max(len(channels) * (table.height + gap) - gap, side)
    start = MARGIN + side + 0.4
    canvas = Canvas(start + table.width + side + MARGIN)
    middle = above + (body - side) / 2
    if len(sums) in (1, 3):
        input_pixels, title = input_picture(image), "the patch in the input"
    else:
        input_pixels, title = _in_colours(image[strongest[0]]), f"the patch in channel {strongest[0]}"
    _framed(canvas, input_pixels, MARGIN, middle, side, (rows, columns), title)
    right = canvas.width - MARGIN - side
    _framed(canvas, _in_colours(output), right, middle, side, ([at[0]], [at[1]]), "its position in the output")
    top = above + (body - len(channels) * (table.height + gap) + gap) / 2
    table.draw(canvas, start, top, (patch, kernel, products), (image, kernel, products), channels)
    canvas.top = above + body + 0.4
    canvas.text(canvas.width / 2, canvas.top, _sum_of(sums, channels, bias), size=11, weight="bold", ha="center")
    canvas.top += 0.25
    return canvas.finish()


@dataclass(frozen=True)
class _ProductTable:
    """The matrices patch x kernel = products, a line for each channel; lengths are in inches.

    Attributes:
        block: width of a matrix.
        height: height of a matrix.
        gap: length between the lines.
        sign: width of the signs between the matrices.
    """

    block: float
    height: float
    gap: float
    sign: float = 0.34

    @property
    def width(self) -> float:
        """The width of the table, sums included."""
        return 3 * self.block + 2 * self.sign + 1.3

    def draw(
        self,
        canvas: Canvas,
        left: float,
        top: float,
        matrices: tuple[Array, Array, Array],
        ranges: tuple[Array, Array, Array],
        channels: Sequence[int],
    ) -> None:
        """Draw the three ``matrices`` (C, kh, kw) of some channels, each coloured by the values in ``ranges``."""
        patch_range, *signed_ranges = ranges
        limits = [(float(patch_range.min()), float(patch_range.max()))]
        limits += [(-most, most) for most in (float(np.abs(each).max()) or 1.0 for each in signed_ranges)]
        for position, values in enumerate(matrices):
            x = left + position * (self.block + self.sign)
            name = ("patch", "kernel", "products")[position]
            canvas.text(x + self.block / 2, top - 0.3, name, size=10, ha="center", va="bottom")
            write = _writer(values[list(channels)])
            for line, channel in enumerate(channels):
                y = top + line * (self.height + self.gap)
                colours = _GREY if position == 0 else SIGNED
                _matrix(canvas, (x, y), values[channel], self.block / values.shape[2], limits[position], colours, write)
                if position < 2:
                    centre = x + self.block + self.sign / 2, y + self.height / 2
                    canvas.text(*centre, "×="[position], size=13, ha="center", va="center")
        sums = matrices[2].sum(axis=(1, 2))
        for line, channel in enumerate(channels):
            y = top + line * (self.height + self.gap)
            if len(sums) > 1:
                name = ("red", "green", "blue")[channel] if len(sums) == 3 else f"channel {channel}"
                canvas.text(left, y - 0.05, name, size=8, colour=MUTED, va="bottom")
            x = left + 3 * self.block + 2 * self.sign + 0.1
            canvas.text(x, y + self.height / 2, f"sum {_number(sums[channel])}", size=10, va="center")


def _sum_of(sums: Array, channels: Sequence[int], bias: float) -> str:
    """Return the sum over channels and bias as a line of text."""
    parts = [_number(sums[channel]) for channel in channels]
    if rest := len(sums) - len(channels):
        parts.append(f"{_number(sums.sum() - sums[list(channels)].sum())} (the other {rest} channels)")
    total = " + ".join(parts) + f" + {_number(bias)} (bias) = {_number(sums.sum() + bias)}"
    return total.replace("+ −", "− ")


def kernel_results(image: npt.ArrayLike, results: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]]) -> Figure:
    """Draw an image and the results of kernels on it.

    Args:
        image: the input, (C, H, W).
        results: name of a kernel -> the kernel (kh, kw) and its output (C, H', W'). Where the kernel's weights sum to
            zero, the output is drawn around zero, blue below and red above.
    """
    image = np.asarray(image, dtype=float)
    count = len(results) + 1
    columns = min(count, 3)
    side, strip, gap = 2.3, 0.95, 0.25
    height = side * image.shape[1] / image.shape[2]
    step = strip + height + 0.12
    canvas = Canvas(2 * MARGIN + columns * (side + gap) - gap)
    canvas.text(MARGIN, strip - 0.12, "image", size=11, va="bottom")
    canvas.picture(input_picture(image), MARGIN, strip, side, height)
    for position, (name, (kernel, values)) in enumerate(results.items(), start=1):
        left, top = MARGIN + position % columns * (side + gap), position // columns * step + strip
        weights, output = np.asarray(kernel, dtype=float), np.asarray(values, dtype=float)
        cell = min(0.26, 0.78 / max(weights.shape))
        limit = float(np.abs(weights).max()) or 1.0
        corner = left + side - cell * weights.shape[1], top - 0.08 - cell * weights.shape[0]
        _matrix(canvas, corner, weights, cell, (-limit, limit), SIGNED, _fraction)
        canvas.text(left, top - 0.12, name.replace("_", " "), size=11, va="bottom")
        pixels = signed_colours(output.mean(axis=0)) if _sums_to_zero(weights) else input_picture(output, image)
        canvas.picture(pixels, left, top, side, height)
    canvas.top = math.ceil(count / columns) * step + 0.08
    if any(_sums_to_zero(np.asarray(kernel, dtype=float)) for kernel, _ in results.values()):
        canvas.paragraph("Results of kernels that sum to 0 are drawn around it: blue below, red above.")
    return canvas.finish()


def _sums_to_zero(kernel: Array) -> bool:
    return abs(float(kernel.sum())) < 1e-6


def _in_colours(values: Array) -> Pixels:
    """Return the picture of a map (H, W): around zero if it has both signs, else in grey from black to white."""
    return signed_colours(values) if values.min() < 0 < values.max() else input_picture(values[None])


def _framed(
    canvas: Canvas,
    pixels: Pixels,
    left: float,
    top: float,
    side: float,
    box: tuple[Sequence[int] | Array, Sequence[int] | Array],
    title: str,
) -> None:
    """Draw a picture that fits a square of ``side`` inches, with a frame around a box of it and a title below.

    Args:
        canvas: the canvas to draw on.
        pixels: the picture.
        left, top: corner of the square in inches.
        side: side of the square in inches.
        box: rows and columns of the box in pixels; they may lie outside, in the padding.
        title: text below the picture.
    """
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    left, top = left + (side - width * scale) / 2, top + (side - height * scale) / 2
    canvas.picture(pixels, left, top, width * scale, height * scale)
    rows, columns = np.asarray(box[0]), np.asarray(box[1])
    high, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    grow = max(0.0, max(height, width) / 24 - min(high, wide)) / 2  # one pixel of a large image would be invisible
    corner = left + (columns.min() - grow) * scale, top + (rows.min() - grow) * scale
    canvas.frame(*corner, (wide + 2 * grow) * scale, (high + 2 * grow) * scale)
    canvas.text(left + width * scale / 2, top + height * scale + 0.12, title, colour=MUTED, ha="center")


def _matrix(
    canvas: Canvas,
    corner: tuple[float, float],
    values: Array,
    cell: float,
    limits: tuple[float, float],
    colours: Colormap,
    write: Callable[[float], str],
) -> None:
    """Draw a matrix as coloured cells with its numbers in them.

    Args:
        canvas: the canvas to draw on.
        corner: left and top of the matrix in inches.
        values: the matrix, (rows, columns).
        cell: side of a cell in inches.
        limits: values of the first and the last colour.
        colours: the colour map.
        write: function from a number to its text.
    """
    low, high = limits if limits[0] < limits[1] else (limits[0] - 1, limits[1] + 1)
    fills = colours(np.clip((values - low) / (high - low), 0, 1))[..., :3]
    rows, columns = values.shape
    left, top = corner
    canvas.picture(fills, left, top, columns * cell, rows * cell)
    for i in range(1, rows):
        canvas.page.plot((left, left + columns * cell), (top + i * cell,) * 2, color="#ffffff", lw=1)
    for i in range(1, columns):
        canvas.page.plot((left + i * cell,) * 2, (top, top + rows * cell), color="#ffffff", lw=1)
    canvas.page.add_patch(Rectangle(corner, columns * cell, rows * cell, fill=False, ec=GRID, lw=0.8))
    if cell < 0.3 and columns > 3:
        return  # numbers would be too small to be read
    texts = [[write(value) for value in row] for row in values]
    size = min(9.0, cell * 72 / (0.62 * max(3, *(len(text) for row in texts for text in row))))
    for row, column in np.ndindex(rows, columns):
        centre = left + (column + 0.5) * cell, top + (row + 0.5) * cell
        canvas.text(*centre, texts[row][column], size, ink_on(fills[row, column]), ha="center", va="center")


def _writer(values: Array) -> Callable[[float], str]:
    """Return a function that writes the numbers of a matrix, all with equally many decimals; whole ones with none."""
    largest = float(np.abs(values).max())
    decimals = 0 if np.allclose(values, np.round(values)) or largest >= 1000 else 1 if largest >= 100 else 2

    def write(value: float) -> str:
        return f"{round(float(value), decimals) + 0.0:.{decimals}f}".replace("-", "−")  # + 0.0: no "-0"

    return write


def _number(value: float) -> str:
    """Write a number, with a true minus sign, without decimals if it is whole, else with three, or one from 10 on."""
    whole = abs(value - round(value)) < 1e-9
    return f"{value + 0.0:.{0 if whole else 3 if abs(value) < 10 else 1}f}".replace("-", "−")


def _fraction(value: float) -> str:
    """Write a weight as a fraction with a denominator of at most 32 where it is one, else in two digits."""
    near = Fraction(float(value)).limit_denominator(32)
    text = str(near) if abs(float(near) - value) < 1e-9 else f"{value:.2g}"
    return text.replace("-", "−")
