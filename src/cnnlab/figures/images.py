"""Pictures in rows and columns: any images, samples of each class."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnnlab.errors import UsageError
from cnnlab.figures.pictures import grey_scale, to_picture
from cnnlab.figures.style import INK, ORANGE, new_figure, shorten

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]


def image_grid(
    images: Sequence[npt.ArrayLike],
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    cell: float = 1.35,
    framed: Collection[int] = (),
) -> Figure:
    """Draw pictures in rows and columns, each whole and undistorted, with a title under it.

    Args:
        images: pictures (H, W), (H, W, 1) or (H, W, 3); uint8, or floats of 0..1. Sizes may differ.
        titles: one text per picture; it may have several lines, of which long ones are shortened in the middle.
        columns: number of pictures in a row; one that gives a wide rectangle when ``None``.
        cell: width of a picture in inches.
        framed: positions of the pictures that get an orange frame, counted from 0.

    Raises:
        UsageError: there are not as many titles as pictures.
    """
    if titles is not None and len(titles) != len(images):
        raise UsageError(f"{len(images)} pictures need as many titles, got {len(titles)}.")
    columns = columns or min(max(len(images), 1), max(4, math.ceil(math.sqrt(2 * len(images)))))
    rows = max(math.ceil(len(images) / columns), 1)
    pictures = [to_picture(image, "HWC") for image in images]
    tall = max((picture.shape[0] / max(picture.shape[:2]) for picture in pictures), default=1.0)  # in cells
    size = 7.5
    lines = max((title.count("\n") + 1 for title in titles), default=0) if titles else 0
    below = lines * size * 1.35 / 72 / cell + (0.06 if lines else 0.0)  # room for the title, in cells
    step_x, step_y = 1.08, tall + 0.06 + below
    figure = new_figure(columns * step_x * cell, rows * step_y * cell, layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    fits = int(cell * 72 / (size * 0.62))  # letters, or digits, that fit the width of a picture
    for position, pixels in enumerate(pictures):
        left, top = (position % columns) * step_x, (position // columns) * step_y
        height, width = (side / max(pixels.shape[:2]) for side in pixels.shape[:2])
        x, y = left + (1 - width) / 2, top + (tall - height) / 2
        axes.imshow(pixels, extent=(x, x + width, y + height, y), interpolation="nearest", **grey_scale(pixels))
        if position in framed:
            axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=ORANGE, linewidth=2.5))
        if titles is not None:
            text = "\n".join(shorten(line, fits) for line in titles[position].split("\n"))
            axes.text(
                left + 0.5, top + tall + 0.04, text, ha="center", va="top", fontsize=size, color=INK, linespacing=1.25,
                parse_math=False,
            )  # fmt: skip
    axes.set(xlim=(-0.04, columns * step_x - 0.04), ylim=(rows * step_y - 0.03, -0.03), aspect="auto")
    return figure


def sample_grid(images: npt.ArrayLike, row_labels: Sequence[str], title: str = "") -> Figure:
    """Draw a row of pictures per class, the name of the class before it.

    More than 25 classes stand in several columns of rows. Small pictures are enlarged by whole factors, so that every
    pixel stays a square.

    Args:
        images: M pictures of each of K classes, uint8 (K, M, H, W, C), C 1 or 3.
        row_labels: names of the K classes.
        title: line above the pictures.

    Raises:
        UsageError: the pictures have another shape, or there are not as many names as classes.
    """
    pixels = np.asarray(images)
    if pixels.ndim != 5 or pixels.shape[-1] not in (1, 3) or not pixels.size:
        raise UsageError(f"Pictures by class are an array (K, M, H, W, C), C 1 or 3, got {pixels.shape}.")
    if len(row_labels) != len(pixels):
        raise UsageError(f"{len(pixels)} rows of pictures need as many names, got {len(row_labels)}.")
    classes, per_class, height, width, _ = pixels.shape
    dpi, gap, size = 150, 6, 9.0
    factor = max(1, round(84 / height))
    pixels = np.broadcast_to(pixels, (*pixels.shape[:-1], 3)).repeat(factor, axis=2).repeat(factor, axis=3)
    step_y, step_x = height * factor + gap, width * factor + gap
    blocks = math.ceil(classes / 25)
    rows = math.ceil(classes / blocks)
    names = [shorten(name, 24) for name in row_labels]
    margin = round(max(map(len, names)) * size * 0.6 / 72 * dpi) + 24  # room for the names, in dots
    above = round(2.4 * size / 72 * dpi) if title else gap
    block = margin + per_class * step_x + 2 * gap
    canvas = np.full((above + rows * step_y, blocks * block, 3), 255, np.uint8)
    figure = new_figure(canvas.shape[1] / dpi, canvas.shape[0] / dpi, layout="none")
    figure.set_dpi(dpi)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    style: dict[str, Any] = {"color": INK, "va": "center", "parse_math": False}
    for k, name in enumerate(names):
        left, top = k // rows * block + margin, above + k % rows * step_y
        axes.text(left - 14, top + step_y / 2 - gap / 2, name, ha="right", fontsize=size, **style)
        for m in range(per_class):
            x = left + m * step_x
            canvas[top : top + step_y - gap, x : x + step_x - gap] = pixels[k, m]
    if title:
        axes.text(14, above / 2, title, ha="left", fontsize=size + 1, **style)
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    return figure
