"""The sizes of blocks and how they are drawn: series of items, branches side by side, shortcuts around them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

from cnnlab.diagram.box_layout import GAP, LABEL, LANE, LEAST_WIDTH, Placed, box_size, place_box
from cnnlab.diagram.items import Box, Item, Parallel, Series, count_boxes
from cnnlab.diagram.pen import Pen, text_width
from cnnlab.diagram.tangle_layout import place_tangle
from cnnlab.figures.style import MUTED

_GROUND = "#f5f6f8"  # the colour behind a block
_PAD = 0.09  # between a block and the edge of its ground
_BRANCH_GAP = 0.22
_FORK, _SHORT_FORK, _MERGE = 0.16, 0.1, 0.2  # above the branches, above a single one, below them
_LEVEL = 0.1  # above the end of a block, where its branches come together
_CORNER, _MERGE_CORNER, _SHORTCUT_CORNER = 0.09, 0.07, 0.14  # radii


def place(item: Item, width: float, depth: int = 0) -> Placed:
    """Return an item with its size and how it is drawn.

    Args:
        item: the item.
        width: width of the boxes on the main line in inches.
        depth: number of blocks around the item.
    """
    if isinstance(item, Box):
        return place_box(item, width)
    if isinstance(item, Series):
        parts = [place(each, width, depth + 1) for each in item.items]
        left, right = max(part.left for part in parts), max(part.right for part in parts)
        placed = Placed(item, left, right, series_height(parts), partial(draw_series, parts), parts[0].takes_arrow)
    elif isinstance(item, Parallel):
        placed = _Branches(item, width, depth).placed()
    else:
        placed = place_tangle(item)
    on_ground = item.times > 1 or (depth == 0 and isinstance(item, Parallel | Series))
    return _on_ground(placed) if on_ground else placed


def widest_box(items: Sequence[Item]) -> float:
    """Return the width of the widest box on the main line of the items."""
    widest = LEAST_WIDTH
    for item in items:
        if isinstance(item, Box) and item.kind != "join":
            widest = max(widest, box_size(item)[0])
        elif isinstance(item, Series):
            widest = max(widest, widest_box(item.items))
        elif isinstance(item, Parallel):
            longest, on_axis = _on_axis(item)
            if on_axis:
                widest = max(widest, widest_box(longest.items))
    return widest


def _on_axis(item: Parallel) -> tuple[Series, bool]:
    """Return the longest branch, and whether it stays on the axis, with the other branch around it to its right.

    It does when it is the only one with layers, or when the other one has at most one layer, as a projection shortcut.
    """
    full = sorted((branch for branch in item.branches if branch.items), key=count_boxes)
    shortcuts = len(item.branches) - len(full)
    one_around = len(full) == 2 and not shortcuts and count_boxes(full[0]) <= 1 < count_boxes(full[1])
    return full[-1], len(full) == 1 or one_around


def _on_ground(placed: Placed) -> Placed:
    """Place a block on a ground of its own, with how often it is repeated."""
    times = f"x{placed.item.times}" if placed.item.times > 1 else ""

    def draw(pen: Pen, x: float, y: float) -> None:
        width, height = placed.left + placed.right + 2 * _PAD, placed.height + 2 * _PAD
        pen.box(x - placed.left - _PAD, y, width, height, _GROUND, MUTED if times else _GROUND, _PAD, under=True)
        pen.line([(x, y), (x, y + _PAD)], arrow=placed.takes_arrow)
        placed.draw(pen, x, y + _PAD)
        pen.line([(x, y + _PAD + placed.height), (x, y + height)])
        pen.text(x + placed.right + _PAD + 0.06, y + 0.1, times, LABEL + 1, weight="bold", align="left")

    extra = 0.1 + text_width(times, LABEL + 1) if times else 0.0
    return Placed(placed.item, placed.left + _PAD, placed.right + _PAD + extra, placed.height + 2 * _PAD, draw, False)


def series_height(parts: Sequence[Placed]) -> float:
    """Return the height of items one below the other."""
    return sum(part.height for part in parts) + GAP * (len(parts) - 1)


def draw_series(parts: Sequence[Placed], pen: Pen, x: float, y: float) -> list[float]:
    """Draw items one below the other, with lines between them; return the y at which each ends."""
    ends = []
    for position, part in enumerate(parts):
        if position:
            pen.line([(x, y - GAP), (x, y)], arrow=part.takes_arrow)
        part.draw(pen, x, y)
        ends.append(y + part.height)
        y += part.height + GAP
    return ends


class _Branches:
    """Branches side by side, the longest on the axis where the others only lead around it; shortcuts at the right."""

    def __init__(self, item: Parallel, width: float, depth: int) -> None:
        self.item = item
        branches = [branch for branch in item.branches if branch.items]
        shortcuts = len(item.branches) - len(branches)
        _, self.on_axis = _on_axis(item)
        if self.on_axis:
            branches.sort(key=count_boxes, reverse=True)
        self.parts = [
            place(branch, width if self.on_axis and i == 0 else widest_box(branch.items), depth + 1)
            for i, branch in enumerate(branches)
        ]
        self.centres = self._centres(shortcuts)
        outer = max(centre + part.right for centre, part in zip(self.centres, self.parts, strict=True))
        self.lanes = [outer + LANE * (i + 1) for i in range(shortcuts)]
        self.join = None if item.join is None else place_box(item.join, widest_box([item.join]))
        self.fork = _FORK if len(self.parts) > 1 else _SHORT_FORK
        self.tallest = max(part.height for part in self.parts)

    def _centres(self, shortcuts: int) -> list[float]:
        """Return the axes of the branches, from the axis of the block."""
        centres = [0.0]
        for before, part in itertools.pairwise(self.parts):
            centres.append(centres[-1] + before.right + _BRANCH_GAP + part.left)
        if self.on_axis:
            return centres
        total = centres[-1] + self.parts[-1].right + self.parts[0].left + shortcuts * LANE
        return [centre + self.parts[0].left - total / 2 for centre in centres]

    def placed(self) -> Placed:
        """Return the block with its size."""
        left = max(part.left - centre for centre, part in zip(self.centres, self.parts, strict=True))
        right = max(
            [*self.lanes, *(centre + part.right for centre, part in zip(self.centres, self.parts, strict=True))]
        )
        height = self.fork + self.tallest + _MERGE
        if self.join is not None:
            left, right, height = max(left, self.join.left), max(right, self.join.right), height + self.join.height
        return Placed(self.item, left, right, height, self.draw, False)

    def draw(self, pen: Pen, x: float, y: float) -> None:
        """Draw the block around the axis ``x``, from ``y`` on."""
        end = y + self.fork + self.tallest + _MERGE
        for centre, part in zip(self.centres, self.parts, strict=True):
            # A short branch around a block stands beside its middle.
            start = y + self.fork + ((self.tallest - part.height) / 2 if self.on_axis and centre > 0 else 0.0)
            pen.line([(x, y), (x + centre, y), (x + centre, start)], arrow=part.takes_arrow, rounding=_CORNER)
            part.draw(pen, x + centre, start)
            self._lead_back(pen, x, centre, start + part.height, end)
        for lane in self.lanes:
            self._join_from_right(pen, x, [(x, y), (x + lane, y)], end, _SHORTCUT_CORNER)
        if self.join is not None:
            self.join.draw(pen, x, end)

    def _lead_back(self, pen: Pen, x: float, centre: float, below: float, end: float) -> None:
        """Draw the line from the end of a branch to where the branches meet."""
        if self.join is not None and self.on_axis and centre > 0:
            self._join_from_right(pen, x, [(x + centre, below)], end, _CORNER)
            return
        level = end - _LEVEL
        way = [(x + centre, below), (x + centre, level), (x, level), (x, end)]
        pen.line(way, arrow=self.join is not None, rounding=_MERGE_CORNER)

    def _join_from_right(self, pen: Pen, x: float, way: list[tuple[float, float]], end: float, rounding: float) -> None:
        """Draw a line that comes from the right to the join, or to the axis without one."""
        across = way[-1][0]
        if self.join is None:
            pen.line([*way, (across, end), (x, end)], rounding=rounding)
            return
        middle = end + self.join.height / 2
        pen.line([*way, (across, middle), (x + self.join.left, middle)], arrow=True, rounding=rounding)
