"""The decomposition of a graph of boxes into chains, and branches that meet again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cnnlab.diagram.items import Box, Item, Parallel, Series, Tangle, boxes_in
from cnnlab.diagram.operations import Unit

_MOST_ENTANGLED = 14  # boxes of an entangled branch, which is drawn as a tangle; a larger one is grouped by modules


class EntangledError(Exception):
    """The graph is no series of items and parallel branches."""


@dataclass(frozen=True)
class Piece:
    """An item of the main line, the units in it, and the position of the operation that ends it."""

    item: Item
    units: tuple[Unit, ...]
    at: int


class Graph:
    """A graph of units, as numbers in order: -1 is the input, the last one the sink.

    For each unit the first unit is determined where all paths from it meet again (its immediate post-dominator); what
    lies between is a set of parallel branches, each of which is decomposed likewise.

    Raises:
        EntangledError: a unit has no path to the sink.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = units
        index: dict[Unit | None, int] = {unit: position for position, unit in enumerate(units)} | {None: -1}
        self.sink = len(units) - 1
        self.feeds = {i: [index[feed] for feed in unit.feeds] for i, unit in enumerate(units)} | {-1: []}
        self.users: dict[int, list[int]] = {i: [] for i in range(-1, len(units))}
        for i, feeds in self.feeds.items():
            for feed in feeds:
                self.users[feed].append(i)
        self.meet: dict[int, int] = {self.sink: self.sink}
        for i in range(self.sink - 1, -2, -1):
            if not self.users[i]:
                raise EntangledError
            self.meet[i] = functools.reduce(self._common, self.users[i])

    def _common(self, one: int, other: int) -> int:
        """Return the unit at which the paths from two units meet."""
        while one != other:
            one, other = min(one, other), max(one, other)
            one = self.meet[one]
        return one

    def line(self) -> list[Piece]:
        """Return the items from the input to the sink."""
        pieces = []
        at = -1
        while at != self.sink:
            meet = self.meet[at]
            item = self._segment(at, meet)
            if item is not None:
                units = tuple(self.units[i] for i in (*self._between(at, meet), meet) if i != self.sink)
                pieces.append(Piece(item, units, units[-1].at))
            at = meet
        return pieces

    def _segment(self, at: int, meet: int) -> Item | None:
        """Return the item from unit ``at``, exclusive, to unit ``meet``, inclusive; None if only the sink is there."""
        between = self._between(at, meet)
        allowed = {*between, at}
        if any(feed not in allowed for i in (*between, meet) for feed in self.feeds[i]):
            raise EntangledError
        join = None if meet == self.sink else self.units[meet].box()
        if not between:
            return join
        branches = [self._branch(part, at, meet) for part in self._parts(between)]
        if at in self.feeds[meet]:
            branches.append(Series(()))
        gate = self._gate(branches, join)
        return gate if gate is not None else Parallel(tuple(branches), join)

    def _between(self, at: int, meet: int) -> list[int]:
        """Return the units between two, exclusive."""
        return _reached([user for user in self.users[at] if user != meet], lambda i: set(self.users[i]) - {meet})

    def _parts(self, between: Sequence[int]) -> list[list[int]]:
        """Return the units between two ends in parts that are not connected with each other."""
        inside = set(between)
        parts: list[list[int]] = []
        for start in between:
            if not any(start in part for part in parts):
                parts.append(_reached([start], lambda i: {*self.users[i], *self.feeds[i]} & inside))
        return parts

    def _branch(self, part: Sequence[int], at: int, meet: int) -> Series:
        """Return what lies between two units as a series of items."""
        entries = [i for i in part if at in self.feeds[i]]
        if len(entries) != 1:
            if len(part) > _MOST_ENTANGLED:
                raise EntangledError
            return Series((tangle_of([self.units[i] for i in part]),))
        items: list[Item] = [self.units[entries[0]].box()]
        here = entries[0]
        while self.meet[here] != meet:
            following = self._segment(here, self.meet[here])
            assert following is not None
            items.append(following)
            here = self.meet[here]
        if between := self._between(here, meet):
            parts = [self._branch(part, here, meet) for part in self._parts(between)]
            if meet in self.users[here]:
                parts.append(Series(()))
            items.append(Parallel(tuple(parts), None))
        return Series(tuple(items))

    @staticmethod
    def _gate(branches: Sequence[Series], join: Box | None) -> Box | None:
        """Return the box of a squeeze-excitation: of a shortcut times what two layers make of the average of each map.

        None for any other branches.
        """
        if join is None or join.label != "multiply" or sorted(bool(b.items) for b in branches) != [False, True]:
            return None
        first, *rest = next(b for b in branches if b.items).items
        boxes = [box for item in rest for box in boxes_in(item)]
        layers = [box for box in boxes if box.kind in ("conv", "dense")]
        others = {box.kind for box in boxes} - {"conv", "dense", "norm", "activation"}
        if not isinstance(first, Box) or first.label != "global average pool" or len(layers) != 2 or others:
            return None
        width = layers[0].label.split(", ")[1]
        return Box(f"squeeze-excitation, {width}", join.note, kind="attention")


def _reached(start: Iterable[int], following: Callable[[int], set[int]]) -> list[int]:
    """Return the numbers that are reached from some by following connections, in order."""
    reached: set[int] = set()
    todo = list(start)
    while todo:
        i = todo.pop()
        if i not in reached:
            reached.add(i)
            todo += following(i)
    return sorted(reached)


def tangle_of(units: Sequence[Unit]) -> Tangle:
    """Return units as boxes with the connections between them; all inputs are one."""
    units = [unit for unit in units if unit.kind != "sink"]
    index: dict[Any, int] = {unit: position for position, unit in enumerate(units)}
    edges = [(index.get(feed, -1), index[unit]) for unit in units for feed in unit.feeds]
    return Tangle(tuple(unit.box() for unit in units), tuple(dict.fromkeys(edges)))
