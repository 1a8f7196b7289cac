"""Folding: repeated items are drawn once, with the number of repetitions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from cnnlab.diagram.graph import Piece
from cnnlab.diagram.items import Box, Item, Parallel, Series, Tangle
from cnnlab.tracing import Call

_LONGEST = 8  # items that are repeated together, at most
_MOST_FRAMED = 4  # items of a block that gets a ground of its own, at most


def fold(items: Sequence[Item], many: bool) -> list[Item]:
    """Return items in which equal neighbours stand once, with the number of repetitions.

    Args:
        items: items one after the other.
        many: whether runs of single boxes are folded as well.
    """
    folded: list[Item] = []
    i = 0
    while i < len(items):
        best = (1, 1)
        for period in range(1, min(_LONGEST, len(items) - i) + 1):
            count = _runs(items, i, period)
            plain = all(isinstance(item, Box) for item in items[i : i + period])
            worth = count > 1 and (not plain or many or (period > 1 and count > 2))
            if worth and period * (count - 1) > best[0] * (best[1] - 1):
                best = (period, count)
        period, count = best
        # Of equally long runs, the one that ends with the stage has the blocks of the paper.
        later = len(items) - period * count - i
        if count > 1 and 0 < later < period and _runs(items, i + later, period) == count:
            folded += items[i : i + later]
            i += later
        part = [_fold_inside(item, many) for item in items[i : i + period]]
        if count > 1:
            folded.append(replace(part[0], times=count) if period == 1 else Series(tuple(part), times=count))
        else:
            folded += part
        i += period * count
    return folded


def _runs(items: Sequence[Item], start: int, period: int) -> int:
    """Return how often the ``period`` items from ``start`` on come one after the other."""
    count = 1
    while items[start + count * period : start + (count + 1) * period] == items[start : start + period]:
        count += 1
    return count


def _fold_inside(item: Item, many: bool) -> Item:
    """Return an item with its branches folded."""
    if isinstance(item, Parallel):
        branches = (Series(tuple(fold(branch.items, many))) for branch in item.branches)
        return replace(item, branches=tuple(branches))
    return item


def framed_blocks(line: list[Piece]) -> list[Piece]:
    """Return the main line with the items of a block together: of a module with branches, or whose class has some.

    The first block of a stage often has no shortcut, and is a block all the same.
    """
    counts = Counter(call for piece in line for unit in piece.units for call in unit.chain)

    def is_all_of(pieces: Sequence[Piece], call: Call) -> bool:
        """Return whether a module consists of the units in some pieces, and of nothing else on the line."""
        units = [unit for piece in pieces for unit in piece.units]
        return len(units) == counts[call] and all(call in unit.chain for unit in units)

    kinds = {
        type(call.module)
        for piece in line
        if isinstance(piece.item, Parallel)
        for call in piece.units[0].chain
        if is_all_of([piece], call)
    }
    framed: list[Piece] = []
    start = 0
    while start < len(line):
        pieces = line[start : start + 1]
        for call in line[start].units[0].chain[1:]:
            inside = list(itertools.takewhile(lambda piece: call in piece.units[0].chain, line[start:]))  # noqa: B023
            if len(inside) > 1 and is_all_of(inside, call) and _is_block(call, inside, kinds):
                pieces = inside
                break
        items = [piece.item for piece in pieces]
        item = items[0] if len(items) == 1 else Series(tuple(fold(items, False)))
        framed.append(Piece(item, tuple(unit for piece in pieces for unit in piece.units), pieces[-1].at))
        start += len(pieces)
    return framed


def _is_block(call: Call, pieces: Sequence[Piece], kinds: set[type]) -> bool:
    """Return whether a module is a block of its own: a short one with branches, or one whose class has some.

    Args:
        call: a call of the module.
        pieces: pieces that the module consists of.
        kinds: the classes of modules with branches.
    """
    if not any(isinstance(piece.item, Parallel) for piece in pieces):
        return type(call.module) in kinds
    from_torch = type(call.module).__module__.startswith("torch.nn")
    return not from_torch and 1 < len(fold([piece.item for piece in pieces], True)) <= _MOST_FRAMED


def fold_runs(item: Tangle) -> Tangle:
    """Write neighbours with the same label and the same connections, counted backwards, once."""
    feeds = [tuple(sorted(b - a for a, b in item.edges if b == i)) for i in range(len(item.boxes))]
    boxes: list[Box] = []
    new: dict[int, int] = {-1: -1}
    for i, box in enumerate(item.boxes):
        alike = boxes and replace(boxes[-1], times=1) == replace(box, stage="", shape="")
        if alike and feeds[i] == feeds[i - 1]:
            boxes[-1] = replace(boxes[-1], times=boxes[-1].times + 1, stage=box.stage, shape=box.shape)
        else:
            boxes.append(box)
        new[i] = len(boxes) - 1
    edges = dict.fromkeys((new.get(a, a), new[b]) for a, b in item.edges)
    return replace(item, boxes=tuple(boxes), edges=tuple((a, b) for a, b in edges if a != b))
