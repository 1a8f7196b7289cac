"""The items of a drawing of a network: boxes, series of items, parallel branches, and tangles of boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class _Repeated:
    """What is drawn once for several ``times``, and may end a stage, whose name and output shape stand beside it."""

    times: int = 1
    stage: str = ""
    shape: str = ""


@dataclass(frozen=True)
class Box(_Repeated):
    """A layer: its label, what follows it (``note``) and comes before it in smaller letters, the kind for its colour.

    A box of the kind ``"join"`` is where branches meet: its label is ``"add"``, ``"multiply"`` or ``"concat"``.
    """

    label: str
    note: str = ""
    before: str = ""
    kind: str = "conv"


@dataclass(frozen=True)
class Series(_Repeated):
    """Items one after the other."""

    items: tuple[Item, ...]


@dataclass(frozen=True)
class Parallel(_Repeated):
    """Branches from one point that meet in ``join``; a branch without items is a shortcut."""

    branches: tuple[Series, ...]
    join: Box | None


@dataclass(frozen=True)
class Tangle(_Repeated):
    """Boxes with connections (from, to) of any other sort; -1, -2, ... are its inputs, called ``entries``."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]
    entries: tuple[str, ...] = ()


Item = Box | Series | Parallel | Tangle


@dataclass(frozen=True)
class Diagram:
    """The contents of a page: the main line from the input, and drawings of the blocks that it names."""

    title: str
    input: str
    body: Series
    details: tuple[tuple[str, Item], ...] = ()
    subtitle: str = ""


def items_in(item: Item) -> Iterator[Item]:
    """Yield an item and all items inside it."""
    yield item
    for each in item.items if isinstance(item, Series) else item.branches if isinstance(item, Parallel) else ():
        yield from items_in(each)


def boxes_in(item: Item) -> Iterator[Box]:
    """Yield the boxes of an item, without those where branches meet."""
    for each in items_in(item):
        if isinstance(each, Box):
            yield each
        elif isinstance(each, Tangle):
            yield from each.boxes


def count_boxes(item: Item) -> int:
    """Return how many boxes an item shows, without those where branches meet."""
    return sum(1 for _ in boxes_in(item))


def each_box(item: Item, change: Callable[[Box], Box]) -> Item:
    """Return an item with each of its boxes changed."""
    if isinstance(item, Box):
        return change(item)
    if isinstance(item, Series):
        return replace(item, items=tuple(each_box(each, change) for each in item.items))
    if isinstance(item, Parallel):
        branches = tuple(replace(b, items=tuple(each_box(each, change) for each in b.items)) for b in item.branches)
        return replace(item, branches=branches, join=None if item.join is None else change(item.join))
    return replace(item, boxes=tuple(change(box) for box in item.boxes))
