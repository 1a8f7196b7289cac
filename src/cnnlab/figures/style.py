"""The house style of figures, and their output as a file, PNG bytes, or SVG for a page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from cnnlab.errors import UsageError

INK, MUTED, GRID = "#1b1f24", "#6a737d", "#d9dde2"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
# The CSS variable with which to_svg replaces each colour, so that the page's light or dark style decides.
_THEMED = {
    INK: "currentColor",
    MUTED: f"var(--muted, {MUTED})",
    GRID: f"var(--grid, {GRID})",
    BLUE: f"var(--blue, {BLUE})",
    ORANGE: f"var(--orange, {ORANGE})",
    GREEN: f"var(--green, {GREEN})",
}
HEAT = LinearSegmentedColormap.from_list(
    "heat", ["#dff1fb", "#b3daf6", "#8ac3f1", "#65abe9", "#4692db", "#317ac8", "#2861af", "#274a91", "#263570"]
)
# Lightness (CIELAB) falls evenly: from 94 to 28, and on both sides of zero from 97 to 40.
WARM = LinearSegmentedColormap.from_list(
    "warm", ["#fcf09d", "#f3d47a", "#eab859", "#e39a3b", "#db7a1f", "#d35808", "#c72f05", "#ac0d18", "#870722"]
)
SIGNED = LinearSegmentedColormap.from_list(
    "signed",
    ["#115fad", "#1771c7", "#2484de", "#4198ef", "#75aaed", "#9abdec", "#bad0ed", "#d8e3f2", "#f7f7f7",
     "#f0dfd0", "#ebc7ab", "#ebad80", "#ee9052", "#ed7027", "#e2520e", "#d13506", "#be0d04"],
)  # fmt: skip
#: Colours of Okabe and Ito (2008) in the order in which lines take them; beyond eight, dashes tell them apart.
CYCLE = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", INK, "#b0a000")
LEGEND: dict[str, Any] = {"frameon": False, "labelcolor": INK, "fontsize": 9}  # arguments of a legend
#: Compressing the figure of a photo takes a third of the time at level 4 of zlib, for a file that is 3 % larger.
PNG = {"compress_level": 4}
#: Ticks of shares in percent, with no more digits than they need: 30%, 32.5%.
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.6g}%")


def save(figure: Figure, path: str | Path) -> Path:
    """Write ``figure`` to ``path``, in the format of its suffix (png, svg, pdf), and return the path.

    Raises:
        UsageError: matplotlib cannot write that format.
    """
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    ending = path.suffix.lstrip(".").lower()
    if ending not in formats:
        raise UsageError(f'A figure cannot be written as "{path.name}". Name it .png, .svg or .pdf.')
    path.parent.mkdir(parents=True, exist_ok=True)
    with quiet(), _laid_out(figure, 150):
        options: dict[str, Any] = {"pil_kwargs": PNG} if ending == "png" else {}  # others take no such argument
        figure.savefig(path, dpi=150, facecolor="white", **options)
    return path


def save_animation(frames: Sequence[Figure], path: str | Path, seconds: float = 0.25, dpi: int = 80) -> Path:
    """Write figures of equal size as an animated GIF that repeats; the last frame stays for two seconds.

    Args:
        frames: figures, in their order.
        path: file to write.
        seconds: time that each frame is shown.
        dpi: pixels per inch.
    """
    pictures = [
        Image.open(io.BytesIO(to_png(frame, dpi))).convert("RGB").quantize(dither=Image.Dither.NONE) for frame in frames
    ]
    durations = [round(1000 * seconds)] * (len(pictures) - 1) + [2000]
    path = Path(path)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=True)
    return path


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    """Return ``figure`` as a PNG on white."""
    buffer = io.BytesIO()
    with quiet(), _laid_out(figure, dpi):
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", pil_kwargs=PNG)
    return buffer.getvalue()


def to_svg(figure: Figure, name: str = "figure") -> str:
    """Return ``figure`` as an ``<svg>`` element to be put into an HTML page.

    The background is transparent and the colours follow the page: ``currentColor`` and the custom properties
    ``--muted``, ``--grid``, ``--blue``, ``--orange``, ``--green``. Nothing in it refers to another file.

    Args:
        figure: the figure; it stays as it is.
        name: word that keeps the ids inside apart from those of the page's other figures.
    """
    buffer = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name}
    with quiet(), matplotlib.rc_context(settings), _laid_out(figure, 300):
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, dpi=110, metadata=no_metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # the same names would stand in every figure of the page
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font: \1px var(--font, sans-serif)", svg)
    for colour, themed in _THEMED.items():
        svg = svg.replace(colour, themed)
    return svg


def shorten(text: str, length: int) -> str:
    """Return ``text`` in at most ``length`` characters; an ellipsis replaces its middle."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    head = max(length - 1, 1) * 2 // 3
    tail = max(length - 1 - head, 0)
    return f"{text[:head]}…{text[len(text) - tail :]}"


def new_figure(width: float, height: float, layout: Any = "constrained") -> Figure:
    """Return an empty figure of a width and height in inches."""
    return Figure(figsize=(width, height), layout=layout)


def styled(axes: Axes, x: str = "", y: str = "", title: str = "", grid: bool = True) -> Axes:
    """Give ``axes`` the house style: labels in ink, faint grid, no box."""
    axes.set_xlabel(x, color=INK, fontsize=10)
    axes.set_ylabel(y, color=INK, fontsize=10)
    if title:
        axes.set_title(title, color=INK, fontsize=11, loc="left")
    axes.tick_params(colors=INK, labelsize=9, length=3, color=GRID)
    for side, spine in axes.spines.items():
        spine.set_visible(grid and side in ("left", "bottom"))
        spine.set_color(GRID)
    if grid:
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
    return axes


def ink_on(colour: Any) -> str:
    """Return black or white, whichever can be read on a colour (red, green, blue, ...) of 0..1, as "#rrggbb".

    Rec. ITU-R BT.601 weighs the three to the brightness that the eye sees.
    """
    red, green, blue = colour[:3]
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "#ffffff"


@contextmanager
def quiet() -> Iterator[None]:
    """Silence matplotlib's warnings about letters that its font lacks: class names come in every script."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


@contextmanager
def _laid_out(figure: Figure, dpi: float) -> Iterator[None]:
    """Decide where everything in ``figure`` goes, then do without its layout engine.

    With an engine, matplotlib draws every figure twice, the first time only to run the engine.

    Args:
        figure: the figure; it has its engine back afterwards.
        dpi: pixels per inch of the output, to which the sizes of letters are rounded; many for SVG, which rounds none.
    """
    engine, own_dpi = figure.get_layout_engine(), figure.dpi
    if engine is not None:
        figure.dpi = dpi
        engine.execute(figure)
        figure.dpi = own_dpi
    figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)
