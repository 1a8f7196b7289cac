"""The items of a drawing of a network: boxes, series of items, parallel branches, and tangles of boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class _Repeated:
    """The fields of every item.

    Attributes:
        times: number of repetitions, for an item that is drawn once and stands for several.
        stage, shape: name and output shape of the stage that ends with the item; empty within a stage.
    """

    times: int = 1
    stage: str = ""
    shape: str = ""


@dataclass(frozen=True)
class Box(_Repeated):
    """A layer.

    Attributes:
        label: words in the box.
        note, before: smaller words for the operations after and before it, such as ``"BN, ReLU"``.
        kind: key of its colour. A box of the kind ``"join"`` is where branches meet: its label is ``"add"``,
            ``"multiply"`` or ``"concat"``.
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
    """Boxes whose connections are neither a series nor parallel branches.

    Attributes:
        boxes: the boxes, in the order in which they are computed.
        edges: the connections as numbers of boxes, (from, to); -1, -2, ... are the inputs.
        entries: names of the inputs -1, -2, ...; empty for a tangle that is part of a line.
    """

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]
    entries: tuple[str, ...] = ()


Item = Box | Series | Parallel | Tangle


@dataclass(frozen=True)
class Diagram:
    """The contents of a page.

    Attributes:
        title, subtitle: the two lines above the drawing.
        input: shape of the network's input.
        body: the main line, from the input to the output.
        details: titles and drawings of the blocks that the main line names.
    """

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
