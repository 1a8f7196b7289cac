"""Heat maps over pictures: the importance of each pixel, for or against the answer of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from cnnlab.errors import UsageError
from cnnlab.figures.canvas import LINE, MARGIN, Canvas, letters
from cnnlab.figures.pictures import Array, Pixels, input_picture, to_picture
from cnnlab.figures.style import GREEN, GRID, INK, MUTED, ORANGE, SIGNED, WARM, shorten

Floats = npt.NDArray[np.floating]


def overlay(
    values: npt.ArrayLike,
    picture: npt.ArrayLike,
    *,
    signed: bool = False,
    title: str = "",
    facts: str = "",
    caption: str = "",
    notes: Sequence[str] = (),
    label: str = "",
) -> Figure:
    """Draw a picture, the same with a map over it, and the scale of its colours.

    Args:
        values: the map, (H, W).
        picture: the picture below it, uint8 or 0..1, (H', W'), (H', W', 1) or (H', W', 3), in the map's proportions.
        signed: whether the colours lie around zero, blue below and red above, and not from 0 on, pale to dark red.
        title, facts: lines above the picture: the name of the map, and further facts in grey.
        caption: meaning of the colours; a sentence on where the map has its weight is added.
        notes: sentences for the end, in grey.
        label: name of the quantity, beside the scale.

    Raises:
        UsageError: the map is no finite array (H, W), or the picture has other proportions.
    """
    raw, pixels = _as_map(values), to_picture(picture, "HWC")
    spread = smoothing_width(raw)
    heat = smoothed(raw, spread)
    outlined = not spread and not signed and 0 < share_of_half(raw) < 0.4
    high, wide = pixels.shape[:2]
    width = min(3.3 if wide < 1.6 * high else 4.4, 4.0 * wide / high)
    height = width * high / wide
    canvas = Canvas(max(2 * width + 1.35, 5.2))
    if title:
        canvas.heading(title)
    canvas.paragraph(facts)
    left, top = MARGIN, canvas.top + 0.05
    canvas.picture(pixels, left, top, width, height)
    left += width + 0.12
    canvas.picture(blend(heat, pixels, signed=signed), left, top, width, height)
    if outlined:
        _outline(canvas.page, raw, (left, top, width, height))
    scale = canvas.axes(left + width + MARGIN, top, 0.13, height)
    colour_bar(scale, colour_limit(heat), signed=signed, label=label)
    canvas.top = top + height + 0.12
    sentences = caption, describe(heat, signed, outlined, spread)
    canvas.paragraph(" ".join(sentence for sentence in sentences if sentence), colour=INK)
    for note in notes:
        canvas.paragraph(note)
    return canvas.finish()


def blend(values: npt.ArrayLike, picture: npt.ArrayLike, *, signed: bool = False, top: float | None = None) -> Pixels:
    """Lay a map over a picture that has been turned pale and grey, and return the pixels (H, W, 3) of the picture.

    Where the map is zero the picture shines through. The strongest 0.5 % of the pixels have the same colour, so that a
    single one does not make the rest pale.

    Args:
        values, picture, signed: see :func:`overlay`.
        top: the value of the strongest colour; that of :func:`colour_limit` when ``None``.

    Raises:
        UsageError: the map is no finite array (H, W), or the picture has other proportions.
    """
    heat, pixels = _as_map(values), to_picture(picture, "HWC")
    top = colour_limit(heat) if top is None else top
    size = (pixels.shape[1], pixels.shape[0])
    if abs(heat.shape[1] / heat.shape[0] / (size[0] / size[1]) - 1) > 0.02:
        raise UsageError(
            f"The picture is {size[0]} x {size[1]} pixels and the map {heat.shape[1]} x {heat.shape[0]}: they have "
            "other proportions. Crop the picture to the network's input."
        )
    share = np.clip(heat / (top or 1), -1 if signed else 0, 1).astype(np.float32)
    if share.shape != pixels.shape[:2]:
        share = np.asarray(Image.fromarray(share).resize(size, Image.Resampling.BILINEAR))
    grey = pixels.astype(np.float32) / 255
    if grey.ndim == 3:
        grey = grey @ np.array([0.299, 0.587, 0.114], np.float32)
    colours = (SIGNED((share + 1) / 2) if signed else WARM(share))[..., :3]
    alpha = 0.9 * np.abs(share)[..., None] ** 0.7
    pale = 0.5 + 0.5 * grey[..., None]
    mixed = pale * (1 - alpha) + colours * alpha * (0.65 + 0.35 * grey[..., None])
    return to_picture(mixed, "HWC")


def signed_colours(values: Array, top: float | None = None) -> Pixels:
    """Return the colours (H, W, 3) of a map (H, W) from ``-top``, blue, over 0 to ``top``, red.

    The strongest 0.5 % of the pixels have the same colour when ``top`` is ``None``.
    """
    top = colour_limit(values) if top is None else top
    return to_picture(SIGNED(np.clip(values / (2 * (top or 1)) + 0.5, 0, 1))[..., :3], "HWC")


def warm_colours(values: Array, top: float) -> Pixels:
    """Return the colours (H, W, 3) of a map (H, W) from 0, pale, to ``top``, dark red."""
    return to_picture(WARM(np.clip(values / (top or 1), 0, 1))[..., :3], "HWC")


def colour_bar(axes: Axes, top: float, *, signed: bool = False, label: str = "") -> None:
    """Draw the scale of a map into axes: its colours from 0, or from -``top``, to ``top``."""
    low = -1.0 if signed else 0.0
    ramp = np.linspace(1, low, 256)[:, None]
    axes.imshow(ramp, cmap=SIGNED if signed else WARM, vmin=low, vmax=1, extent=(0, 1, low, 1), aspect="auto")
    ticks = [-1.0, 0.0, 1.0] if signed else [0.0, 0.5, 1.0]
    axes.set_yticks(ticks, [f"{tick * top:.2g}" for tick in ticks])
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.tick_params(labelsize=8, colors=MUTED, color=GRID, length=2, pad=2)
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(label, color=MUTED, fontsize=8, labelpad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)


def colour_limit(values: npt.ArrayLike) -> float:
    """Return the value of the strongest colour: the 99.5 % quantile of the magnitudes, or their maximum if it is 0."""
    size = np.abs(np.asarray(values, dtype=np.float32))
    return float(np.percentile(size, 99.5)) or float(size.max())


def smoothing_width(values: npt.ArrayLike) -> float:
    """Return the standard deviation, in pixels, of the Gaussian that makes a noisy map readable; 0 for a smooth map.

    A gradient changes from one pixel to the next, and a pixel is too small to be seen. A map is noisy when the products
    of neighbouring pixels sum to less than 0.9 of the sum of squares: an autocorrelation at distance 1.
    """
    heat = _as_map(values)
    if min(heat.shape) < 64:
        return 0.0  # the pixels are large enough
    pairs = [(heat[1:], heat[:-1]), (heat[:, 1:], heat[:, :-1])]
    products = sum(float((a * b).sum()) for a, b in pairs) / 2
    return max(heat.shape) / 150 if products < 0.9 * float((heat**2).sum()) else 0.0


def smoothed(values: npt.ArrayLike, spread: float) -> Floats:
    """Return a map under a Gaussian with a standard deviation of ``spread`` pixels; itself for 0."""
    heat = _as_map(values)
    if not spread:
        return heat
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(heat, spread, mode="nearest")


def describe(values: npt.ArrayLike, signed: bool = False, outlined: bool = False, spread: float = 0.0) -> str:
    """Return a sentence about the region that holds half of a map's weight, and the negative share of a signed map.

    Args:
        values: the map, (H, W).
        signed: whether negative values count.
        outlined: whether a line is drawn around the heaviest half; the sentence mentions it.
        spread: standard deviation, in pixels, of the Gaussian under which the map is drawn; a sentence mentions it.
    """
    heat = _as_map(values)
    weight = np.abs(heat) if signed else np.clip(heat, 0, None)
    if not weight.any():
        return "The map is zero everywhere."
    share = share_of_half(weight)
    text = "The weight is spread over the image"
    if share < 0.4:
        area = f"{share:.0%}" if share >= 0.01 else "less than 1%"
        inside = "inside the line, " if outlined else ""
        text = f"Half of the weight lies {inside}on {area} of the image, {_region(weight)}"
    text += f"; {np.clip(-heat, 0, None).sum() / weight.sum():.0%} of all is blue." if signed else "."
    return f"{text} Drawn as averages over about {round(3.5 * spread)} pixels." if spread else text


def share_of_half(weight: npt.ArrayLike) -> float:
    """Return the share of the pixels, the heaviest first, that holds half of the weight: 0 to 0.5."""
    falling = np.sort(np.asarray(weight, dtype=float).ravel())[::-1]
    total = np.cumsum(falling)
    return float(np.searchsorted(total, total[-1] / 2) + 1) / len(falling) if total[-1] > 0 else 0.0


def _region(weight: Floats) -> str:
    """Name the region of the heaviest half: its median column and row, in thirds of the picture."""
    heavy = np.where(weight >= _threshold(weight), weight, 0)
    thirds = []
    for axis in (0, 1):
        along = np.cumsum(heavy.sum(axis=1 - axis))
        middle = (np.searchsorted(along, along[-1] / 2) + 0.5) / len(along)
        thirds.append(min(int(3 * middle), 2))
    row, column = (("top", "", "bottom")[thirds[0]], ("left", "", "right")[thirds[1]])
    if not row and not column:
        return "around the middle"
    return f"at the {row} {column}".replace("  ", " ").rstrip() if row and column else f"at the {row or column}"


def _threshold(weight: Floats) -> float:
    """Return the smallest value among the pixels that hold half of the weight."""
    return float(np.sort(weight.ravel())[::-1][max(round(share_of_half(weight) * weight.size) - 1, 0)])


def _outline(axes: Axes, values: Floats, box: tuple[float, float, float, float]) -> None:
    """Draw a line around the pixels that hold half of a map's weight; ``box`` is left, top, width, height."""
    weight = np.clip(values, 0, None)
    left, top, width, height = box
    ys = top + (np.arange(weight.shape[0]) + 0.5) * height / weight.shape[0]
    xs = left + (np.arange(weight.shape[1]) + 0.5) * width / weight.shape[1]
    for colour, thickness in (("#ffffff", 2.2), (INK, 0.9)):
        axes.contour(xs, ys, weight, levels=[_threshold(weight)], colors=colour, linewidths=thickness)


def _as_map(values: npt.ArrayLike) -> Floats:
    """Return a map (H, W) of float32, or raise a UsageError."""
    heat = np.asarray(values, dtype=np.float32)
    if heat.ndim != 2 or not heat.size or not np.isfinite(heat).all():
        raise UsageError(f"A map is an array (H, W) of finite numbers, got shape {heat.shape}.")
    return heat


def comparison(answers: Sequence[Any], picture: npt.ArrayLike | None = None, columns: int = 5) -> Figure:
    """Draw the maps of several methods over the same picture, with their scores and times under them.

    Args:
        answers: the :class:`cnnlab.explain.Attribution` of each method for one image; scores of faithfulness are
            written beside those of random maps.
        picture: the network's input as a picture; drawn from the input itself when ``None``.
        columns: largest number of maps in a row; rows are about equally long.

    Raises:
        UsageError: there are no answers.
    """
    if not answers:
        raise UsageError("There is nothing to compare: no method has an answer.")
    first = answers[0]
    pixels = input_picture(first.image) if picture is None else to_picture(picture, "HWC")
    probability = f"{first.subject}: {first.probability:.1%}"
    cells = [("The network's input", pixels, [(probability, INK), (f"score {first.score:.3g}", MUTED)])]
    for answer in answers:
        overlaid = blend(answer.map, pixels, signed=answer.signed)
        cells.append((answer.method_title, overlaid, [*_scores(answer), (f"{answer.seconds:.2g} s", MUTED)]))
    side, gap, head = 2.1, 0.22, 0.3  # inches
    high, wide = pixels.shape[:2]
    width, height = side * min(1, wide / high), side * min(1, high / wide)
    columns = math.ceil(len(cells) / math.ceil(len(cells) / columns))
    step_x = max(width, 1.75) + gap
    step_y = head + height + LINE * max(len(lines) for _, _, lines in cells) + 0.2
    canvas = Canvas(2 * MARGIN + columns * step_x - gap)
    for position, (title, overlaid, lines) in enumerate(cells):
        x, y = MARGIN + position % columns * step_x, 0.1 + position // columns * step_y
        canvas.text(x, y, shorten(title, letters(step_x - gap, 10.5, bold=True)), size=10.5, weight="bold")
        canvas.picture(overlaid, x, y + head, width, height)
        for number, (line, colour) in enumerate(lines):
            fitting = shorten(line, letters(step_x, 8.5))
            canvas.text(x, y + head + height + 0.06 + LINE * number, fitting, size=8.5, colour=colour)
    canvas.top = 0.1 + math.ceil(len(cells) / columns) * step_y
    for sentence in _caption(answers):
        canvas.paragraph(sentence)
    return canvas.finish()


def _scores(answer: Any) -> list[tuple[str, str]]:
    """Return a line of text and its colour for each score: green if better than random maps, orange if worse."""
    metrics, lines = answer.faithfulness, []
    for kind, sign in (("deletion", -1), ("insertion", 1)):
        if kind in metrics:
            random = metrics["random"]
            gain = sign * (round(metrics[kind], 2) - round(random, 2))  # of the numbers as they are written
            text = f"{kind} {metrics[kind]:.2f} (random {random:.2f})"
            lines.append((text, GREEN if gain > 0 else ORANGE if gain < 0 else INK))
    if "randomised agreement" in metrics:
        value = metrics["randomised agreement"]
        lines.append((f"shuffled network: {value:.2f} alike", INK if abs(value) < 0.5 else ORANGE))
    return lines


def _caption(answers: Sequence[Any]) -> list[str]:
    """Return what the colours mean, and the scores where there are some."""
    text = ["Red is the strongest of each map, blue speaks against; every map has a scale of its own."]
    if any("deletion" in answer.faithfulness for answer in answers):
        text.append(
            "Deletion: what is left of the probability, on average, while the reddest pixels go first (low is good). "
            "Insertion: the same while they come back first to an empty image (high is good). Green is better than "
            "random maps, orange is worse. Shuffled network: how much the map is like that of a network whose weights "
            "are shuffled; near 0, it depends on what was learned."
        )
    return text
