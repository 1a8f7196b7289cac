"""The sizes of tangles and how they are drawn: boxes in a column with arcs beside it, or in layers."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
from scipy.optimize import isotonic_regression

from cnnlab.diagram.box_layout import GAP, LANE, LEAST_WIDTH, NOTE, Placed, box_size, draw_mark, mark_width, place_box
from cnnlab.diagram.items import Box, Tangle
from cnnlab.diagram.pen import Pen, Point, text_width
from cnnlab.figures.style import MUTED

_Passing = tuple[int, int, int]  # a point that a connection passes: from, to, level
_Key = int | _Passing  # a box of a tangle, or such a point

_STEP = 1.6 * GAP  # between boxes of a column
_ARC_CORNER = 0.1
_ARC_ABOVE, _ARC_BELOW, _ARC_AT_INPUT = 0.09, 0.07, 0.05  # from the ends of an arc to the boxes
_BESIDE = 0.14  # between boxes of a layer
_BETWEEN = 0.36  # between layers
_PASS = 0.06  # the width of a point that a connection passes
_ENTRY = NOTE + 0.6  # letters of the names of the inputs
_ENTRY_ROOM, _BELOW_ENTRY = 0.15, 0.14
_SWEEPS = 40  # in which every layer is ordered by its neighbours


def place_tangle(item: Tangle) -> Placed:
    """Place the boxes of a tangle in a column where each is a step of the longest path, else in layers."""
    ranks = _ranks(item)
    return _Layers(item, ranks).placed() if len(set(ranks)) < len(ranks) else _place_column(item)


def _ranks(item: Tangle) -> list[int]:
    """Return the layer of each box: below all boxes that feed it, as near as possible to the first one it feeds."""
    ranks = [0] * len(item.boxes)
    for i in range(len(ranks)):
        ranks[i] = max((ranks[a] + 1 for a, b in item.edges if b == i and a >= 0), default=0)
    for i in reversed(range(len(ranks))):
        ranks[i] = min((ranks[b] - 1 for a, b in item.edges if a == i), default=max(ranks))
    return ranks


def _place_column(item: Tangle) -> Placed:
    """Place boxes in a column, with arcs beside it for the connections that skip some."""
    width = max([LEAST_WIDTH, *(box_size(box)[0] for box in item.boxes if box.kind != "join")])
    parts = [place_box(box, width) for box in item.boxes]
    tops = [0.0, *itertools.accumulate(part.height + _STEP for part in parts)]
    lane_of = _lanes((a, b) for a, b in item.edges if b - a > 1)
    edge = max(part.right for part in parts)
    marks = max(map(mark_width, item.boxes))

    def draw(pen: Pen, x: float, y: float) -> None:
        for i, part in enumerate(parts):
            top = y + tops[i]
            if i and (i - 1, i) in item.edges:
                pen.line([(x, top - _STEP), (x, top)], arrow=True)
            part.draw(pen, x, top)
            if item.boxes[i].shape:
                draw_mark(pen, item.boxes[i], x - part.left - marks, x + edge, top + part.height)
        for (a, b), lane in lane_of.items():
            out = x + edge + LANE * (lane + 1)
            low = y + tops[b] - _ARC_ABOVE
            high = y + (tops[a] + parts[a].height + _ARC_BELOW if a >= 0 else -_ARC_AT_INPUT)
            pen.line([(x, high), (out, high), (out, low), (x, low)], rounding=_ARC_CORNER)

    left = max(part.left for part in parts) + marks
    right = edge + LANE * (max(lane_of.values(), default=-1) + 1)
    return Placed(item, left, right, tops[-1] - _STEP, draw)


def _lanes(skips: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return for each connection the first lane in which it overlaps no other, short ones first."""
    lane_of: dict[tuple[int, int], int] = {}
    for a, b in sorted(skips, key=lambda edge: (edge[1] - edge[0], edge)):
        taken = {lane for (c, d), lane in lane_of.items() if a < d and c < b}
        lane_of[a, b] = next(lane for lane in itertools.count() if lane not in taken)
    return lane_of


class _Layers:
    """Boxes in layers, each in the order that keeps connections short; long connections pass between boxes.

    The drawing of a tangle with named ``entries`` stands alone: its inputs are near the boxes that they feed, and no
    line leaves it. In any other the lines come from the axis of the block and lead back to it.

    Sugiyama, Tagawa, Toda: Methods for visual understanding of hierarchical system structures. 1981.
    """

    def __init__(self, item: Tangle, ranks: Sequence[int]) -> None:
        self.item, self.ranks = item, ranks
        self.parts = [place_box(_in_two_lines(box), 0.0) for box in item.boxes]
        self.end = len(self.parts)
        self.inputs = sorted({a for a, _ in item.edges if a < 0}, reverse=True)
        self.rows: list[list[_Key]] = [[i for i, rank in enumerate(ranks) if rank == r] for r in range(max(ranks) + 1)]
        self.paths: dict[tuple[int, int], list[_Passing]] = {}
        self.neighbours: defaultdict[_Key, list[_Key]] = defaultdict(list)
        self._route()
        self.positions: dict[_Key, float] = {self.end: 0.0, **dict.fromkeys(self.inputs, 0.0)}
        self._order()
        inner = [key for row in self.rows for key in row]
        leftmost = min(self.positions[key] - self._width(key) / 2 for key in inner)
        rightmost = max(self.positions[key] + self._width(key) / 2 for key in inner)
        self.half, middle = (rightmost - leftmost) / 2, (leftmost + rightmost) / 2
        for key in (*inner, *(self.inputs if item.entries else ())):
            self.positions[key] -= middle
        self.heights = [
            max((self.parts[key].height for key in row if isinstance(key, int)), default=0.1) for row in self.rows
        ]
        self.tops = [_BETWEEN + (_ENTRY_ROOM if item.entries else 0.0)]
        for tall in self.heights:
            self.tops.append(self.tops[-1] + tall + _BETWEEN)
        self.height = self.tops[-1] - _BETWEEN * (1.0 if item.entries else 0.4)

    def _route(self) -> None:
        """Give every connection a position in each layer that it passes, and note what is connected with what."""
        feeding = {a for a, _ in self.item.edges}
        edges = list(self.item.edges)
        if not self.item.entries:
            edges += [(i, self.end) for i in range(self.end) if i not in feeding]
        levels = {**dict.fromkeys(self.inputs, -1), **dict(enumerate(self.ranks)), self.end: len(self.rows)}
        for a, b in edges:
            # Connections from one box share their positions until the last layer.
            self.paths[a, b] = [
                (a, b if level == levels[b] - 1 else self.end, level) for level in range(levels[a] + 1, levels[b])
            ]
            for step in self.paths[a, b]:
                if step not in self.rows[step[2]]:
                    self.rows[step[2]].append(step)
            stops: list[_Key] = [a, *self.paths[a, b], b]
            for one, other in itertools.pairwise(stops):
                self.neighbours[one].append(other)
                self.neighbours[other].append(one)

    def _order(self) -> None:
        """Order each layer by where its neighbours are, and place it as near to them as it can be."""
        rows = self.rows
        if self.item.entries:
            rows = [[*reversed(self.inputs)], *rows]
        for row in rows:
            self._spread(row, [float(i) for i in range(len(row))])
        for sweep in range(_SWEEPS):
            for row in rows if sweep % 2 == 0 else reversed(rows):
                wishes = {key: fmean(self.positions[other] for other in self.neighbours[key]) for key in row}
                row.sort(key=wishes.__getitem__)
                self._spread(row, [wishes[key] for key in row])

    def _spread(self, row: Sequence[_Key], wishes: Sequence[float]) -> None:
        """Put the members of a row as near to where they wish to be as their widths allow, in this order."""
        widths = np.array([self._width(key) for key in row])
        offsets = np.cumsum(widths + _BESIDE) - widths / 2  # positions where all stand side by side
        self.positions.update(zip(row, isotonic_regression(wishes - offsets).x + offsets, strict=True))

    def _width(self, key: _Key) -> float:
        if not isinstance(key, int):
            return _PASS
        if key < 0:
            return max((text_width(name, _ENTRY) for name in self.item.entries), default=0.0)
        return self.parts[key].left + self.parts[key].right

    def _axis(self, key: int) -> float:
        """Return where lines meet a box or an input: words beside a box make it wider on one side."""
        aside = (self.parts[key].left - self.parts[key].right) / 2 if key >= 0 else 0.0
        return self.positions[key] + aside

    def placed(self) -> Placed:
        """Return the tangle with its size."""
        return Placed(self.item, self.half, self.half, self.height, self.draw, False)

    def draw(self, pen: Pen, x: float, y: float) -> None:
        """Draw the tangle around the axis ``x``, from ``y`` on."""
        for (a, b), path in self.paths.items():
            start = y + (_BELOW_ENTRY if self.item.entries else 0.0)
            if a >= 0:
                start = y + self.tops[self.ranks[a]] + self.parts[a].height
            points: list[Point] = [(x + self._axis(a), start)]
            for step in path:
                top = y + self.tops[step[2]]
                points += [(x + self.positions[step], top), (x + self.positions[step], top + self.heights[step[2]])]
            last = (x, y + self.height) if b == self.end else (x + self._axis(b), y + self.tops[self.ranks[b]])
            pen.curve([*points, last], arrow=b < self.end)
        for name, key in zip(self.item.entries, self.inputs, strict=False):
            pen.text(x + self.positions[key], y + 0.05, name, _ENTRY, MUTED)
        for i, part in enumerate(self.parts):
            part.draw(pen, x + self._axis(i), y + self.tops[self.ranks[i]])


def _in_two_lines(box: Box) -> Box:
    """Return the box with its label broken where both lines are about as long."""
    words = box.label.split()
    if box.kind == "join" or len(words) < 2:
        return box
    broken = (" ".join(words[:i]) + "\n" + " ".join(words[i:]) for i in range(1, len(words)))
    return replace(box, label=min(broken, key=lambda text: max(map(len, text.split("\n")))))
