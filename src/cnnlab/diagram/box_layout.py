"""The sizes of boxes and signs, and how they are drawn around a vertical axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cnnlab.diagram.items import Box, Item, Tangle
from cnnlab.diagram.pen import Pen, text_width
from cnnlab.figures.style import GRID, INK, MUTED

# Kind of a box -> name in the legend, fill, edge.
KINDS = {
    "conv": ("convolution", "#d3e6f5", "#0072b2"),
    "depthwise": ("depthwise convolution", "#e8f4fc", "#56a6d8"),
    "pool": ("pooling", "#d6efe4", "#009e73"),
    "dense": ("dense", "#fbe0cd", "#d55e00"),
    "attention": ("attention, gate", "#f3dce9", "#b0588c"),
    "product": ("matrix product", "#fbf3c4", "#b59b00"),
    "group": ("block (drawn on the right)", "#e9e7f4", "#6a5fa8"),
    "resize": ("resizing", "#eceff1", "#6a737d"),
    "other": ("other", "#eceff1", "#6a737d"),
}

# Sizes of letters in points; all other lengths in inches.
LABEL, SMALL_LABEL, NOTE, TITLE = 8.0, 7.0, 6.2, 11.0
GAP = 0.17  # between items of a series
LANE = 0.16  # between lines that run beside each other
LEAST_WIDTH = 0.8  # of a box on the main line
_BOX_SIDES, _BOX_HEIGHT = 0.18, 0.26  # around the words of a box, and with one line of words
_LINE_HEIGHT, _NOTE_HEIGHT = 0.125, 0.1
_FIRST_LINE, _NOTE_LINE = 0.13, 0.095  # middles of the words, from the top of a box
_SHEET = 0.035  # offset of the second sheet of a repeated box
_SIGN = 0.085  # radius of a sum's circle
_BAR, _BAR_ROUND = 0.19, 0.09  # height of a concatenation, and radius of its corners
MARK_LINE = 0.055  # from the end of a stage to the line under its name


@dataclass(frozen=True)
class Placed:
    """An item with its size, around a vertical axis along which data flows; lengths are in inches.

    Attributes:
        item: the item.
        left, right: lengths from the axis to its left and right edge.
        height: height of the item.
        draw: function that draws it with a pen, its axis at x and its upper edge at y.
        takes_arrow: whether the line into it ends in an arrow head.
    """

    item: Item
    left: float
    right: float
    height: float
    draw: Callable[[Pen, float, float], object]
    takes_arrow: bool = True


def box_size(box: Box) -> tuple[float, float]:
    """Return the width and height of a box of a layer."""
    lines = box.label.split("\n")
    words = [text_width(box.note, NOTE), text_width(box.before, NOTE), *(text_width(line, LABEL) for line in lines)]
    height = _BOX_HEIGHT + _LINE_HEIGHT * (len(lines) - 1) + _NOTE_HEIGHT * (bool(box.note) + bool(box.before))
    return max(words) + _BOX_SIDES, height


def place_box(box: Box, width: float) -> Placed:
    """Place a box that is at least as wide as ``width``, or the sign of a join."""
    if box.kind == "join":
        return _place_bar(box) if box.label == "concat" else _place_sign(box)
    own_width, height = box_size(box)
    width = max(own_width, width)
    times = f"x{box.times}" if box.times > 1 else ""
    _, fill, edge = KINDS.get(box.kind, KINDS["other"])

    def draw(pen: Pen, x: float, y: float) -> None:
        if times:
            pen.box(x - width / 2 + _SHEET, y + _SHEET, width, height, fill, edge)
            pen.text(x + width / 2 + 0.09, y + height / 2, times, LABEL, weight="bold", align="left")
        pen.box(x - width / 2, y, width, height, fill, edge)
        pen.text(x, y + _NOTE_LINE, box.before, NOTE, MUTED)
        line_y = y + _FIRST_LINE + 0.105 * bool(box.before)
        for line in box.label.split("\n"):
            pen.text(x, line_y, line, LABEL)
            line_y += _LINE_HEIGHT
        pen.text(x, line_y + 0.01, box.note, NOTE, MUTED)

    extra = 0.09 + text_width(times, LABEL) if times else 0.0
    return Placed(box, width / 2, width / 2 + extra, height, draw)


def _place_bar(box: Box) -> Placed:
    """Place a concatenation."""
    width = text_width(box.label, SMALL_LABEL) + 0.2

    def draw(pen: Pen, x: float, y: float) -> None:
        pen.box(x - width / 2, y, width, _BAR, "white", INK, _BAR_ROUND)
        pen.text(x, y + _BAR / 2, box.label, SMALL_LABEL)
        pen.text(x + width / 2 + 0.04, y + _BAR, box.note, NOTE, MUTED, align="left")

    return Placed(box, width / 2, width / 2 + _note_width(box), _BAR, draw)


def _place_sign(box: Box) -> Placed:
    """Place a sum or a product: a plus or a cross in a circle."""
    plus = box.label == "add"
    reach = _SIGN * (0.6 if plus else 0.45)
    strokes = [((-1, 0), (1, 0)), ((0, -1), (0, 1))] if plus else [((-1, -1), (1, 1)), ((-1, 1), (1, -1))]

    def draw(pen: Pen, x: float, y: float) -> None:
        pen.circle(x, y + _SIGN, _SIGN)
        for stroke in strokes:
            pen.line([(x + dx * reach, y + _SIGN + dy * reach) for dx, dy in stroke], above=True)
        pen.text(x + _SIGN + 0.06, y + _SIGN + 0.12, box.note, NOTE, MUTED, align="left")

    return Placed(box, _SIGN, _SIGN + _note_width(box), 2 * _SIGN, draw)


def _note_width(box: Box) -> float:
    return 0.08 + text_width(box.note, NOTE) if box.note else 0.0


def mark_width(item: Item) -> float:
    """Return the width in inches of the stage's name beside the item that ends the stage; 0 without one."""
    if isinstance(item, Tangle) or not (item.stage or item.shape):
        return 0.0
    return 0.16 + max(text_width(item.stage, LABEL), text_width(item.shape, SMALL_LABEL))


def draw_mark(pen: Pen, item: Item, left: float, right: float, y: float) -> None:
    """Write the name of the stage that ends with an item and the shape of its output, above a line."""
    pen.text(left, y - 0.2, item.stage, LABEL, weight="bold", align="left")
    pen.text(left, y - 0.06, item.shape, SMALL_LABEL, MUTED, align="left")
    pen.line([(left, y + MARK_LINE), (right, y + MARK_LINE)], colour=GRID, width=0.7)
