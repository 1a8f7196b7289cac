"""Maps over pictures: what a network looked at, what speaks for its answer and what against it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from cnnlab.errors import UsageError
from cnnlab.figures.images import Pixels, to_picture
from cnnlab.figures.style import GRID, INK, MUTED, new_figure, shorten

Floats = npt.NDArray[np.floating]

# Lightness (CIELAB) falls evenly: from 94 to 28, and on both sides of zero from 97 to 40.
WARM = LinearSegmentedColormap.from_list(
    "warm", ["#fcf09d", "#f3d47a", "#eab859", "#e39a3b", "#db7a1f", "#d35808", "#c72f05", "#ac0d18", "#870722"]
)
SIGNED = LinearSegmentedColormap.from_list(
    "signed",
    ["#115fad", "#1771c7", "#2484de", "#4198ef", "#75aaed", "#9abdec", "#bad0ed", "#d8e3f2", "#f7f7f7",
     "#f0dfd0", "#ebc7ab", "#ebad80", "#ee9052", "#ed7027", "#e2520e", "#d13506", "#be0d04"],
)  # fmt: skip


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
        values: (H, W), the map.
        picture: what it is about, uint8 or 0..1, (H, W), (H, W, 1) or (H, W, 3); its sides have the map's proportions.
        signed: draw around zero, blue below and red above; otherwise from 0 on, from pale to dark red.
        title, facts: lines above: what it is, and in grey what else is known.
        caption: what the colours mean; where the map has its weight is added.
        notes: sentences for the end, in grey.
        label: what is measured, beside the scale.

    Raises:
        UsageError: the map is no (H, W), or the picture has other proportions.
    """
    heat, pixels = _as_map(values), to_picture(picture, "HWC")
    spread = grain(heat)
    shown_heat = smoothed(heat, spread)
    top = scale_of(shown_heat)
    height, width = pixels.shape[:2]
    panel = min(3.3 if width < 1.6 * height else 4.4, 4.0 * width / height)
    tall = panel * height / width
    outlined = not spread and not signed and 0 < share_of_half(heat) < 0.4
    drawn = f"Drawn as averages over about {round(3.5 * spread)} pixels." if spread else ""
    words = " ".join(part for part in (caption, where(shown_heat, signed, outlined), drawn) if part)
    page = max(2 * panel + 1.35, 5.2)
    fits = int((page - 0.3) * 72 / (9 * 0.54))  # letters of 9 points that fit a line
    lines, facts_lines = textwrap.wrap(words, fits), textwrap.wrap(facts, fits)
    above = 0.38 + 0.17 * len(facts_lines)
    below = [(line, INK) for line in lines] + [(line, MUTED) for note in notes for line in textwrap.wrap(note, fits)]
    high = above + tall + 0.2 + 0.175 * len(below) + 0.1
    figure = new_figure(page, high, layout="none")
    left, base = 0.12, high - above - tall
    for place, shown in ((left, pixels), (left + panel + 0.12, blend(shown_heat, pixels, signed=signed))):
        axes = figure.add_axes((place / page, base / high, panel / page, tall / high))
        show_pixels(axes, shown)
    if outlined:
        outline(axes, heat, pixels.shape[:2])
    bar = figure.add_axes(((left + 2 * panel + 0.27) / page, base / high, 0.13 / page, tall / high))
    colour_bar(bar, top, signed=signed, label=label)
    style: dict[str, Any] = {"ha": "left", "va": "top", "parse_math": False}
    head = shorten(title, int(page * 72 / (12 * 0.62)))
    figure.text(left / page, 1 - 0.11 / high, head, color=INK, fontsize=12, weight="bold", **style)
    for number, line in enumerate(facts_lines):
        figure.text(left / page, 1 - (0.36 + 0.17 * number) / high, line, color=MUTED, fontsize=9, **style)
    for number, (line, colour) in enumerate(below):
        figure.text(left / page, (base - 0.12 - 0.175 * number) / high, line, color=colour, fontsize=9, **style)
    return figure


def blend(values: npt.ArrayLike, picture: npt.ArrayLike, *, signed: bool = False, top: float | None = None) -> Pixels:
    """Lay a map over a picture that has been turned pale and grey, and return the pixels (H, W, 3) of the picture.

    Where the map is zero the picture shines through. The strongest 0.5 % of the pixels have the same colour, so that a
    single one does not make the rest pale.

    Args:
        values, picture, signed: see :func:`overlay`.
        top: the value of the strongest colour; see :func:`scale_of`.
    """
    heat, pixels = _as_map(values), to_picture(picture, "HWC")
    top = scale_of(heat) if top is None else top
    size = (pixels.shape[1], pixels.shape[0])
    if abs(heat.shape[1] / heat.shape[0] / (size[0] / size[1]) - 1) > 0.02:
        raise UsageError(
            f"The picture is {size[0]} x {size[1]} pixels and the map {heat.shape[1]} x {heat.shape[0]}: they have "
            "other proportions. Cut the picture as the network sees it."
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


def show_pixels(axes: Axes, pixels: Pixels) -> None:
    """Draw a picture into axes without ticks; small ones keep their pixels as squares."""
    few = max(pixels.shape[:2]) < 100
    style: dict[str, Any] = {} if pixels.ndim == 3 else {"cmap": "gray", "vmin": 0, "vmax": 255}
    axes.imshow(pixels, interpolation="nearest" if few else "antialiased", aspect="auto", **style)
    axes.set_axis_off()


def scale_of(values: npt.ArrayLike) -> float:
    """Return the value of the strongest colour: at least 99.5 % of the magnitudes are not larger; 0 for no map."""
    size = np.abs(_as_map(values))
    return float(np.percentile(size, 99.5)) or float(size.max())


def grain(values: npt.ArrayLike) -> float:
    """Return over how many pixels (standard deviation) a map has to be averaged to be seen; 0 for a smooth one.

    Maps made pixel by pixel change from one to the next; each is then too small for the eye.
    """
    heat = _as_map(values)
    if min(heat.shape) < 64:
        return 0.0  # the pixels are large enough
    pairs = [(heat[1:], heat[:-1]), (heat[:, 1:], heat[:, :-1])]
    alike = sum(float((a * b).sum()) for a, b in pairs) / 2
    return max(heat.shape) / 150 if alike < 0.9 * float((heat**2).sum()) else 0.0


def smoothed(values: npt.ArrayLike, spread: float) -> Floats:
    """Return a map under a Gaussian with a standard deviation of ``spread`` pixels; itself for 0."""
    heat = _as_map(values)
    if not spread:
        return heat
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(heat, spread, mode="nearest")


def outline(axes: Axes, values: npt.ArrayLike, size: tuple[int, int]) -> None:
    """Draw a line around the pixels that hold half of a map's weight, onto a picture of ``size`` (height, width)."""
    weight = np.clip(_as_map(values), 0, None)
    height, width = size
    ys = (np.arange(weight.shape[0]) + 0.5) * height / weight.shape[0] - 0.5
    xs = (np.arange(weight.shape[1]) + 0.5) * width / weight.shape[1] - 0.5
    for colour, thick in (("#ffffff", 2.2), (INK, 0.9)):
        axes.contour(xs, ys, weight, levels=[_threshold(weight)], colors=colour, linewidths=thick)


def where(values: npt.ArrayLike, signed: bool = False, outlined: bool = False) -> str:
    """Say in a sentence where a map has its weight, and of a signed one, how much of it is negative."""
    heat = _as_map(values)
    weight = np.abs(heat) if signed else np.clip(heat, 0, None)
    if not weight.any():
        return "The map is zero everywhere."
    share = share_of_half(weight)
    much = f"{share:.0%}" if share >= 0.01 else "less than 1%"
    inside = "inside the line, " if outlined else ""
    lies = f"lies {inside}on {much} of the image, {_place(weight)}" if share < 0.4 else "is spread over the image"
    text = f"{'Half of the' if share < 0.4 else 'The'} weight {lies}"
    return f"{text}; {np.clip(-heat, 0, None).sum() / weight.sum():.0%} of all is blue." if signed else f"{text}."


def share_of_half(weight: npt.ArrayLike) -> float:
    """Return on which share of the pixels half of the weight lies, the heaviest first: 0 to 0.5."""
    falling = np.sort(np.asarray(weight, dtype=float).ravel())[::-1]
    total = np.cumsum(falling)
    return float(np.searchsorted(total, total[-1] / 2) + 1) / len(falling) if total[-1] > 0 else 0.0


def _place(weight: Floats) -> str:
    """Name the place of the heaviest half: its median column and row, in thirds of the picture."""
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
    """The least value among the pixels that hold half of the weight."""
    return float(np.sort(weight.ravel())[::-1][max(round(share_of_half(weight) * weight.size) - 1, 0)])


def _as_map(values: npt.ArrayLike) -> Floats:
    heat = np.asarray(values, dtype=np.float32)
    if heat.ndim != 2 or not heat.size or not np.isfinite(heat).all():
        raise UsageError(f"A map is an array (H, W) of finite numbers, got shape {heat.shape}.")
    return heat
