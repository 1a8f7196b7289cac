"""Drawings of networks as in the papers: a box per layer, branches side by side, shortcuts as arcs around blocks.

The drawing is told what to show by a :class:`Diagram`, nested from four kinds of items; it knows nothing of networks.
Lengths are in inches, downwards.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from cnnlab.figures.style import GRID, INK, MUTED, new_figure


@dataclass(frozen=True)
class Box:
    """A layer: its label, what follows it (``note``) and comes before it in smaller letters, the kind for its colour.

    Every item may be repeated (``times``) and end a stage, whose name and output shape then stand beside it.
    A box of the kind ``"join"`` is where branches meet: its label is ``"add"``, ``"multiply"`` or ``"concat"``.
    """

    label: str
    note: str = ""
    before: str = ""
    kind: str = "conv"
    times: int = 1
    stage: str = ""
    shape: str = ""


@dataclass(frozen=True)
class Series:
    """Items one after the other."""

    items: tuple[Item, ...]
    times: int = 1
    stage: str = ""
    shape: str = ""


@dataclass(frozen=True)
class Parallel:
    """Branches from one place that meet in ``join``; a branch without items is a shortcut."""

    branches: tuple[Series, ...]
    join: Box | None
    times: int = 1
    stage: str = ""
    shape: str = ""


@dataclass(frozen=True)
class Tangle:
    """Boxes with connections (from, to) of any other sort; -1, -2, ... are its inputs, called ``entries``."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]
    entries: tuple[str, ...] = ()
    times: int = 1
    stage: str = ""
    shape: str = ""


Item = Box | Series | Parallel | Tangle
_Key = int | tuple[int, int, int]  # a box of a tangle, or a place that a connection passes


@dataclass(frozen=True)
class Diagram:
    """What :func:`block_diagram` draws: the main line from the input, and drawings of the blocks that it names."""

    title: str
    input: str
    body: Series
    details: tuple[tuple[str, Item], ...] = ()
    subtitle: str = ""


# Kind -> name in the legend, fill, edge.
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
_LABEL, _NOTE, _TITLE = 8.0, 6.2, 11.0
_GAP, _PAD, _LANE = 0.17, 0.09, 0.16
_COLUMN_GAP, _MARGIN = 0.45, 0.2
_HEAD = 0.55  # the words above the first column
_BETWEEN = 0.14  # boxes of a layer


def block_diagram(diagram: Diagram) -> Figure:
    """Draw a network from top to bottom, in as many columns as make a page of usual proportions."""
    line = diagram.body.items or (Box("identity", kind="other"),)
    columns = [_Column(items) for items in _broken(line, alone=not diagram.details)]
    details = _packed([_Detail(title, item) for title, item in diagram.details], max(c.height for c in columns))
    widths = [*(column.width for column in columns), *(max(d.width for d in part) for part in details)]
    width = 2 * _MARGIN + sum(widths) + _COLUMN_GAP * (len(widths) - 1)
    width = max(width, 2 * _MARGIN + _text_width(diagram.title, _TITLE) * 1.15, 2.6)
    legend = _legend_rows(_kinds(diagram), width - 2 * _MARGIN)
    top = 0.6 if diagram.subtitle else 0.4
    below = max(_HEAD + column.height for column in columns)
    below = max([below, *(sum(detail.height for detail in part) for part in details)])
    height = top + below + 0.3 + 0.22 * len(legend) + 0.08

    figure = new_figure(width, height, layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    canvas = _Canvas(axes)
    canvas.text(_MARGIN, 0.22, diagram.title, _TITLE, weight="bold", align="left")
    canvas.text(_MARGIN, 0.43, diagram.subtitle, _LABEL, MUTED, align="left")
    x, y = _MARGIN, top + _HEAD
    before: tuple[float, float] | None = None  # where the line leaves the column before
    for column in columns:
        axis = x + column.axis
        if before is None:
            canvas.text(axis, top + 0.1, "input", _LABEL, weight="bold")
            canvas.text(axis, top + 0.24, diagram.input, _LABEL - 0.5, MUTED)
            canvas.line([(axis, top + 0.33), (axis, y)], arrow=column.parts[0].takes_arrow)
        else:
            across, high, low = x - _COLUMN_GAP / 2, y - 0.22, before[1] + 0.14
            way = [before, (before[0], low), (across, low), (across, high), (axis, high), (axis, y)]
            canvas.line(way, arrow=column.parts[0].takes_arrow)
        column.draw(canvas, x, y)
        before = (axis, y + column.height)
        x += column.width + _COLUMN_GAP
    for part in details:
        y = top
        for detail in part:
            detail.draw(canvas, x, y)
            y += detail.height
        x += max(detail.width for detail in part) + _COLUMN_GAP
    _draw_legend(canvas, legend, height - 0.08 - 0.22 * len(legend))
    return figure


class _Column:
    """Items of the main line below each other, with the stages that end there beside them."""

    def __init__(self, items: Sequence[Item]) -> None:
        width = _widest(items)
        self.parts = [_laid(item, width) for item in items]
        self.axis = max((_mark_width(item) for item in items), default=0.0) + max(part.left for part in self.parts)
        self.width = self.axis + max(part.right for part in self.parts)
        self.height = sum(part.height for part in self.parts) + _GAP * (len(self.parts) - 1)

    def draw(self, canvas: _Canvas, x: float, y: float) -> None:
        axis = x + self.axis
        for position, part in enumerate(self.parts):
            if position:
                canvas.line([(axis, y - _GAP), (axis, y)], arrow=part.takes_arrow)
            part.draw(canvas, axis, y)
            if part.item.shape:
                _draw_mark(canvas, part.item, x, x + self.width, y + part.height)
            y += part.height + _GAP


class _Detail:
    """The drawing of a block that the main line names."""

    def __init__(self, title: str, item: Item) -> None:
        layered = isinstance(item, Tangle) and len(set(_ranks(item))) < len(item.boxes)
        self.title = title
        self.part = (
            _laid_layers(item, loose=True) if layered and isinstance(item, Tangle) else _laid(item, _widest([item]))
        )
        self.width = max(self.part.left + self.part.right, _text_width(title, _LABEL + 1) * 1.15)
        self.height = self.part.height + 0.75

    def draw(self, canvas: _Canvas, x: float, y: float) -> None:
        canvas.text(x, y + 0.1, self.title, _LABEL + 1, weight="bold", align="left")
        canvas.line([(x, y + 0.22), (x + self.width, y + 0.22)], colour=GRID, width=0.7)
        axis = x + self.width / 2 + (self.part.left - self.part.right) / 2
        if not isinstance(self.part.item, Tangle):
            canvas.line([(axis, y + 0.28), (axis, y + 0.4)], arrow=self.part.takes_arrow)
        self.part.draw(canvas, axis, y + 0.4)


# Items that know their size and how to draw themselves around a vertical axis


@dataclass(frozen=True)
class _Laid:
    item: Item
    left: float
    right: float
    height: float
    draw: Callable[[_Canvas, float, float], None]
    takes_arrow: bool = True  # whether the line into it ends in an arrow head


def _laid(item: Item, width: float, depth: int = 0) -> _Laid:
    """Return the item with its size; ``width`` is that of boxes on the main line."""
    if isinstance(item, Box):
        laid = _laid_box(item, width)
    elif isinstance(item, Series):
        laid = _laid_series(item, width, depth)
    elif isinstance(item, Parallel):
        laid = _laid_parallel(item, width, depth)
    else:
        laid = _laid_tangle(item)
    framed = item.times > 1 and not isinstance(item, Box)
    return _in_frame(laid) if framed or (depth == 0 and isinstance(item, Parallel | Series)) else laid


def _in_frame(laid: _Laid) -> _Laid:
    """A block with a ground of its own, and how often it comes."""
    times = laid.item.times
    extra = 0.1 + _text_width(f"x{times}", _LABEL + 1) if times > 1 else 0.0

    def draw(canvas: _Canvas, x: float, y: float) -> None:
        canvas.box(
            x - laid.left - _PAD, y, laid.left + laid.right + 2 * _PAD, laid.height + 2 * _PAD,
            "#f5f6f8", MUTED if times > 1 else "#f5f6f8", 0.09, under=True,
        )  # fmt: skip
        canvas.line([(x, y), (x, y + _PAD)], arrow=laid.takes_arrow)
        laid.draw(canvas, x, y + _PAD)
        canvas.line([(x, y + _PAD + laid.height), (x, y + 2 * _PAD + laid.height)])
        if times > 1:
            canvas.text(x + laid.right + _PAD + 0.06, y + 0.1, f"x{times}", _LABEL + 1, weight="bold", align="left")

    return _Laid(laid.item, laid.left + _PAD, laid.right + _PAD + extra, laid.height + 2 * _PAD, draw, False)


def _box_size(box: Box) -> tuple[float, float]:
    lines = box.label.split("\n")
    text = max(
        _text_width(box.note, _NOTE), _text_width(box.before, _NOTE), *(_text_width(line, _LABEL) for line in lines)
    )
    return text + 0.18, 0.26 + 0.125 * (len(lines) - 1) + 0.1 * bool(box.note) + 0.1 * bool(box.before)


def _laid_box(box: Box, width: float) -> _Laid:
    if box.kind == "join":
        return _laid_join(box)
    own, height = _box_size(box)
    width = max(own, width)
    extra = 0.09 + _text_width(f"x{box.times}", _LABEL) if box.times > 1 else 0.0
    _, fill, edge = KINDS.get(box.kind, KINDS["other"])

    def draw(canvas: _Canvas, x: float, y: float) -> None:
        if box.times > 1:
            canvas.box(x - width / 2 + 0.035, y + 0.035, width, height, fill, edge)
            canvas.text(x + width / 2 + 0.09, y + height / 2, f"x{box.times}", _LABEL, weight="bold", align="left")
        canvas.box(x - width / 2, y, width, height, fill, edge)
        at = y + 0.13 + 0.105 * bool(box.before)
        canvas.text(x, y + 0.095, box.before, _NOTE, MUTED)
        for line in box.label.split("\n"):
            canvas.text(x, at, line, _LABEL)
            at += 0.125
        canvas.text(x, at + 0.01, box.note, _NOTE, MUTED)

    return _Laid(box, width / 2, width / 2 + extra, height, draw)


_RADIUS = 0.085


def _laid_join(box: Box) -> _Laid:
    note = 0.08 + _text_width(box.note, _NOTE) if box.note else 0.0
    if box.label == "concat":
        width = _text_width("concat", _LABEL - 1) + 0.2

        def draw_bar(canvas: _Canvas, x: float, y: float) -> None:
            canvas.box(x - width / 2, y, width, 0.19, "white", INK, 0.09)
            canvas.text(x, y + 0.095, "concat", _LABEL - 1)
            if box.note:
                canvas.text(x + width / 2 + 0.04, y + 0.19, box.note, _NOTE, MUTED, align="left")

        return _Laid(box, width / 2, width / 2 + note, 0.19, draw_bar)

    def draw(canvas: _Canvas, x: float, y: float) -> None:
        canvas.circle(x, y + _RADIUS, _RADIUS)
        reach = _RADIUS * (0.6 if box.label == "add" else 0.45)
        y += _RADIUS
        if box.label == "add":
            canvas.line([(x - reach, y), (x + reach, y)], above=True)
            canvas.line([(x, y - reach), (x, y + reach)], above=True)
        else:
            canvas.line([(x - reach, y - reach), (x + reach, y + reach)], above=True)
            canvas.line([(x - reach, y + reach), (x + reach, y - reach)], above=True)
        if box.note:
            canvas.text(x + _RADIUS + 0.06, y + 0.12, box.note, _NOTE, MUTED, align="left")

    return _Laid(box, _RADIUS, _RADIUS + note, 2 * _RADIUS, draw)


def _laid_series(series: Series, width: float, depth: int) -> _Laid:
    parts = [_laid(item, width, depth + 1) for item in series.items]

    def draw(canvas: _Canvas, x: float, y: float) -> None:
        for position, part in enumerate(parts):
            if position:
                canvas.line([(x, y - _GAP), (x, y)], arrow=part.takes_arrow)
            part.draw(canvas, x, y)
            y += part.height + _GAP

    height = sum(part.height for part in parts) + _GAP * (len(parts) - 1)
    left, right = max(part.left for part in parts), max(part.right for part in parts)
    return _Laid(series, left, right, height, draw, parts[0].takes_arrow)


def _laid_parallel(item: Parallel, width: float, depth: int) -> _Laid:
    full = [branch for branch in item.branches if branch.items]
    shortcuts = len(item.branches) - len(full)
    lengths = [_count(branch) for branch in full]
    # A block with a shortcut stays on the axis; the way around it, with or without a layer in it, is to its right.
    around = len(full) == 2 and not shortcuts and max(lengths) > min(lengths) and min(lengths) <= 1
    main_first = around or len(full) == 1
    if around:
        full.sort(key=_count, reverse=True)
    parts = [_laid(branch, width if main_first and i == 0 else _widest(branch.items), depth + 1)
             for i, branch in enumerate(full)]  # fmt: skip
    gap = 0.22
    if main_first:
        centres = [0.0]
        for before, part in itertools.pairwise(parts):
            centres.append(centres[-1] + before.right + gap + part.left)
    else:
        total = sum(part.left + part.right for part in parts) + gap * (len(parts) - 1) + shortcuts * _LANE
        at, centres = -total / 2, []
        for part in parts:
            centres.append(at + part.left)
            at += part.left + part.right + gap
    outer = max(centre + part.right for centre, part in zip(centres, parts, strict=True))
    lanes = [outer + _LANE * (i + 1) for i in range(shortcuts)]
    join = None if item.join is None else _laid(item.join, _widest([item.join]), depth + 1)
    fork = 0.16 if len(parts) > 1 else 0.1
    tall = max(part.height for part in parts)
    merge = fork + tall
    to_join = 0.2
    join_height = join.height if join is not None else 0.0
    height = merge + to_join + join_height

    def draw(canvas: _Canvas, x: float, y: float) -> None:
        end = y + merge + to_join
        middle = end + join_height / 2
        for centre, part in zip(centres, parts, strict=True):
            start = y + fork
            if main_first and centre > 0:
                start += (tall - part.height) / 2  # beside the middle of the block
            if centre == 0:
                canvas.line([(x, y), (x, start)], arrow=part.takes_arrow)
            else:
                canvas.line([(x, y), (x + centre, y), (x + centre, start)], arrow=part.takes_arrow, round_=0.09)
            part.draw(canvas, x + centre, start)
            below = start + part.height
            if centre == 0:
                canvas.line([(x, below), (x, end)], arrow=join is not None)
            elif join is not None and main_first:
                canvas.line(
                    [(x + centre, below), (x + centre, middle), (x + join_edge, middle)], arrow=True, round_=0.09
                )
            else:
                level = end - 0.1
                canvas.line([(x + centre, below), (x + centre, level), (x, level), (x, end)], arrow=join is not None,
                            round_=0.07)  # fmt: skip
        for lane in lanes:
            if join is not None:
                canvas.line(
                    [(x, y), (x + lane, y), (x + lane, middle), (x + join_edge, middle)], arrow=True, round_=0.14
                )
            else:
                canvas.line([(x, y), (x + lane, y), (x + lane, end), (x, end)], round_=0.14)
        if join is not None:
            join.draw(canvas, x, end)

    join_edge = (
        _RADIUS if item.join is not None and item.join.label != "concat" else join.left if join is not None else 0.0
    )
    left = max([*(part.left - centre for centre, part in zip(centres, parts, strict=True)), join.left if join else 0])
    right = max([outer, *lanes, join.right if join else 0])
    return _Laid(item, left, right, height, draw, False)


def _count(item: Item) -> int:
    if isinstance(item, Series):
        return sum(_count(each) for each in item.items)
    if isinstance(item, Parallel):
        return sum(_count(each) for each in item.branches)
    return len(item.boxes) if isinstance(item, Tangle) else 1


def _laid_tangle(item: Tangle) -> _Laid:
    ranks = _ranks(item)
    if len(set(ranks)) == len(ranks):
        return _laid_ladder(item)
    return _laid_layers(item)


def _ranks(item: Tangle) -> list[int]:
    """Return for each box the length of the longest way to it."""
    ranks = [0] * len(item.boxes)
    for i in range(len(item.boxes)):
        ranks[i] = max((ranks[a] + 1 for a, b in item.edges if b == i and a >= 0), default=0)
    return ranks


def _laid_ladder(item: Tangle) -> _Laid:
    """Boxes in a column, with arcs beside it for the connections that skip some."""
    width = _widest(item.boxes)
    parts = [_laid(box, width, 1) for box in item.boxes]
    tops, at = [], 0.0
    for part in parts:
        tops.append(at)
        at += part.height + 1.6 * _GAP
    height = at - 1.6 * _GAP
    skips = sorted(((a, b) for a, b in item.edges if b - a > 1), key=lambda edge: (edge[1] - edge[0], edge))
    lanes: list[list[tuple[int, int]]] = []
    lane_of = {}
    for a, b in skips:
        lane = next((i for i, taken in enumerate(lanes) if all(b <= c or a >= d for c, d in taken)), len(lanes))
        if lane == len(lanes):
            lanes.append([])
        lanes[lane].append((a, b))
        lane_of[a, b] = lane
    edge = max(part.right for part in parts)
    marks = max((_mark_width(box) for box in item.boxes), default=0.0)

    def draw(canvas: _Canvas, x: float, y: float) -> None:
        for i, part in enumerate(parts):
            if i and (i - 1, i) in item.edges:
                canvas.line([(x, y + tops[i] - 1.6 * _GAP), (x, y + tops[i])], arrow=True)
            part.draw(canvas, x, y + tops[i])
            if item.boxes[i].shape:
                _draw_mark(canvas, item.boxes[i], x - part.left - marks, x + edge, y + tops[i] + part.height)
        for (a, b), lane in lane_of.items():
            out = x + edge + _LANE * (lane + 1)
            low = y + tops[b] - 0.09
            high = y + (tops[a] + parts[a].height + 0.07 if a >= 0 else -0.05)
            canvas.line([(x, high), (out, high), (out, low), (x, low)], round_=0.1)

    left = max(part.left for part in parts) + marks
    return _Laid(item, left, edge + _LANE * len(lanes), height, draw)


def _late_ranks(item: Tangle) -> list[int]:
    """Return ranks in which every box is as near to the first one that it feeds as it can be."""
    ranks = _ranks(item)
    for i in reversed(range(len(ranks))):
        ranks[i] = min((ranks[b] - 1 for a, b in item.edges if a == i), default=max(ranks))
    lowest = min(ranks)
    return [rank - lowest for rank in ranks]


def _laid_layers(item: Tangle, *, loose: bool = False) -> _Laid:
    """Boxes in layers, each in the order that keeps connections short; long connections pass between boxes.

    A ``loose`` drawing stands alone: its inputs are where they are near, and no line leaves it.
    """
    ranks = _late_ranks(item)
    keys: list[list[_Key]] = [[i for i, rank in enumerate(ranks) if rank == level] for level in range(max(ranks) + 1)]
    parts = [_laid(_in_two_lines(box), 0.0, 1) for box in item.boxes]
    end, fed = len(parts), {a for a, _ in item.edges}
    edges = [*item.edges, *((i, end) for i in range(end) if i not in fed and not loose)]
    inputs = sorted({a for a, _ in edges if a < 0}, reverse=True)
    level_of: dict[int, int] = dict.fromkeys(inputs, -1) | {end: len(keys)} | dict(enumerate(ranks))
    ways: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    neighbours: dict[_Key, list[_Key]] = {}
    for a, b in edges:
        # A place in every layer that a connection passes; those from one box share it until the last.
        ways[a, b] = [
            (a, b if level == level_of[b] - 1 else end, level) for level in range(level_of[a] + 1, level_of[b])
        ]
        for step in ways[a, b]:
            if step not in keys[step[2]]:
                keys[step[2]].append(step)
        whole: list[_Key] = [a, *ways[a, b], b]
        for one, other in itertools.pairwise(whole):
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
    size: dict[_Key, float] = {
        key: parts[key].left + parts[key].right if isinstance(key, int) else 0.06 for row in keys for key in row
    }
    place: dict[_Key, float] = {end: 0.0, **dict.fromkeys(inputs, 0.0)}
    name_width = max((_text_width(name, _NOTE + 0.6) for name in item.entries), default=0.0)
    size |= dict.fromkeys(inputs, name_width)
    top: list[_Key] = list(reversed(inputs))
    rows = [top, *keys] if loose else keys
    for row in rows:
        _spread(row, size, place, {key: float(i) for i, key in enumerate(row)})
    for sweep in range(40):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wish = {key: _mean([place[other] for other in neighbours[key]]) for key in row}
            row.sort(key=wish.__getitem__)
            _spread(row, size, place, wish)
    everything = [key for row in keys for key in row]
    leftmost = min(place[key] - size[key] / 2 for key in everything)
    rightmost = max(place[key] + size[key] / 2 for key in everything)
    for key in (*everything, *(top if loose else ())):
        place[key] -= (leftmost + rightmost) / 2
    row_height = [max((parts[key].height for key in row if isinstance(key, int)), default=0.1) for row in keys]
    between = 0.36
    tops = [between + (0.15 if item.entries else 0.0)]
    for tall in row_height:
        tops.append(tops[-1] + tall + between)
    height = tops[-1] - between * (1.0 if loose else 0.4)
    under = 0.14 if item.entries else 0.0

    def draw(canvas: _Canvas, x: float, y: float) -> None:
        for (a, b), way in ways.items():
            points = [(x + place[a], y + under if a < 0 else y + tops[ranks[a]] + parts[a].height)]
            for step in way:
                level = step[2]
                points += [(x + place[step], y + tops[level]), (x + place[step], y + tops[level] + row_height[level])]
            points.append((x, y + height) if b == end else (x + place[b], y + tops[ranks[b]]))
            canvas.curve(points, arrow=b < end)
        for name, key in zip(item.entries, inputs, strict=False):
            canvas.text(x + place[key], y + 0.05, name, _NOTE + 0.6, MUTED)
        for i, part in enumerate(parts):
            part.draw(canvas, x + place[i] + (part.left - part.right) / 2, y + tops[ranks[i]])

    half = (rightmost - leftmost) / 2
    return _Laid(item, half, half, height, draw, False)


def _in_two_lines(box: Box) -> Box:
    """The box with its label broken where both lines are about as long."""
    words = box.label.split()
    if box.kind == "join" or len(words) < 2:
        return box
    breaks = (("\n".join((" ".join(words[:i]), " ".join(words[i:])))) for i in range(1, len(words)))
    return replace(box, label=min(breaks, key=lambda text: max(map(len, text.split("\n")))))


def _spread(
    row: Sequence[_Key], size: Mapping[_Key, float], place: dict[_Key, float], wish: Mapping[_Key, float]
) -> None:
    """Put a row's members as near to where they wish to be as their sizes allow, in this order."""
    # Offsets from the row's beginning are fixed; those that would overlap move together to the mean of their wishes.
    clusters: list[tuple[list[_Key], float]] = []  # members, where the first one's left edge is
    for key in row:
        members, left = [key], wish[key] - size[key] / 2
        while clusters and clusters[-1][1] + _extent(clusters[-1][0], size) + _BETWEEN > left:
            before = clusters.pop()
            members = before[0] + members
            lefts, offset = [], 0.0
            for member in members:
                lefts.append(wish[member] - size[member] / 2 - offset)
                offset += size[member] + _BETWEEN
            left = _mean(lefts)
        clusters.append((members, left))
    for members, left in clusters:
        at = left
        for key in members:
            place[key] = at + size[key] / 2
            at += size[key] + _BETWEEN


def _extent(members: Sequence[_Key], size: Mapping[_Key, float]) -> float:
    return sum(size[key] for key in members) + _BETWEEN * (len(members) - 1)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# Columns, marks, legend


def _broken(items: Sequence[Item], alone: bool) -> list[list[Item]]:
    """Return the items in columns such that the page is about as wide as high; one where that is enough.

    A drawing that is not ``alone`` has others to its right, and stays in one column as long as it can.
    """
    parts = [_laid(item, _widest(items)) for item in items]
    heights = [part.height + _GAP for part in parts]
    one = max(part.left + part.right for part in parts) + max(map(_mark_width, items)) + _COLUMN_GAP
    best, score = [list(items)], math.inf
    for count in range(1, 9):
        limit = max(sum(heights) / count, *heights)
        while len(columns := _filled(items, heights, limit)) > count:
            limit *= 1.03
        tall = max(sum(heights[i] for i in column) for column in columns)
        if count == 1 and tall < (6.5 if alone else 12.0):
            return best
        found = abs(math.log(one * len(columns) / (tall + 1.2)))
        if found < score:
            best, score = [[items[i] for i in column] for column in columns], found
    return best


def _filled(items: Sequence[Item], heights: Sequence[float], limit: float) -> list[list[int]]:
    columns: list[list[int]] = [[]]
    for i, height in enumerate(heights):
        if columns[-1] and sum(heights[j] for j in columns[-1]) + height > limit:
            column = columns[-1]
            # Better to begin a column with a stage than to fill the last one to the end.
            ends = [j for j in column if items[j].shape]
            if ends and ends[-1] != column[-1] and sum(heights[j] for j in column if j <= ends[-1]) > 0.6 * limit:
                columns[-1] = [j for j in column if j <= ends[-1]]
                columns.append([j for j in column if j > ends[-1]])
            else:
                columns.append([])
        columns[-1].append(i)
    return columns


def _packed(details: Sequence[_Detail], beside: float) -> list[list[_Detail]]:
    """Return the drawings in columns, such that all of them are about as wide as high."""
    best: list[list[_Detail]] = []
    score = math.inf
    for limit in (beside + _HEAD, *itertools.accumulate(detail.height for detail in details)):
        columns: list[list[_Detail]] = []
        for detail in details:
            if not columns or sum(d.height for d in columns[-1]) + detail.height > limit:
                columns.append([])
            columns[-1].append(detail)
        wide = sum(max(d.width for d in column) for column in columns)
        tall = max((sum(d.height for d in column) for column in columns), default=1.0)
        if columns and (found := abs(math.log(wide / max(tall, beside) / 1.1))) < score:
            best, score = columns, found
    return best


def _widest(items: Sequence[Item]) -> float:
    """Width of the widest box on the main line of the items."""
    widest = 0.8
    for item in items:
        if isinstance(item, Box) and item.kind != "join":
            widest = max(widest, _box_size(item)[0])
        elif isinstance(item, Series):
            widest = max(widest, _widest(item.items))
        elif isinstance(item, Parallel):
            full = sorted((b for b in item.branches if b.items), key=_count)
            if len(full) == 1 or (len(full) == 2 and _count(full[0]) <= 1 < _count(full[1])):
                widest = max(widest, _widest(full[-1].items))
    return widest


def _mark_width(item: Item) -> float:
    if isinstance(item, Tangle) or not (item.stage or item.shape):
        return 0.0
    return 0.16 + max(_text_width(item.stage, _LABEL), _text_width(item.shape, _LABEL - 1))


def _draw_mark(canvas: _Canvas, item: Item, left: float, right: float, y: float) -> None:
    """The name of the stage that ends here and the shape of what leaves it, above a line."""
    canvas.text(left, y - 0.2, item.stage, _LABEL, weight="bold", align="left")
    canvas.text(left, y - 0.06, item.shape, _LABEL - 1, MUTED, align="left")
    canvas.line([(left, y + 0.055), (right, y + 0.055)], colour=GRID, width=0.7)


def _kinds(diagram: Diagram) -> list[str]:
    found = {box.kind for item in (diagram.body, *(d for _, d in diagram.details)) for box in _boxes(item)}
    return [kind for kind in KINDS if kind in found]


def _boxes(item: Item) -> Iterator[Box]:
    if isinstance(item, Box):
        yield item
    elif isinstance(item, Tangle):
        yield from item.boxes
    else:
        for each in item.items if isinstance(item, Series) else item.branches:
            yield from _boxes(each)


def _legend_rows(kinds: Sequence[str], width: float) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    used = 0.0
    for kind in kinds:
        needed = 0.45 + _text_width(KINDS[kind][0], _LABEL - 1)
        if rows[-1] and used + needed > width:
            rows.append([])
            used = 0.0
        rows[-1].append(kind)
        used += needed
    return rows


def _draw_legend(canvas: _Canvas, rows: Sequence[Sequence[str]], y: float) -> None:
    for row in rows:
        x = _MARGIN
        for kind in row:
            name, fill, edge = KINDS[kind]
            canvas.box(x, y, 0.2, 0.13, fill, edge, 0.02)
            canvas.text(x + 0.26, y + 0.07, name, _LABEL - 1, align="left")
            x += 0.45 + _text_width(name, _LABEL - 1)
        y += 0.22


# Drawing


@functools.lru_cache(maxsize=4096)
def _text_width(text: str, size: float) -> float:
    if not text:
        return 0.0
    return float(TextPath((0, 0), text, size=size, prop=FontProperties(), usetex=False).get_extents().width) / 72


class _Canvas:
    """Primitives in inches."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        colour: str = INK,
        *,
        weight: str = "normal",
        align: str = "center",
    ) -> None:
        if text:
            self.axes.text(
                x, y, text, size=size, color=colour, weight=weight, ha=align, va="center", parse_math=False, zorder=5
            )

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, edge: str, radius: float = 0.045, *,
        under: bool = False,
    ) -> None:  # fmt: skip
        style = f"round,pad=0,rounding_size={radius}"
        self.axes.add_patch(
            FancyBboxPatch((x, y), width, height, style, fc=fill, ec=edge, lw=0.8, zorder=0.5 if under else 3)
        )

    def circle(self, x: float, y: float, radius: float) -> None:
        self.axes.add_patch(Circle((x, y), radius, fc="white", ec=INK, lw=0.8, zorder=3))

    def line(
        self, points: Sequence[tuple[float, float]], *, arrow: bool = False, round_: float = 0.0, colour: str = INK,
        width: float = 0.8, above: bool = False,
    ) -> None:  # fmt: skip
        """Straight pieces with corners rounded by up to ``round_``."""
        points = [p for i, p in enumerate(points) if i == 0 or math.dist(p, points[i - 1]) > 1e-6]
        if len(points) < 2:
            return
        vertices = [points[0]]
        codes: list[Any] = [Path.MOVETO]
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            reach = min(round_, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
            if reach:
                vertices += [_toward(corner, before, reach), corner, _toward(corner, after, reach)]
                codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
            else:
                vertices.append(corner)
                codes.append(Path.LINETO)
        end = _toward(points[-1], points[-2], 0.04) if arrow else points[-1]
        self._path([*vertices, end], [*codes, Path.LINETO], colour, width, 4 if above else 2)
        if arrow:
            self._head(points[-2], points[-1], colour)

    def curve(self, points: Sequence[tuple[float, float]], *, arrow: bool = False) -> None:
        """A line that leaves and enters every point vertically."""
        vertices = [points[0]]
        codes: list[Any] = [Path.MOVETO]
        for a, b in itertools.pairwise(points):
            if abs(a[0] - b[0]) < 1e-6:
                vertices.append(b)
                codes.append(Path.LINETO)
            else:
                half = (a[1] + b[1]) / 2
                vertices += [(a[0], half), (b[0], half), b]
                codes += [Path.CURVE4] * 3
        self._path(vertices, codes, INK, 0.7, 2)
        if arrow:
            self._head((points[-1][0], points[-1][1] - 1), points[-1], INK)

    def _path(
        self, vertices: Sequence[tuple[float, float]], codes: Sequence[Any], colour: str, width: float, layer: int
    ) -> None:
        path = Path(vertices, codes)
        self.axes.add_patch(PathPatch(path, fc="none", ec=colour, lw=width, zorder=layer, capstyle="round"))

    def _head(self, before: tuple[float, float], tip: tuple[float, float], colour: str) -> None:
        base = _toward(tip, before, 0.06)
        across = ((tip[1] - base[1]) * 0.42, (base[0] - tip[0]) * 0.42)
        corners = [tip, (base[0] + across[0], base[1] + across[1]), (base[0] - across[0], base[1] - across[1])]
        self.axes.add_patch(Polygon(corners, closed=True, fc=colour, ec="none", zorder=4))


def _toward(start: tuple[float, float], end: tuple[float, float], distance: float) -> tuple[float, float]:
    share = min(1.0, distance / max(math.dist(start, end), 1e-9))
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
