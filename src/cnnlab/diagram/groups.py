"""Groups: units too entangled for one drawing, grouped by the modules that they belong to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from cnnlab.diagram.graph import EntangledError, Graph
from cnnlab.diagram.items import Item, Series, Tangle, each_box
from cnnlab.diagram.operations import Unit


def grouped(units: list[Unit]) -> list[Unit]:
    """Return units grouped by module: by the children of the innermost module around all of them."""
    common = 0
    real = [unit for unit in units if unit.kind != "sink"]
    while all(len(unit.chain) > common + 1 for unit in real) and len({unit.chain[common] for unit in real}) == 1:
        common += 1
    if len({unit.chain[common] if len(unit.chain) > common else None for unit in real}) == 1:
        common += 1
    groups: dict[Any, Unit] = {}
    group_of: dict[Unit, Unit] = {}
    for unit in units:
        key: Any = unit.chain[common] if len(unit.chain) > common else unit
        if key in groups:
            group = groups[key]
            group.inside.append(unit)
            group.shape, group.at = unit.shape, unit.at
        else:
            group = groups[key] = replace(unit, inside=[unit], feeds=[], note=list(unit.note), before=list(unit.before))
        group_of[unit] = group
        for feed in unit.feeds:
            source = group_of.get(feed, feed) if feed is not None else None
            if source is not group and source not in group.feeds:
                group.feeds.append(source)
    return list(groups.values())


class Details:
    """The blocks that stand as one box on the main line and have drawings of their own.

    Attributes:
        titles: a key for the appearance of a block -> its drawing and its title, such as ``NormalCell A``.
    """

    def __init__(self) -> None:
        self.titles: dict[str, tuple[Item, str]] = {}

    def describe(self, group: Unit, others: Sequence[Unit]) -> None:
        """Name a box that stands for several units; where they are no chain, a drawing of its own shows them.

        Args:
            group: the box; its kind and label are changed.
            others: all boxes on its line, in order.
        """
        kind, label = group.inside[-1].kind, _chain_label(group.inside)
        inner = set(group.inside)
        # The units outside that feed the block, told apart inside.
        sources = list(dict.fromkeys(feed for unit in group.inside for feed in unit.feeds if feed not in inner))
        try:
            item = _as_line(group, sources)
        except EntangledError:
            item, label = self._as_tangle(group, others, sources), None
        group.note, group.before = [], []
        if label is not None:
            group.kind, group.label = kind, label
        else:
            channels = group.shape[1] if len(group.shape) > 1 else 1
            group.kind, group.label = "group", f"{self._title(group, item)}, {channels}"

    def _as_tangle(self, group: Unit, others: Sequence[Unit], sources: Sequence[Unit | None]) -> Tangle:
        """Return the drawing of a group in which the connections are no series of branches."""
        parts = grouped(group.inside)
        for part in parts:
            if len(part.inside) > 1:
                self.describe(part, parts)
        index: dict[Unit | None, int] = {None: -1} if len(sources) <= 1 else {}
        index |= {source: -1 - i for i, source in enumerate(sources)} | {part: i for i, part in enumerate(parts)}
        edges = dict.fromkeys((index[feed], index[part]) for part in parts for feed in part.feeds)
        entries = tuple(_distance(source, group, others) for source in sources) if len(sources) > 1 else ("input",)
        return Tangle(tuple(part.box() for part in parts), tuple(edges), entries)

    def _title(self, group: Unit, item: Item) -> str:
        """Return the title of a block's drawing, which blocks that look the same share, whatever their width."""
        item = each_box(item, lambda box: replace(box, label=_without_channels(box.label)))
        key = repr(each_box(item, lambda box: replace(box, note="", before="")))
        if key not in self.titles:
            around = [call for call in group.chain if all(call in unit.chain for unit in group.inside)]
            name = type(around[-1].module).__name__ if around else "block"
            earlier = sum(title.split()[0] == name for _, title in self.titles.values())
            self.titles[key] = item, f"{name} {ascii_uppercase[earlier % 26]}"
        return self.titles[key][1]


def _as_line(group: Unit, sources: Sequence[Unit | None]) -> Item:
    """Return the drawing of a group with one source.

    Raises:
        EntangledError: there are several, or the connections are no series of branches.
    """
    if len(sources) > 1:
        raise EntangledError
    inner = set(group.inside)
    exits: list[Unit | None] = [unit for unit in group.inside if not any(unit in other.feeds for other in group.inside)]
    for unit in group.inside:
        unit.feeds = [feed if feed in inner else None for feed in unit.feeds]
    line = Graph([*group.inside, Unit("sink", "", exits, (), (), group.at + 1)]).line()
    return Series(tuple(piece.item for piece in line)) if len(line) > 1 else line[0].item


def _distance(source: Unit | None, group: Unit, others: Sequence[Unit]) -> str:
    """Return in words how far before a group the one lies that holds a source."""
    position = {unit: i for i, other in enumerate(others) for unit in (other, *other.inside)}
    if source not in position:
        return "input"
    return {1: "the one before", 2: "two before"}.get(position[group] - position[source], "input")


def _chain_label(units: Sequence[Unit]) -> str | None:
    """Return the label of a chain: from its separable convolutions, or from its one characteristic box."""
    telling = [unit for unit in units if unit.kind not in ("norm", "activation")]
    pairs = [
        a.label for a, b in itertools.pairwise(telling) if a.kind == "depthwise" and b.label.startswith("1x1 conv")
    ]
    if pairs and len(telling) == 2 * len(pairs):
        kernel = pairs[0].split()[0]
        stride = next((f", /{label.rsplit('/', 1)[1]}" for label in pairs if "/" in label), "")
        times = f" x{len(pairs)}" if len(pairs) > 1 else ""
        return f"{kernel} sep. conv{times}, {telling[-1].shape[1]}{stride}"
    if len(telling) == 1:
        return telling[0].label
    if len(telling) == 2 and not any(unit.kind == "join" for unit in telling):
        return " + ".join(unit.label for unit in telling)
    return None


def _without_channels(label: str) -> str:
    """Return a label without its number of channels: "3x3 conv, 64" becomes "3x3 conv"."""
    return ", ".join(word for word in label.split(", ") if not word.isdigit())
