"""The page of a drawing: the main line in columns, the blocks that it names beside it, a title and a legend."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from cnnlab.diagram.block_layout import draw_series, place, series_height, widest_box
from cnnlab.diagram.box_layout import GAP, KINDS, LABEL, SMALL_LABEL, TITLE, draw_mark, mark_width
from cnnlab.diagram.items import Box, Diagram, Item, Tangle, boxes_in
from cnnlab.diagram.pen import Pen, Point, text_width
from cnnlab.figures.style import GRID, MUTED, new_figure

# Lengths in inches.
_MARGIN, _COLUMN_GAP = 0.2, 0.45
_LEAST_WIDTH = 2.6
_TITLE_ROOM, _SUBTITLE_ROOM = 0.4, 0.6  # above the drawing, with a title, and with a subtitle too
_TITLE_Y, _SUBTITLE_Y = 0.22, 0.43
_INPUT_ROOM = 0.55  # above the first column, for the words that say what goes in
_DETAIL_ROOM, _DETAIL_TOP = 0.75, 0.4  # around the drawing of a block, and above it
_LEGEND_ROOM, _LEGEND_ROW, _LEGEND_BELOW = 0.3, 0.22, 0.08
_SWATCH, _SWATCH_HEIGHT, _AFTER_SWATCH, _LEGEND_GAP = 0.2, 0.13, 0.26, 0.45
_BOLD = 1.15  # width of bold letters, compared with usual ones
# A drawing that is not higher stays in one column: alone, and with others to its right.
_TALL, _TALL_BESIDE = 6.5, 12.0
_MOST_COLUMNS = 8


def block_diagram(diagram: Diagram) -> Figure:
    """Draw a network from top to bottom, in as many columns as make a page of usual proportions."""
    line = diagram.body.items or (Box("identity", kind="other"),)
    columns = [_Column(items) for items in _broken(line, alone=not diagram.details)]
    details = _stacked([_Detail(title, item) for title, item in diagram.details], max(c.height for c in columns))
    widths = [*(column.width for column in columns), *(max(d.width for d in stack) for stack in details)]
    width = 2 * _MARGIN + sum(widths) + _COLUMN_GAP * (len(widths) - 1)
    width = max(width, 2 * _MARGIN + text_width(diagram.title, TITLE) * _BOLD, _LEAST_WIDTH)
    legend = _legend_rows(diagram, width - 2 * _MARGIN)
    top = _SUBTITLE_ROOM if diagram.subtitle else _TITLE_ROOM
    below = max(
        [*(_INPUT_ROOM + column.height for column in columns), *(sum(d.height for d in stack) for stack in details)]
    )
    height = top + below + _LEGEND_ROOM + _LEGEND_ROW * len(legend) + _LEGEND_BELOW

    figure = new_figure(width, height, layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    pen = Pen(axes)
    pen.text(_MARGIN, _TITLE_Y, diagram.title, TITLE, weight="bold", align="left")
    pen.text(_MARGIN, _SUBTITLE_Y, diagram.subtitle, LABEL, MUTED, align="left")
    x = _draw_columns(pen, columns, diagram.input, top)
    for stack in details:
        y = top
        for detail in stack:
            detail.draw(pen, x, y)
            y += detail.height
        x += max(detail.width for detail in stack) + _COLUMN_GAP
    _draw_legend(pen, legend, height - _LEGEND_BELOW - _LEGEND_ROW * len(legend))
    return figure


class _Column:
    """Items of the main line below each other, with the stages that end there beside them."""

    def __init__(self, items: Sequence[Item]) -> None:
        width = widest_box(items)
        self.parts = [place(item, width) for item in items]
        self.axis = max(map(mark_width, items)) + max(part.left for part in self.parts)
        self.width = self.axis + max(part.right for part in self.parts)
        self.height = series_height(self.parts)

    def draw(self, pen: Pen, x: float, y: float) -> None:
        """Draw the column with its left edge at ``x``."""
        ends = draw_series(self.parts, pen, x + self.axis, y)
        for part, end in zip(self.parts, ends, strict=True):
            if part.item.shape:
                draw_mark(pen, part.item, x, x + self.width, end)


class _Detail:
    """The drawing of a block that the main line names."""

    def __init__(self, title: str, item: Item) -> None:
        self.title = title
        self.part = place(item, widest_box([item]))
        self.width = max(self.part.left + self.part.right, text_width(title, LABEL + 1) * _BOLD)
        self.height = self.part.height + _DETAIL_ROOM

    def draw(self, pen: Pen, x: float, y: float) -> None:
        """Draw the block under its title, with its left edge at ``x``."""
        pen.text(x, y + 0.1, self.title, LABEL + 1, weight="bold", align="left")
        pen.line([(x, y + 0.22), (x + self.width, y + 0.22)], colour=GRID, width=0.7)
        axis = x + self.width / 2 + (self.part.left - self.part.right) / 2
        if not isinstance(self.part.item, Tangle):
            pen.line([(axis, y + 0.28), (axis, y + _DETAIL_TOP)], arrow=self.part.takes_arrow)
        self.part.draw(pen, axis, y + _DETAIL_TOP)


def _draw_columns(pen: Pen, columns: Sequence[_Column], inputs: str, top: float) -> float:
    """Draw the columns of the main line and the lines between them; return where the next column begins."""
    x, y = _MARGIN, top + _INPUT_ROOM
    before: Point | None = None  # end of the line in the column before
    for column in columns:
        axis = x + column.axis
        arrow = column.parts[0].takes_arrow
        if before is None:
            pen.text(axis, top + 0.1, "input", LABEL, weight="bold")
            pen.text(axis, top + 0.24, inputs, LABEL - 0.5, MUTED)
            pen.line([(axis, top + 0.33), (axis, y)], arrow=arrow)
        else:
            across, high, low = x - _COLUMN_GAP / 2, y - 0.22, before[1] + 0.14
            way = [before, (before[0], low), (across, low), (across, high), (axis, high), (axis, y)]
            pen.line(way, arrow=arrow)
        column.draw(pen, x, y)
        before = (axis, y + column.height)
        x += column.width + _COLUMN_GAP
    return x


def _broken(items: Sequence[Item], alone: bool) -> list[list[Item]]:
    """Return the items in columns such that the page is about as wide as high; one where that is enough.

    A drawing that is not ``alone`` has others to its right, and stays in one column as long as it can.
    """
    parts = [place(item, widest_box(items)) for item in items]
    heights = [part.height + GAP for part in parts]
    width = max(part.left + part.right for part in parts) + max(map(mark_width, items)) + _COLUMN_GAP
    if sum(heights) < (_TALL if alone else _TALL_BESIDE):
        return [list(items)]
    choices = []
    for count in range(1, _MOST_COLUMNS + 1):
        limit = max(sum(heights) / count, *heights)
        while len(columns := _filled(heights, limit, [bool(item.shape) for item in items])) > count:
            limit *= 1.03
        tall = max(sum(heights[i] for i in column) for column in columns)
        choices.append((abs(math.log(width * len(columns) / (tall + 1.2))), columns))
    return [[items[i] for i in column] for column in min(choices)[1]]


def _stacked(details: Sequence[_Detail], beside: float) -> list[list[_Detail]]:
    """Return the drawings of blocks in columns, such that all of them together are about as wide as high."""
    heights = [detail.height for detail in details]
    choices = []
    for limit in (beside + _INPUT_ROOM, *itertools.accumulate(heights)):
        columns = _filled(heights, limit)
        wide = sum(max((details[i].width for i in column), default=1.0) for column in columns)
        tall = max(beside, *(sum(heights[i] for i in column) for column in columns))
        choices.append((abs(math.log(wide / tall / 1.1)), columns))
    return [[details[i] for i in column] for column in min(choices)[1]] if details else []


def _filled(sizes: Sequence[float], limit: float, ends: Sequence[bool] = ()) -> list[list[int]]:
    """Return the indices of parts in columns, or rows, in which their sizes sum to at most ``limit``.

    Args:
        sizes: size of each part; one that is larger than the limit has a column of its own.
        limit: largest sum of sizes.
        ends: whether each part ends a stage; a column that is more than 0.6 full ends with a stage where it can.
    """
    columns: list[list[int]] = [[]]
    for i, size in enumerate(sizes):
        column = columns[-1]
        if column and sum(sizes[j] for j in column) + size > limit:
            split = max((j + 1 for j in column if ends and ends[j]), default=i)
            split = split if sum(sizes[column[0] : split]) > 0.6 * limit else i
            columns[-1:] = [list(range(column[0], split)), list(range(split, i))]
        columns[-1].append(i)
    return columns


def _legend_rows(diagram: Diagram, width: float) -> list[list[str]]:
    """Return the kinds of boxes that are drawn, in rows that fit the width."""
    drawn = {box.kind for item in (diagram.body, *(item for _, item in diagram.details)) for box in boxes_in(item)}
    kinds = [kind for kind in KINDS if kind in drawn]
    rows = _filled([_LEGEND_GAP + text_width(KINDS[kind][0], SMALL_LABEL) for kind in kinds], width)
    return [[kinds[i] for i in row] for row in rows]


def _draw_legend(pen: Pen, rows: Sequence[Sequence[str]], y: float) -> None:
    for row in rows:
        x = _MARGIN
        for kind in row:
            name, fill, edge = KINDS[kind]
            pen.box(x, y, _SWATCH, _SWATCH_HEIGHT, fill, edge, 0.02)
            pen.text(x + _AFTER_SWATCH, y + 0.07, name, SMALL_LABEL, align="left")
            x += _LEGEND_GAP + text_width(name, SMALL_LABEL)
        y += _LEGEND_ROW
