"""From a summarised network to a diagram of its blocks.

Nothing here knows a network by name. Operations become boxes, data flow becomes lines; where the flow forks, the part
until all paths meet again is a set of parallel branches. What is entangled beyond that, such as the cells of NASNet, is
first grouped by the modules that it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cnnlab.console import amount
from cnnlab.diagram.folding import fold, fold_runs, framed_blocks
from cnnlab.diagram.graph import EntangledError, Graph, Piece, tangle_of
from cnnlab.diagram.groups import Details, grouped
from cnnlab.diagram.items import Box, Diagram, Item, Series, Tangle, each_box, items_in
from cnnlab.diagram.operations import Unit, sides_text, units_of
from cnnlab.tracing import Summary

_FOLD_FROM = 40  # networks of more boxes have runs of single boxes folded too


@dataclass(frozen=True)
class _StageEnd:
    """The end of a stage: its name, the shape of its output, and the number of operations until then."""

    name: str
    shape: str
    at: int


def diagram(summary: Summary) -> Diagram:
    """Return the blocks of a summarised network, with its stages and the shapes after them."""
    units = units_of(summary.trace)
    calls = {call.path: call for call in summary.trace.calls}
    ends = [_StageEnd(row.name, sides_text(row.output[1:]), calls[row.ends_with].end) for row in summary.stages]
    details = Details()
    line = framed_blocks(_main_line(units, ends, details))
    many = sum(unit.kind not in ("join", "sink") for unit in units) > _FOLD_FROM
    titles = [title for _, title in details.titles.values()]
    # No letter where there is one block of a sort.
    short = {title: title if f"{title[:-1]}B" in titles else title[:-2] for title in titles}

    def retitled(box: Box) -> Box:
        title, comma, rest = box.label.partition(",")
        return replace(box, label=short.get(title, title) + comma + rest)

    return Diagram(
        title=summary.name,
        input=" + ".join(sides_text(shape[1:]) for shape in summary.inputs),
        body=Series(tuple(each_box(item, retitled) for item in _by_stages(line, ends, many))),
        details=tuple((short[title], each_box(item, retitled)) for item, title in details.titles.values()),
        subtitle=f"{summary.parameters:,} parameters, {amount(summary.macs)} MACs",
    )


def _by_stages(line: Sequence[Piece], ends: Sequence[_StageEnd], many: bool) -> list[Item]:
    """Return the folded items of the main line, the last one of each stage with its name and the shape after it."""
    inner = {box.stage for piece in line if isinstance(piece.item, Tangle) for box in piece.item.boxes}
    items: list[Item] = []
    start = 0
    for end in ends:
        inside = [piece.item for piece in line[start:] if piece.at < end.at]
        start += len(inside)
        if inside:
            items += fold(inside, many)
            if end.name not in inner:
                items[-1] = replace(items[-1], stage=end.name, shape=end.shape)
    return [*items, *fold([piece.item for piece in line[start:]], many)]


def _main_line(units: list[Unit], ends: Sequence[_StageEnd], details: Details) -> list[Piece]:
    """Return the items from input to output; entangled units are grouped by module, with drawings of their own."""
    try:
        return Graph(units).line()
    except EntangledError:
        pass
    groups = grouped(units)
    for unit in groups:
        if len(unit.inside) > 1:
            details.describe(unit, groups)
    try:
        line = Graph(groups).line()
    except EntangledError:
        return _line_with_skips(groups, ends)
    entangled = any(isinstance(item, Tangle) for piece in line for item in items_in(piece.item))
    return _line_with_skips(groups, ends) if entangled else line


def _line_with_skips(units: list[Unit], ends: Sequence[_StageEnd]) -> list[Piece]:
    """Return a line with connections that skip some of its boxes; those before and after them stay outside."""
    order: dict[Unit | None, int] = {unit: position for position, unit in enumerate(units)} | {None: -1}
    skipped = {between for unit in units for feed in unit.feeds for between in range(order[feed] + 1, order[unit])}
    first, last = min(skipped), max(skipped) + 1
    middle = [unit for unit in units[first : last + 1] if unit.kind != "sink"]
    boxes = [unit.box() for unit in middle]
    for end in ends:
        at = max((i for i, unit in enumerate(middle) if unit.at < end.at), default=None)
        if at is not None and (at < len(middle) - 1 or (units[last + 1 :] and units[last + 1].at >= end.at)):
            boxes[at] = replace(boxes[at], stage=end.name, shape=end.shape)
    tangle = fold_runs(replace(tangle_of(middle), boxes=tuple(boxes)))
    return [
        *(Piece(unit.box(), (unit,), unit.at) for unit in units[:first]),
        Piece(tangle, tuple(middle), middle[-1].at),
        *(Piece(unit.box(), (unit,), unit.at) for unit in units[last + 1 :] if unit.kind != "sink"),
    ]
