"""The sizes of tangles and how they are drawn: boxes in a column with arcs beside it, or in layers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cnnlab.diagram.box_layout import GAP, LANE, LEAST_WIDTH, NOTE, Placed, box_size, draw_mark, mark_width, place_box
from cnnlab.diagram.canvas import Canvas, Point, text_width
from cnnlab.diagram.items import Box, Tangle
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


def place_tangle(item: Tangle, *, loose: bool = False) -> Placed:
    """Place the boxes of a tangle in a column where each is a step of the longest path, else in layers.

    A ``loose`` drawing stands alone: its inputs are where they are near, and no line leaves it.
    """
    return _Layers(item, loose).placed() if is_layered(item) else _place_column(item)


def is_layered(item: Tangle) -> bool:
    """Return whether some boxes of a tangle stand beside each other."""
    return len(set(_ranks(item))) < len(item.boxes)


def _ranks(item: Tangle) -> list[int]:
    """Return for each box the length of the longest path to it."""
    ranks = [0] * len(item.boxes)
    for i in range(len(item.boxes)):
        ranks[i] = max((ranks[a] + 1 for a, b in item.edges if b == i and a >= 0), default=0)
    return ranks


def _late_ranks(item: Tangle) -> list[int]:
    """Return ranks in which every box is as near to the first one that it feeds as it can be."""
    ranks = _ranks(item)
    for i in reversed(range(len(ranks))):
        ranks[i] = min((ranks[b] - 1 for a, b in item.edges if a == i), default=max(ranks))
    lowest = min(ranks)
    return [rank - lowest for rank in ranks]


def _place_column(item: Tangle) -> Placed:
    """Place boxes in a column, with arcs beside it for the connections that skip some."""
    width = max([LEAST_WIDTH, *(box_size(box)[0] for box in item.boxes if box.kind != "join")])
    parts = [place_box(box, width) for box in item.boxes]
    tops = [0.0, *itertools.accumulate(part.height + _STEP for part in parts)]
    lane_of = _lanes([(a, b) for a, b in item.edges if b - a > 1])
    edge = max(part.right for part in parts)
    marks = max(map(mark_width, item.boxes))

    def draw(canvas: Canvas, x: float, y: float) -> None:
        for i, part in enumerate(parts):
            top = y + tops[i]
            if i and (i - 1, i) in item.edges:
                canvas.line([(x, top - _STEP), (x, top)], arrow=True)
            part.draw(canvas, x, top)
            if item.boxes[i].shape:
                draw_mark(canvas, item.boxes[i], x - part.left - marks, x + edge, top + part.height)
        for (a, b), lane in lane_of.items():
            out = x + edge + LANE * (lane + 1)
            low = y + tops[b] - _ARC_ABOVE
            high = y + (tops[a] + parts[a].height + _ARC_BELOW if a >= 0 else -_ARC_AT_INPUT)
            canvas.line([(x, high), (out, high), (out, low), (x, low)], rounding=_ARC_CORNER)

    left = max(part.left for part in parts) + marks
    right = edge + LANE * (max(lane_of.values(), default=-1) + 1)
    return Placed(item, left, right, tops[-1] - _STEP, draw)


def _lanes(skips: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return for each connection a lane in which it overlaps no other, short ones first."""
    lanes: list[list[tuple[int, int]]] = []
    lane_of = {}
    for a, b in sorted(skips, key=lambda edge: (edge[1] - edge[0], edge)):
        lane = next((i for i, others in enumerate(lanes) if all(b <= c or a >= d for c, d in others)), len(lanes))
        lanes += [[]] * (lane == len(lanes))
        lanes[lane] = [*lanes[lane], (a, b)]
        lane_of[a, b] = lane
    return lane_of


class _Layers:
    """Boxes in layers, each in the order that keeps connections short; long connections pass between boxes."""

    def __init__(self, item: Tangle, loose: bool) -> None:
        self.item, self.loose = item, loose
        self.ranks = _late_ranks(item)
        self.parts = [place_box(_in_two_lines(box), 0.0) for box in item.boxes]
        self.end = len(self.parts)
        feeding = {a for a, _ in item.edges}
        edges = [*item.edges, *((i, self.end) for i in range(self.end) if i not in feeding and not loose)]
        self.inputs = sorted({a for a, _ in edges if a < 0}, reverse=True)
        self.rows: list[list[_Key]] = [
            [i for i, rank in enumerate(self.ranks) if rank == level] for level in range(max(self.ranks) + 1)
        ]
        self.paths: dict[tuple[int, int], list[_Passing]] = {}
        neighbours = self._route(edges)
        self.sizes: dict[_Key, float] = {
            key: self.parts[key].left + self.parts[key].right if isinstance(key, int) else _PASS
            for row in self.rows
            for key in row
        }
        names = max((text_width(name, _ENTRY) for name in item.entries), default=0.0)
        self.sizes |= dict.fromkeys(self.inputs, names)
        self.positions: dict[_Key, float] = {self.end: 0.0, **dict.fromkeys(self.inputs, 0.0)}
        self._order(neighbours)
        self.heights = [
            max((self.parts[key].height for key in row if isinstance(key, int)), default=0.1) for row in self.rows
        ]
        self.tops = [_BETWEEN + (_ENTRY_ROOM if item.entries else 0.0)]
        for tall in self.heights:
            self.tops.append(self.tops[-1] + tall + _BETWEEN)
        self.height = self.tops[-1] - _BETWEEN * (1.0 if loose else 0.4)

    def _route(self, edges: Sequence[tuple[int, int]]) -> dict[_Key, list[_Key]]:
        """Give every connection a position in each layer that it passes; return what is connected with what."""
        levels: dict[int, int] = dict.fromkeys(self.inputs, -1) | {self.end: len(self.rows)}
        levels |= dict(enumerate(self.ranks))
        neighbours: dict[_Key, list[_Key]] = {}
        for a, b in edges:
            # Connections from one box share their positions until the last layer.
            self.paths[a, b] = [
                (a, b if level == levels[b] - 1 else self.end, level) for level in range(levels[a] + 1, levels[b])
            ]
            for step in self.paths[a, b]:
                if step not in self.rows[step[2]]:
                    self.rows[step[2]].append(step)
            whole: list[_Key] = [a, *self.paths[a, b], b]
            for one, other in itertools.pairwise(whole):
                neighbours.setdefault(one, []).append(other)
                neighbours.setdefault(other, []).append(one)
        return neighbours

    def _order(self, neighbours: Mapping[_Key, Sequence[_Key]]) -> None:
        """Order each layer by where its neighbours are, and place it as near to them as it can be."""
        top: list[_Key] = list(reversed(self.inputs))
        rows = [top, *self.rows] if self.loose else self.rows
        for row in rows:
            self._spread(row, {key: float(i) for i, key in enumerate(row)})
        for sweep in range(_SWEEPS):
            for row in rows if sweep % 2 == 0 else reversed(rows):
                wishes = {key: _mean([self.positions[other] for other in neighbours[key]]) for key in row}
                row.sort(key=wishes.__getitem__)
                self._spread(row, wishes)
        inner = [key for row in self.rows for key in row]
        leftmost = min(self.positions[key] - self.sizes[key] / 2 for key in inner)
        rightmost = max(self.positions[key] + self.sizes[key] / 2 for key in inner)
        self.half = (rightmost - leftmost) / 2
        for key in (*inner, *(top if self.loose else ())):
            self.positions[key] -= (leftmost + rightmost) / 2

    def _spread(self, row: Sequence[_Key], wishes: Mapping[_Key, float]) -> None:
        """Put the members of a row as near to where they wish to be as their sizes allow, in this order."""
        # Those that would overlap form a cluster, which moves to the mean of its members' wishes.
        clusters: list[tuple[list[_Key], float]] = []  # members, and the left edge of the first
        for key in row:
            members, left = [key], wishes[key] - self.sizes[key] / 2
            while clusters and clusters[-1][1] + self._extent(clusters[-1][0]) > left:
                members = clusters.pop()[0] + members
                offsets = [0.0, *itertools.accumulate(self.sizes[member] + _BESIDE for member in members)]
                left = _mean([wishes[m] - self.sizes[m] / 2 - o for m, o in zip(members, offsets, strict=False)])
            clusters.append((members, left))
        for members, left in clusters:
            for key in members:
                self.positions[key] = left + self.sizes[key] / 2
                left += self.sizes[key] + _BESIDE

    def _extent(self, members: Sequence[_Key]) -> float:
        return sum(self.sizes[key] + _BESIDE for key in members)

    def placed(self) -> Placed:
        """Return the tangle with its size."""
        return Placed(self.item, self.half, self.half, self.height, self.draw, False)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw the tangle around the axis ``x``, from ``y`` on."""
        for (a, b), path in self.paths.items():
            start = y + (_BELOW_ENTRY if self.item.entries else 0.0)
            if a >= 0:
                start = y + self.tops[self.ranks[a]] + self.parts[a].height
            points: list[Point] = [(x + self.positions[a], start)]
            for step in path:
                top = y + self.tops[step[2]]
                points += [(x + self.positions[step], top), (x + self.positions[step], top + self.heights[step[2]])]
            last = (x, y + self.height) if b == self.end else (x + self.positions[b], y + self.tops[self.ranks[b]])
            canvas.curve([*points, last], arrow=b < self.end)
        for name, key in zip(self.item.entries, self.inputs, strict=False):
            canvas.text(x + self.positions[key], y + 0.05, name, _ENTRY, MUTED)
        for i, part in enumerate(self.parts):
            part.draw(canvas, x + self.positions[i] + (part.left - part.right) / 2, y + self.tops[self.ranks[i]])


def _in_two_lines(box: Box) -> Box:
    """Return the box with its label broken where both lines are about as long."""
    words = box.label.split()
    if box.kind == "join" or len(words) < 2:
        return box
    broken = (" ".join(words[:i]) + "\n" + " ".join(words[i:]) for i in range(1, len(words)))
    return replace(box, label=min(broken, key=lambda text: max(map(len, text.split("\n")))))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
