"""Looking inside a network: filters, feature maps, changed and invented images, images as points."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cnnlab.errors import UsageError
from cnnlab.figures._page import Array, Page, mosaic, signed_colours, top_of, warm_colours
from cnnlab.figures.images import to_picture
from cnnlab.figures.maps import colour_bar
from cnnlab.figures.plots import CYCLE
from cnnlab.figures.style import BLUE, INK, MUTED, new_figure, shorten


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
        return np.stack([to_picture(0.5 + each / 2) for each in unit])
    return np.stack([signed_colours(each, 1.0) for each in unit.reshape(-1, *kernels.shape[2:])])


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
    signed, top = bool(values.min() < 0), top_of(values)
    colours = [signed_colours(each, top) if signed else warm_colours(each, top) for each in values]
    columns = 1 if count == 1 else 4 if count <= 8 else 8
    rows = math.ceil(count / columns)
    side = 2.4
    cell = side if count == 1 else max(1.25 if columns == 4 else 0.85, side / rows)
    cell_h, label = cell * high / wide, 0.17
    image = to_picture(picture, "HWC")
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
        signed, top = bool(values.min() < 0), top_of(values)
        page.text(left, y, name, size=11, weight="bold")
        page.text(left + 0.11 * len(name) + 0.25, y + 0.02, f"{zero:.0%} of all outputs are zero", colour=MUTED)
        for number, (each, title) in enumerate(zip(values, names, strict=True)):
            x = left + number * (cell + gap)
            page.text(x + cell / 2, y + 0.3 + label - 0.02, title, size=7.5, colour=MUTED, ha="center", va="bottom")
            page.picture(
                signed_colours(each, top) if signed else warm_colours(each, top), x, y + 0.3 + label, cell, tall
            )
        bar = page.axes(left + count * (cell + gap) + 0.08, y + 0.3 + label, 0.12, tall)
        colour_bar(bar, top, signed=signed)
    return page.figure


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
    pictures = (
        to_picture(before, "HWC"),
        to_picture(np.clip(0.5 + factor * change, 0, 1), "HWC"),
        to_picture(after, "HWC"),
    )
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
    pictures = to_picture(before, "HWC"), to_picture(after, "HWC")
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
            pixels, (top, first, bottom, last) = to_picture(picture, "HWC"), box
            whole = (top, first, bottom, last) == (0, 0, *pixels.shape[:2])
            shown = pixels[top:bottom, first:last] if cut else pixels
            scale = cell / max(shown.shape[:2])
            width, height = shown.shape[1] * scale, shown.shape[0] * scale
            x = left + position * (cell + gap)
            x, y_ = x + (cell - width) / 2, y + (cell - height) / 2
            page.picture(shown, x, y_, width, height)
            if not cut and not whole:
                page.frame(x + first * scale, y_ + top * scale, (last - first) * scale, (bottom - top) * scale, 1.2)
            page.text(
                left + position * (cell + gap) + cell / 2,
                y + cell + 0.04,
                f"{value:.3g}",
                size=7.5,
                colour=MUTED,
                ha="center",
            )
    what = "the part of each that the unit sees" if cut else "framed: what the unit sees"
    page.text(0.15, page.height - 0.27, f"The strongest of {count} images; {what}. Below: its output.", colour=MUTED)
    return page.figure


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
    size = float(np.clip(9000 / len(where), 5, 36))
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
    axes.set_title(textwrap.fill(caption, 84), color=MUTED, fontsize=9, loc="left", y=-0.06, va="top", parse_math=False)
    return figure
