"""Looking inside a network: filters, feature maps, a convolution by hand, changed and invented images, training."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cnnlab.errors import UsageError
from cnnlab.figures.maps import SIGNED, WARM, as_pixels, colour_bar, show_pixels
from cnnlab.figures.plots import CYCLE
from cnnlab.figures.style import BLUE, GRID, INK, MUTED, ORANGE, new_figure, shorten, styled

Array = npt.NDArray[Any]


class Page:
    """A figure on which things are put at places in inches, counted from the top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = new_figure(width, height, layout="none")

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        return self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )

    def picture(self, pixels: npt.ArrayLike, left: float, top: float, width: float, height: float) -> Axes:
        axes = self.axes(left, top, width, height)
        show_pixels(axes, as_pixels(pixels))
        return axes

    def text(self, left: float, top: float, text: str, size: float = 9, colour: str = INK, **style: Any) -> None:
        options: dict[str, Any] = {"ha": "left", "va": "top", "parse_math": False} | style
        self.figure.text(left / self.width, 1 - top / self.height, text, color=colour, fontsize=size, **options)


# A convolution by hand


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
        seen, title = _picture(image), "the patch in the input"
    else:
        seen, title = _signed_or_grey(image[strongest[0]]), f"the patch in channel {strongest[0]}"
    _framed(page, seen, 0.15, middle, side, (rows, columns), title)
    _framed(
        page, _signed_or_grey(output), width - 0.15 - side, middle, side, ([at[0]], [at[1]]), "its place in the output"
    )
    limits = [(float(image.min()), float(image.max()))]
    limits += [(-top, top) for top in (float(np.abs(each).max()) or 1.0 for each in (kernel, products))]
    for position, values in enumerate((patch, kernel, products)):
        left = start + position * (block_w + sign)
        page.text(
            left + block_w / 2, first - 0.3, ("patch", "kernel", "products")[position], 10, ha="center", va="bottom"
        )
        for line, number in enumerate(shown):
            top = first + line * (block_h + gap)
            axes = page.axes(left, top, block_w, block_h)
            _matrix(axes, values[number], limits[position], position > 0, _writer(values[list(shown)]), cell)
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
    page.picture(_picture(image), gap, strip, side, tall)
    for position, (name, (kernel, values)) in enumerate(results.items(), start=1):
        left = gap + position % columns * (side + gap)
        top = position // columns * (strip + tall + 0.12)
        weights, outcome = np.asarray(kernel, dtype=float), np.asarray(values, dtype=float)
        cell = min(0.26, 0.78 / max(weights.shape))
        size = cell * weights.shape[1], cell * weights.shape[0]
        limit = float(np.abs(weights).max()) or 1.0
        axes = page.axes(left + side - size[0], top + strip - 0.08 - size[1], *size)
        _matrix(axes, weights, (-limit, limit), True, _fraction, cell)
        page.text(left, top + strip - 0.12, name.replace("_", " "), size=11, va="bottom")
        around_zero = abs(weights.sum()) < 1e-6
        pixels = _signed(outcome.mean(axis=0)) if around_zero else _picture(outcome, image)
        page.picture(pixels, left, top + strip, side, tall)
    if any(abs(np.sum(np.asarray(kernel, dtype=float))) < 1e-6 for kernel, _ in results.values()):
        words = "Results of kernels that sum to 0 are drawn around it: blue below, red above."
        page.text(gap, page.height - 0.3, words, colour=MUTED)
    return page.figure


def _framed(page: Page, pixels: Array, left: float, top: float, side: float, box: tuple[Any, Any], title: str) -> None:
    """Draw a picture that fits a square, with a frame around rows and columns of it, which may be outside."""
    height, width = pixels.shape[:2]
    rows, columns = np.asarray(box[0]), np.asarray(box[1])
    scale = side / max(height, width)
    axes = page.axes(
        left + (side - width * scale) / 2, top + (side - height * scale) / 2, width * scale, height * scale
    )
    show_pixels(axes, pixels)
    low, size = (columns.min() - 0.5, rows.min() - 0.5), (np.ptp(columns) + 1, np.ptp(rows) + 1)
    grow = max(0.0, max(height, width) / 24 - min(size)) / 2  # a single pixel of a large image would not be seen
    low, size = (low[0] - grow, low[1] - grow), (size[0] + 2 * grow, size[1] + 2 * grow)
    for colour, thick in (("#ffffff", 3.0), (ORANGE, 1.5)):
        axes.add_patch(Rectangle(low, *size, fill=False, ec=colour, lw=thick, clip_on=False))
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    page.text(left + side / 2, top + (side + height * scale) / 2 + 0.12, title, colour=MUTED, ha="center")


def _matrix(axes: Axes, values: Array, limits: tuple[float, float], signed: bool, text: Any, cell: float) -> None:
    """Draw numbers in coloured cells."""
    colours = SIGNED if signed else "gray"
    low, high = limits if limits[0] < limits[1] else (limits[0] - 1, limits[1] + 1)
    shown = axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.set_xticks(np.arange(values.shape[1] + 1) - 0.5, [])
    axes.set_yticks(np.arange(values.shape[0] + 1) - 0.5, [])
    axes.grid(color="#ffffff", lw=1)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    if cell < 0.3 and values.shape[1] > 3:  # numbers would be too small to be read
        return
    size = min(9.0, cell * 72 / (0.62 * max(*(len(text(value)) for value in values.ravel()), 3)))
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = shown.cmap(shown.norm(value))
        ink = "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "#ffffff"
        axes.text(column, row, text(value), ha="center", va="center", color=ink, fontsize=size, parse_math=False)


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


def _picture(image: Array, like: Array | None = None) -> Array:
    """A picture (H, W) or (H, W, 3) of channels (C, H, W), black and white where ``like`` has its least and most."""
    like = image if like is None else like
    low, high = float(like.min()), float(like.max())
    unit = np.clip((image - low) / ((high - low) or 1.0), 0, 1)
    return np.round((unit.transpose(1, 2, 0) if len(unit) == 3 else unit.mean(axis=0)) * 255).astype(np.uint8)


def _signed(values: Array, top: float | None = None) -> Array:
    """The colours (H, W, 3) of a map around zero; the strongest 0.5 % of the pixels have the same."""
    top = _top(values) if top is None else top
    return np.round(SIGNED(np.clip(values / (2 * top) + 0.5, 0, 1))[..., :3] * 255).astype(np.uint8)


def _warm(values: Array, top: float) -> Array:
    return np.round(WARM(np.clip(values / top, 0, 1))[..., :3] * 255).astype(np.uint8)


def _signed_or_grey(values: Array) -> Array:
    """A map of both signs around zero, one of one sign from black to white."""
    return _signed(values) if values.min() < 0 < values.max() else _picture(values[None])


def _top(values: Array) -> float:
    size = np.abs(values)
    return float(np.percentile(size, 99.5)) or float(size.max()) or 1.0


# Filters and feature maps


def filter_grid(weights: npt.ArrayLike, layer: str, before: npt.ArrayLike | None = None, limit: int = 0) -> Figure:
    """Draw the filters of a convolution, or the same before and after training.

    Args:
        weights: (F, C, kh, kw). Filters on three channels are drawn in colour, mid-grey being zero; others slice by
            slice, a filter in a row, blue below zero and red above. Each filter is scaled by its own largest weight.
        layer: its name.
        before: the same before training.
        limit: how many filters, and slices of each; what fits when 0.

    Raises:
        UsageError: the weights have another shape.
    """
    kernels = np.asarray(weights, dtype=float)
    if kernels.ndim != 4 or not kernels.size:
        raise UsageError(f"The weights of a convolution are (F, C, H, W), got an array of shape {kernels.shape}.")
    count, channels, high, wide = kernels.shape
    sides = {"": kernels} if before is None else {"before": np.asarray(before, dtype=float), "after": kernels}
    in_rows = channels not in (1, 3)
    shown = min(count, limit or (16 if in_rows else 96))
    slices = min(channels, limit or 24)
    columns = slices if in_rows else min(shown, 8 if before is not None or shown <= 32 else 12)
    panels = {name: _filter_tiles(each[:shown, : slices if in_rows else channels]) for name, each in sides.items()}
    lines = math.ceil(shown * (slices if in_rows else 1) / columns)
    cell = float(np.clip(min(8.0 / len(sides) / columns, 7.0 / lines), 0.2, 0.7))
    canvases = {name: mosaic(tiles, columns) for name, tiles in panels.items()}
    height, width = next(iter(canvases.values())).shape[:2]
    panel = max(columns * cell, 2.2) if not in_rows else columns * cell
    tall = panel * height / width
    gap, above, names = 0.3, 0.5, 0.3 if before is not None else 0.0
    words = [f"{count} filters of {high} x {wide} on {channels} channel{'s' * (channels != 1)}"]
    if shown < count or (in_rows and slices < channels):
        words[0] += f"; the first {shown}" + (f", and {slices} slices of each" if in_rows and slices < channels else "")
    words.append("Mid-grey is zero." if channels == 3 else "Blue is below zero, red above.")
    words.append("One filter in a row, a slice for each channel." if in_rows else "")
    words.append("Each filter is scaled by its own largest weight.")
    if before is not None:
        first = np.asarray(before, dtype=float)
        moved = np.linalg.norm(kernels - first) / (np.linalg.norm(first) or 1.0)
        words.append(f"The weights moved by {moved:.0%} of their length.")
    total = max(gap + len(sides) * (panel + gap), 4.6)
    lines = textwrap.wrap(". ".join([words[0], " ".join(word for word in words[1:] if word)]), int(total * 72 / 5))
    page = Page(total, above + names + tall + 0.15 + 0.18 * len(lines) + 0.1)
    page.text(gap, 0.12, layer, size=12, weight="bold")
    for position, (name, canvas) in enumerate(canvases.items()):
        left = gap + position * (panel + gap)
        page.text(left, above, name, size=10)
        page.picture(canvas, left, above + names, panel, tall)
    for position, line in enumerate(lines):
        page.text(gap, above + names + tall + 0.15 + 0.18 * position, line, colour=MUTED)
    return page.figure


def _filter_tiles(kernels: Array) -> Array:
    """The colours (n, kh, kw, 3) of filters, or of all their slices, each filter scaled by its largest weight."""
    largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    unit = kernels / np.where(largest > 0, largest, 1)
    if kernels.shape[1] == 3:
        return np.round((0.5 + unit / 2).transpose(0, 2, 3, 1) * 255).astype(np.uint8)
    return _signed(unit.reshape(-1, *kernels.shape[2:]), 1.0)


def mosaic(tiles: Array, columns: int, gap: int | None = None) -> Array:
    """Put pictures (n, h, w, 3) of one size into rows, white lines between them; small ones are enlarged."""
    factor = max(1, round(48 / max(tiles.shape[1:3])))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, _ = tiles.shape
    gap = max(2, round(max(height, width) / 16)) if gap is None else gap
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for position, tile in enumerate(tiles):
        top, left = position // columns * (height + gap), position % columns * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    return canvas


def feature_maps(
    maps: npt.ArrayLike, picture: npt.ArrayLike, names: Sequence[str], layer: str, note: str = ""
) -> Figure:
    """Draw the image and the maps that a layer makes of it, all on one scale.

    Args:
        maps: (n, h, w). Where there are negative numbers they are drawn around zero, blue below and red above.
        picture: the image, uint8 or 0..1, (H, W) or (H, W, 3).
        names: n names, such as the numbers of the channels.
        layer: its name.
        note: what else there is to say.
    """
    values = np.asarray(maps, dtype=float)
    count, high, wide = values.shape
    signed, top = bool(values.min() < 0), _top(values)
    colours = [_signed(each, top) if signed else _warm(each, top) for each in values]
    columns = 1 if count == 1 else 4 if count <= 8 else 8
    rows = math.ceil(count / columns)
    side = 2.4
    cell = side if count == 1 else max(1.25 if columns == 4 else 0.85, side / rows)
    cell_h, label = cell * high / wide, 0.17
    image = as_pixels(picture)
    image_h = side * image.shape[0] / image.shape[1]
    above, gap = 0.4, 0.07
    left = 0.15 + side + 0.25
    width = left + columns * (cell + gap) + 0.75
    body = max(label + image_h, rows * (cell_h + label + gap))
    words = "Blue is below zero, red above" if signed else "Pale is zero, dark red the most"
    words += "; all maps have one scale. " if count > 1 else ". "
    lines = textwrap.wrap(words + note, int(width * 72 / 5))
    page = Page(width, above + body + 0.18 * len(lines) + 0.2)
    page.text(0.15, 0.12, f"{layer}: {high} x {wide}", size=12, weight="bold")
    page.picture(image, 0.15, above + label, side, image_h)
    for position, (colour, name) in enumerate(zip(colours, names, strict=True)):
        x = left + position % columns * (cell + gap)
        y = above + position // columns * (cell_h + label + gap)
        page.text(x + cell / 2, y + label - 0.02, shorten(name, 24), size=7.5, colour=MUTED, ha="center", va="bottom")
        page.picture(colour, x, y + label, cell, cell_h)
    bar = page.axes(left + columns * (cell + gap) + 0.08, above + label, 0.13, min(side, body - label))
    colour_bar(bar, top, signed=signed, label="output")
    for position, line in enumerate(lines):
        page.text(0.15, above + body + 0.08 + 0.18 * position, line, colour=MUTED)
    return page.figure


def features_beside(rows: Mapping[str, tuple[npt.ArrayLike, Sequence[str], float]]) -> Figure:
    """Draw the maps of several networks in rows, each with its own scale.

    Args:
        rows: name to maps (n, h, w), their n names, and the share of all outputs that are exactly zero.
    """
    count = max(len(names) for _, names, _ in rows.values())
    cell, gap, label, left = 1.1, 0.07, 0.17, 0.15
    first = np.asarray(next(iter(rows.values()))[0])
    tall = cell * first.shape[1] / first.shape[2]
    step = 0.3 + label + tall + 0.15
    page = Page(left + count * (cell + gap) + 0.75, len(rows) * step + 0.1)
    for position, (name, (maps, names, zero)) in enumerate(rows.items()):
        values, y = np.asarray(maps, dtype=float), 0.1 + position * step
        signed, top = bool(values.min() < 0), _top(values)
        page.text(left, y, name, size=11, weight="bold")
        page.text(left + 0.11 * len(name) + 0.25, y + 0.02, f"{zero:.0%} of all outputs are zero", colour=MUTED)
        for number, (each, title) in enumerate(zip(values, names, strict=True)):
            x = left + number * (cell + gap)
            page.text(x + cell / 2, y + 0.3 + label - 0.02, title, size=7.5, colour=MUTED, ha="center", va="bottom")
            page.picture(_signed(each, top) if signed else _warm(each, top), x, y + 0.3 + label, cell, tall)
        bar = page.axes(left + count * (cell + gap) + 0.08, y + 0.3 + label, 0.12, tall)
        colour_bar(bar, top, signed=signed)
    return page.figure


# Changed and invented images


def fooling(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    difference: npt.ArrayLike,
    *,
    answers: Sequence[str],
    caption: str = "",
) -> Figure:
    """Draw image + difference = changed image, with what a network says to both.

    Args:
        before, after: uint8 or 0..1, (H, W) or (H, W, 3).
        difference: (C, H, W) in shares of the pixel range; it is magnified until it is seen, mid-grey being no change.
        answers: to the image and to the changed one.
        caption: a sentence or two.
    """
    change = np.asarray(difference, dtype=float)
    change = change.transpose(1, 2, 0) if len(change) == 3 else change.mean(axis=0)
    largest = float(np.percentile(np.abs(change), 99.5)) or float(np.abs(change).max())
    factor = _round_down(0.5 / largest) if largest else 1
    pictures = (as_pixels(before), as_pixels(np.clip(0.5 + factor * change, 0, 1)), as_pixels(after))
    titles = (answers[0], f"the difference, {factor:g} times magnified", answers[1])
    side, sign = 2.6, 0.42
    tall = side * pictures[0].shape[0] / pictures[0].shape[1]
    width = 3 * side + 2 * sign + 0.3
    lines = textwrap.wrap(caption, int(width * 72 / 5))
    page = Page(width, 0.15 + tall + 0.45 + 0.18 * len(lines) + 0.1)
    for position, (pixels, title) in enumerate(zip(pictures, titles, strict=True)):
        left = 0.15 + position * (side + sign)
        page.picture(pixels, left, 0.15, side, tall)
        page.text(left + side / 2, 0.15 + tall + 0.1, shorten(title, 40), size=10, ha="center",
                  weight="normal" if position == 1 else "bold")  # fmt: skip
        if position < 2:
            page.text(left + side + sign / 2, 0.15 + tall / 2, "+="[position], size=16, ha="center", va="center")
    for position, line in enumerate(lines):
        page.text(0.15, 0.15 + tall + 0.42 + 0.18 * position, line, colour=MUTED)
    return page.figure


def _round_down(factor: float) -> float:
    """1, 2, 5, 10, 20, 50, ...: the largest that is not above ``factor``, 1 at least."""
    power = 10.0 ** math.floor(math.log10(max(factor, 1.0)))
    return power * max(step for step in (1, 2, 5) if step * power <= max(factor, 1.0))


def before_and_after(before: npt.ArrayLike, after: npt.ArrayLike, caption: str = "") -> Figure:
    """Draw two pictures (H, W) or (H, W, 3) beside each other, with a line below."""
    pictures = as_pixels(before), as_pixels(after)
    side = 3.6
    tall = side * pictures[0].shape[0] / pictures[0].shape[1]
    page = Page(2 * side + 0.45, 0.15 + tall + 0.4)
    for position, pixels in enumerate(pictures):
        page.picture(pixels, 0.15 + position * (side + 0.15), 0.15, side, tall)
    page.text(0.15, 0.15 + tall + 0.1, caption, size=10)
    return page.figure


def top_images(
    rows: Mapping[str, Sequence[tuple[npt.ArrayLike, tuple[int, ...], float]]],
    layer: str,
    count: int,
    *,
    cut: bool = True,
) -> Figure:
    """Draw for each unit the images that excite it most.

    Args:
        rows: name of a unit to (picture, box of what it saw: top, left, bottom, right; value), the strongest first.
        layer: its name.
        count: how many images there were to choose from.
        cut: draw what is in the box only, otherwise a frame around it.
    """
    most = max(len(row) for row in rows.values())
    cell, gap, left, above = 1.05, 0.08, 0.95, 0.5
    page = Page(max(left + most * (cell + gap) + 0.1, 4.2), above + len(rows) * (cell + 0.25) + 0.35)
    page.text(0.15, 0.12, layer, size=12, weight="bold")
    for line, (name, row) in enumerate(rows.items()):
        y = above + line * (cell + 0.25)
        page.text(left - 0.12, y + cell / 2, name, ha="right", va="center")
        for position, (picture, box, value) in enumerate(row):
            pixels, (top, first, bottom, last) = as_pixels(picture), box
            whole = (top, first, bottom, last) == (0, 0, *pixels.shape[:2])
            shown = pixels[top:bottom, first:last] if cut else pixels
            scale = cell / max(shown.shape[:2])
            width, height = shown.shape[1] * scale, shown.shape[0] * scale
            x = left + position * (cell + gap)
            axes = page.picture(shown, x + (cell - width) / 2, y + (cell - height) / 2, width, height)
            if not cut and not whole:
                frame = (first - 0.5, top - 0.5), last - first, bottom - top
                for colour, thick in (("#ffffff", 2.6), (ORANGE, 1.3)):
                    axes.add_patch(Rectangle(*frame, fill=False, ec=colour, lw=thick))
            page.text(x + cell / 2, y + cell + 0.04, f"{value:.3g}", size=7.5, colour=MUTED, ha="center")
    what = "the part of each that the unit sees" if cut else "framed: what the unit sees"
    page.text(0.15, page.height - 0.27, f"The strongest of {count} images; {what}. Below: its output.", colour=MUTED)
    return page.figure


# During training


def distributions(watches: Mapping[str, Sequence[Any]], columns: int = 6) -> Figure:
    """Draw how outputs, gradients, weights and dead ReLUs of layers change in one or several trainings.

    Args:
        watches: name of a training to its looks, as :class:`cnnlab.explain.watch.Look`.
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
    dead.set_ylim(0, max(0.05, dead.get_ylim()[1]))
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


def _colour(number: int, count: int) -> Any:
    """Of few classes the house's colours; of many, colours of the rainbow, neighbours in number far apart."""
    if count <= len(CYCLE):
        return CYCLE[number]
    stride = next(step for step in range(round(count * 0.38), count) if math.gcd(step, count) == 1)
    return matplotlib.colormaps["turbo"]((number * stride % count + 0.5) / count)


def embedding(
    points: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    caption: str = "",
) -> Figure:
    """Draw points in the colours of their classes, each class named where its points are.

    Args:
        points: (N, 2).
        labels: (N,) class numbers.
        classes: their names.
        caption: a line below.
    """
    where = np.asarray(points, dtype=float)
    figure = new_figure(6.4, 6.2)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    size = float(np.clip(4000 / len(where), 4, 30))
    if labels is None:
        axes.scatter(where[:, 0], where[:, 1], s=size, color=BLUE, alpha=0.7, lw=0)
    else:
        groups = np.asarray(labels)
        for number, label in enumerate(np.unique(groups)):
            mine = where[groups == label]
            colour = _colour(number, len(np.unique(groups)))
            name = classes[label] if classes is not None else str(label)
            axes.scatter(mine[:, 0], mine[:, 1], s=size, color=colour, alpha=0.7, lw=0, label=name)
            x, y = np.median(mine, axis=0)
            axes.text(x, y, shorten(name, 20), fontsize=10, weight="bold", color=INK, ha="center",
                      va="center", parse_math=False,
                      bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1.2})  # fmt: skip
    axes.set_title(textwrap.fill(caption, 92), color=MUTED, fontsize=9, loc="left", y=-0.06, va="top", parse_math=False)
    return figure
