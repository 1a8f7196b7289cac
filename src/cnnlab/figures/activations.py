"""The outputs of layers: feature maps, images that excite a unit, images as points, distributions."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cnnlab.figures.canvas import MARGIN, Canvas
from cnnlab.figures.heatmaps import colour_bar, colour_limit, signed_colours, warm_colours
from cnnlab.figures.pictures import Array, Pixels, to_picture
from cnnlab.figures.style import BLUE, CYCLE, INK, LEGEND, MUTED, PERCENT, new_figure, shorten, styled


def feature_maps(
    maps: npt.ArrayLike, picture: npt.ArrayLike, names: Sequence[str], layer: str, note: str = ""
) -> Figure:
    """Draw the image and the feature maps that a layer makes of it, all on one scale.

    Args:
        maps: the feature maps, (n, h, w). With negative numbers among them they are drawn around zero, blue below and
            red above.
        picture: the image, uint8 or 0..1, (H, W) or (H, W, 3).
        names: names of the n maps, such as the numbers of the channels.
        layer: name of the layer.
        note: a sentence below the figure.
    """
    values = np.asarray(maps, dtype=float)
    count, high, wide = values.shape
    colours, limit, signed = _on_one_scale(values)
    image = to_picture(picture, "HWC")
    columns = 1 if count == 1 else 4 if count <= 8 else 8
    rows = math.ceil(count / columns)
    side, label, gap = 2.4, 0.17, 0.07
    image_height = side * image.shape[0] / image.shape[1]
    cell = side if count == 1 else max(1.25 if columns == 4 else 0.85, side / rows)
    step_x, step_y = cell + gap, cell * high / wide + label + gap
    left = MARGIN + side + 0.25
    canvas = Canvas(left + columns * step_x + 0.75)
    canvas.heading(f"{layer}: {high} x {wide}")
    top = canvas.top
    canvas.picture(image, MARGIN, top + label, side, image_height)
    for position, (pixels, name) in enumerate(zip(colours, names, strict=True)):
        corner = left + position % columns * step_x, top + position // columns * step_y
        _named_map(canvas, pixels, name, corner, cell)
    body = max(label + image_height, rows * step_y)
    scale = canvas.axes(left + columns * step_x + 0.08, top + label, 0.13, min(side, body - label))
    colour_bar(scale, limit, signed=signed, label="output")
    canvas.top = top + body + 0.08
    words = "Blue is below zero, red above" if signed else "Pale is zero, dark red the most"
    words += "; all maps have one scale. " if count > 1 else ". "
    canvas.paragraph(words + note)
    return canvas.finish()


def features_beside(rows: Mapping[str, tuple[npt.ArrayLike, Sequence[str], float]]) -> Figure:
    """Draw the feature maps of several networks in rows, each with its own scale.

    Args:
        rows: name of a network -> maps (n, h, w), their n names, and the share of all outputs that are exactly zero.
    """
    count = max(len(names) for _, names, _ in rows.values())
    cell, gap, label = 1.1, 0.07, 0.17
    canvas = Canvas(MARGIN + count * (cell + gap) + 0.75)
    for name, (maps, names, zero) in rows.items():
        values = np.asarray(maps, dtype=float)
        colours, limit, signed = _on_one_scale(values)
        height = cell * values.shape[1] / values.shape[2]
        canvas.text(MARGIN, canvas.top, name, size=11, weight="bold")
        share = f"{zero:.0%} of all outputs are zero"
        canvas.text(MARGIN + 0.11 * len(name) + 0.25, canvas.top + 0.02, share, colour=MUTED)
        canvas.top += 0.26
        for position, (pixels, title) in enumerate(zip(colours, names, strict=True)):
            _named_map(canvas, pixels, title, (MARGIN + position * (cell + gap), canvas.top), cell)
        scale = canvas.axes(MARGIN + count * (cell + gap) + 0.08, canvas.top + label, 0.12, height)
        colour_bar(scale, limit, signed=signed)
        canvas.top += label + height + 0.15
    return canvas.finish()


def _on_one_scale(maps: Array) -> tuple[list[Pixels], float, bool]:
    """Return the colours of maps (n, h, w), the value of the strongest, and whether they lie around zero."""
    signed, limit = bool(maps.min() < 0), colour_limit(maps)
    return [signed_colours(each, limit) if signed else warm_colours(each, limit) for each in maps], limit, signed


def _named_map(canvas: Canvas, pixels: Pixels, name: str, corner: tuple[float, float], width: float) -> None:
    """Draw a map with its name above it; the two together begin at ``corner``."""
    left, top = corner
    canvas.text(left + width / 2, top + 0.15, shorten(name, 24), 7.5, MUTED, ha="center", va="bottom")
    canvas.picture(pixels, left, top + 0.17, width, width * pixels.shape[0] / pixels.shape[1])


def top_images(
    rows: Mapping[str, Sequence[tuple[npt.ArrayLike, tuple[int, ...], float]]],
    layer: str,
    count: int,
    *,
    cut: bool = True,
) -> Figure:
    """Draw for each unit the images with its largest outputs.

    Args:
        rows: name of a unit -> (picture, receptive field of the unit in it as a box in pixels (top, left, bottom,
            right), output of the unit), the largest output first.
        layer: name of the layer.
        count: number of images that were searched.
        cut: whether only the pixels in the box are drawn, instead of the whole picture with a frame around the box.
    """
    cell, gap, left, below = 1.05, 0.08, 0.95, 0.25  # inches; below: for the output
    most = max(len(row) for row in rows.values())
    canvas = Canvas(max(left + most * (cell + gap) + 0.1, 4.2))
    canvas.heading(layer)
    for name, row in rows.items():
        canvas.text(left - 0.12, canvas.top + cell / 2, name, ha="right", va="center")
        for position, (picture, box, value) in enumerate(row):
            x = left + position * (cell + gap)
            _boxed(canvas, to_picture(picture, "HWC"), box, (x, canvas.top), cell, cut)
            canvas.text(x + cell / 2, canvas.top + cell + 0.04, f"{value:.3g}", 7.5, MUTED, ha="center")
        canvas.top += cell + below
    field = "the unit's receptive field in each" if cut else "framed: the unit's receptive field"
    canvas.top += 0.05
    canvas.paragraph(f"The strongest of {count} images; {field}. Below: its output.")
    return canvas.finish()


def _boxed(
    canvas: Canvas, pixels: Pixels, box: tuple[int, ...], corner: tuple[float, float], cell: float, cut: bool
) -> None:
    """Draw the pixels in a box of a picture, or the picture with a frame around the box, in the middle of a square.

    Args:
        canvas: the canvas to draw on.
        pixels: the picture.
        box: top, left, bottom and right of the box in pixels.
        corner: left and top of the square in inches.
        cell: side of the square in inches.
        cut: whether only the pixels in the box are drawn.
    """
    top, left, bottom, right = box
    whole = tuple(box) == (0, 0, *pixels.shape[:2])
    drawn = pixels[top:bottom, left:right] if cut else pixels
    scale = cell / max(drawn.shape[:2])
    height, width = (side * scale for side in drawn.shape[:2])
    x, y = corner[0] + (cell - width) / 2, corner[1] + (cell - height) / 2
    canvas.picture(drawn, x, y, width, height)
    if not cut and not whole:
        canvas.frame(x + left * scale, y + top * scale, (right - left) * scale, (bottom - top) * scale, 1.2)


def embedding(
    points: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    caption: str = "",
) -> Figure:
    """Draw points in the colours of their classes, each class named where its points are.

    Args:
        points: positions of N points, (N, 2).
        labels: class of each point as a number, (N,); all points have one colour when ``None``.
        classes: names of the classes; their numbers are written when ``None``.
        caption: a text below the points.
    """
    positions = np.asarray(points, dtype=float)
    figure = new_figure(6.4, 6.2)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    size = float(np.clip(9000 / len(positions), 5, 36))
    if labels is None:
        axes.scatter(positions[:, 0], positions[:, 1], s=size, color=BLUE, alpha=0.7, lw=0)
    else:
        groups = np.asarray(labels)
        for number, label in enumerate(np.unique(groups)):
            members = positions[groups == label]
            colour = _colour(number, len(np.unique(groups)))
            name = classes[label] if classes is not None else str(label)
            axes.scatter(members[:, 0], members[:, 1], s=size, color=colour, alpha=0.7, lw=0, label=name)
            x, y = np.median(members, axis=0)
            axes.text(x, y, shorten(name, 20), fontsize=10, weight="bold", color=INK, ha="center",
                      va="center", parse_math=False,
                      bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1.2})  # fmt: skip
    axes.set_title(textwrap.fill(caption, 84), color=MUTED, fontsize=9, loc="left", y=-0.06, va="top", parse_math=False)
    return figure


def _colour(number: int, count: int) -> Any:
    """Return the colour of a class: of the cycle for a few classes, else of a rainbow, neighbours far apart."""
    if count <= len(CYCLE):
        return CYCLE[number]
    stride = next(step for step in range(round(count * 0.38), count) if math.gcd(step, count) == 1)
    return matplotlib.colormaps["turbo"]((number * stride % count + 0.5) / count)


def distributions(watches: Mapping[str, Sequence[Any]], columns: int = 6) -> Figure:
    """Draw how outputs, gradients, weights and dead ReLUs of layers change in one or several trainings.

    Args:
        watches: name of a training -> its records in the order of time,
            :class:`cnnlab.explain.activations.snapshots.Snapshot`.
        columns: number of layers drawn, from the first to the last.
    """
    trainings = list(watches.values())
    layers = [records[0].inputs_of_activations for records in trainings]
    drawn = sorted({round(i) for i in np.linspace(0, len(layers[0]) - 1, min(columns, len(layers[0])))})
    figure = new_figure(max(2.05 * len(drawn) + 0.5, 9.5), 7.9)
    grid = figure.add_gridspec(3, 1)
    for line, quantity in enumerate(("outputs", "gradients")):
        row = grid[line].subgridspec(1, len(drawn)).subplots(sharey=line == 0, squeeze=False)[0]
        for axes, number in zip(row, drawn, strict=True):
            names = dict.fromkeys(each[number].name for each in layers)
            _small(styled(axes), " / ".join(shorten(name, 22) for name in names))
            for records, colour in zip(trainings, CYCLE, strict=False):
                _bands(axes, records, number, quantity, colour)
            if quantity == "gradients":
                axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
                axes.yaxis.get_offset_text().set_fontsize(7.5)
        row[0].set_ylabel("outputs" if quantity == "outputs" else "gradients of the loss", color=INK, fontsize=10)
    handles = _over_time(trainings, grid[2].subgridspec(1, 4).subplots(squeeze=False)[0])
    explanation = (
        "Bands hold the middle 50 % and 90 % of the numbers, the line is their median; the same images at every step."
    )
    figure.supxlabel(explanation, color=MUTED, fontsize=9, x=0.01, ha="left")
    if len(watches) > 1:
        figure.legend(handles, list(watches), loc="outside upper left", ncols=4, **LEGEND | {"fontsize": None})
    return figure


def _over_time(trainings: Sequence[Sequence[Any]], panels: Sequence[Axes]) -> list[Any]:
    """Draw dead ReLUs, norms of weights, gradients by depth, and the loss; return a line of each training."""
    dead, weights, depth, loss = panels
    handles = []
    for records, colour in zip(trainings, CYCLE, strict=False):
        steps = [record.at for record in records]
        dead.plot(steps, [record.dead for record in records], color=colour)
        norms = np.array([[each.weight_norm for each in record.layers if each.kind == "weights"] for record in records])
        weights.plot(steps, norms / norms[0], color=colour, lw=1, alpha=0.6)
        for record, dashes in ((records[0], ":"), (records[-1], "-")):
            spreads = [each.gradients.std if each.gradients else np.nan for each in record.inputs_of_activations]
            depth.plot(range(1, len(spreads) + 1), spreads, ls=dashes, color=colour, marker=".", ms=4)
        handles += loss.plot(steps, [record.loss for record in records], color=colour)
    _small(styled(dead, x="step"), "dead ReLUs, mean of all layers")
    top = max(0.05, dead.get_ylim()[1])
    dead.set_ylim(-0.03 * top, top)  # a line at zero does not hide behind the axis
    dead.yaxis.set_major_formatter(PERCENT)
    _small(styled(weights, x="step"), "weights: their norm, 1 at first")
    _small(styled(depth, x="layer"), "spread of gradients: first ···, last —")
    depth.set_yscale("log")
    _small(styled(loss, x="step"), "loss")
    return handles


def _small(axes: Axes, title: str) -> None:
    """Give a small panel its title and ticks."""
    axes.set_title(title, color=INK, fontsize=9, loc="left", parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(labelsize=7.5)


def _bands(axes: Axes, records: Sequence[Any], layer: int, quantity: str, colour: str) -> None:
    """Draw median, quartiles, and the 5 % and 95 % quantiles of a layer's outputs or gradients over time."""
    steps = [record.at for record in records]
    spreads = [getattr(record.inputs_of_activations[layer], quantity) for record in records]
    values = np.array([[np.nan] * 7 if spread is None else spread.quantiles for spread in spreads])
    for low, high, alpha in ((1, 5, 0.18), (2, 4, 0.32)):
        axes.fill_between(steps, values[:, low], values[:, high], color=colour, alpha=alpha, lw=0)
    axes.plot(steps, values[:, 3], color=colour, lw=1.4)
