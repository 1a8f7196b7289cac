"""From a recorded forward pass to a diagram of blocks: chains, branches that join again, and what is repeated.

Nothing here knows a network by name. Operations become boxes (a convolution with the normalisation and activation
behind it is one), data flow becomes lines. Where the flow forks, the place where all ways meet again is looked up
(the immediate post-dominator); what lies between is a set of parallel branches, each taken apart in the same way.
What is entangled beyond that, such as the cells of NASNet, is first put together by the modules it belongs to.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from cnnlab.console import amount
from cnnlab.diagram.blocks import Box, Diagram, Item, Parallel, Series, Tangle
from cnnlab.tracing import Call, Op, Summary, Trace, Value, receptive_fields

_SMALL = 14  # so many entangled boxes are drawn as they are; more are put together by module
_FOLD_FROM = 40  # networks of more boxes have runs of single boxes folded too

_ACTIVATIONS = {
    "relu": "ReLU", "hardtanh": "ReLU6", "relu6": "ReLU6", "leaky_relu": "leaky ReLU", "_prelu_kernel": "PReLU",
    "silu": "SiLU", "gelu": "GELU", "elu": "ELU", "celu": "CELU", "mish": "Mish", "tanh": "tanh", "sigmoid": "sigmoid",
    "hardswish": "hard swish", "hardsigmoid": "hard sigmoid", "softplus": "softplus", "_softmax": "softmax",
    "_safe_softmax": "softmax", "_log_softmax": "log softmax",
}  # fmt: skip
_NORMS = {
    "native_batch_norm": "BN", "_native_batch_norm_legit_no_training": "BN", "_native_batch_norm_legit": "norm",
    "native_layer_norm": "LN", "native_group_norm": "GN",
}  # fmt: skip
_JOINS = {"add": "add", "mul": "multiply", "cat": "concat", "sub": "add", "div": "multiply", "stack": "concat"}


@dataclass(eq=False)
class _Unit:
    """A box in the making, with the boxes it is fed by (None is the input) and the modules it lies in."""

    kind: str
    label: str
    feeds: list[_Unit | None]
    shape: tuple[int, ...]
    chain: tuple[Call, ...]
    at: int
    note: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    inside: list[_Unit] = field(default_factory=list)

    def box(self) -> Box:
        return Box(self.label, ", ".join(self.note), ", ".join(self.before), self.kind)


def diagram(summary: Summary) -> Diagram:
    """Return the blocks of a summarised network, with its stages and the shapes after them."""
    units = _fused(_alive(_units(summary.trace)))
    calls = {call.path: call for call in summary.trace.calls}
    marks = [_Mark(row.name, _times(row.output[1:]), calls[row.ends_with].end) for row in summary.stages]
    details: dict[str, tuple[Item, str]] = {}
    body, start = [], 0
    line = _blocks_of_one_kind(_main_line(units, marks, details))
    many = sum(unit.kind not in ("join", "sink") for unit in units) > _FOLD_FROM
    inner = {box.stage for piece in line if isinstance(piece.item, Tangle) for box in piece.item.boxes}
    for mark in marks:
        inside = [piece.item for piece in line[start:] if piece.at < mark.end]
        start += len(inside)
        if inside:
            body += _folded(inside, many)
            if mark.name not in inner:
                body[-1] = replace(body[-1], stage=mark.name, shape=mark.shape)
    body += _folded([piece.item for piece in line[start:]], many)
    titles = [title for _, title in details.values()]
    single = {title for title in titles if f"{title[:-1]}B" not in titles}  # no letter where there is one of a sort

    def named(box: Box) -> Box:
        title = box.label.split(",")[0]
        return replace(box, label=box.label.replace(title, title[:-2])) if title in single else box

    return Diagram(
        title=summary.name,
        input=" + ".join(_times(shape[1:]) for shape in summary.inputs),
        body=Series(tuple(_each_box(item, named) for item in body)),
        details=tuple(
            (title[:-2] if title in single else title, _each_box(item, named)) for item, title in details.values()
        ),
        subtitle=f"{summary.parameters:,} parameters, {amount(summary.macs)} MACs",
    )


@dataclass(frozen=True)
class _Mark:
    """The end of a stage: ``end`` counts operations."""

    name: str
    shape: str
    end: int


@dataclass(frozen=True)
class _Piece:
    """An item of the main line, the units in it, and the position of the operation that ends it."""

    item: Item
    units: tuple[_Unit, ...]
    at: int


# Operations to boxes


def _units(trace: Trace) -> list[_Unit]:
    """Return a unit for every operation that a drawing shows, in order."""
    made: dict[Value, _Unit | None] = dict.fromkeys(trace.inputs)
    units: list[_Unit] = []
    whole: dict[Call, _Unit] = {}  # modules of torch that are one box, whatever they do inside
    fields = receptive_fields(trace)
    for position, op in enumerate(trace.ops):
        # What sees no pixel, such as a map of ones that counts them, is a constant.
        seen = [v for v in op.inputs if v in made and (not fields or v in fields or v in trace.inputs)]
        if not seen or not op.outputs:
            continue
        chain = _chain(op.call)
        leaf = next((call for call in chain if _is_one_box(call)), None)
        if leaf is not None and leaf in whole:
            unit = whole[leaf]
            unit.feeds += [made[v] for v in seen if made[v] is not unit and made[v] not in unit.feeds]
            unit.shape = op.outputs[0].shape
            made.update(dict.fromkeys(op.outputs, unit))
            continue
        described = ("other", _one_box_label(leaf)) if leaf is not None else _described(op, seen, fields)
        if described is None:  # only moves elements about
            made.update(dict.fromkeys(op.outputs, made[seen[-1] if op.name == "write" else seen[0]]))
            continue
        kind, label = described
        feeds = [made[value] for value in seen]
        if label.startswith("attention"):
            kind = "attention"
        unit = _Unit(kind, label, feeds, op.outputs[0].shape, chain, position)
        if leaf is not None:
            whole[leaf] = unit
        units.append(unit)
        made.update(dict.fromkeys(op.outputs, unit))
    sink = _Unit("sink", "", [made[v] for v in trace.outputs if v in made], (), (trace.root,), len(trace.ops))
    return [*units, sink]


def _chain(call: Call | None) -> tuple[Call, ...]:
    """The modules around an operation, from the network inwards."""
    chain: list[Call] = []
    while call is not None:
        chain.append(call)
        call = call.parent
    return tuple(reversed(chain))


def _is_one_box(call: Call) -> bool:
    module = call.module
    if not type(module).__module__.startswith("torch.nn"):
        return False
    return isinstance(module, nn.MultiheadAttention | nn.LocalResponseNorm | nn.RNNBase)


def _one_box_label(call: Call) -> str:
    if isinstance(call.module, nn.MultiheadAttention):
        return f"attention, {call.module.num_heads} heads"
    return type(call.module).__name__.replace("LocalResponseNorm", "local response norm")


def _described(op: Op, seen: Sequence[Value], fields: dict[Value, Any]) -> tuple[str, str] | None:
    """Return kind and label of the operation's box, or None for one that is not drawn."""
    name = op.name.rstrip("_")
    given = op.arguments
    if name in ("convolution", "_convolution"):
        return _convolution(given)
    if name in ("mm", "addmm", "bmm", "baddbmm"):
        if len(seen) > 1 and name in ("mm", "bmm"):
            return "product", "matrix product"
        return "dense", f"dense, {op.outputs[0].shape[-1]}"
    if "adaptive" in name and "pool" in name:
        out, before = op.outputs[0].shape, seen[0].shape
        kind = "max" if "max" in name else "average"
        if math.prod(out[2:]) == 1:
            return "pool", f"global {kind} pool"
        return None if out == before else ("pool", f"{kind} pool to {_times(out[2:])}")
    if "pool" in name:
        kernel = _list(given["kernel_size"], len(op.outputs[0].shape) - 2)
        stride = _list(given["stride"], len(kernel)) or kernel
        return "pool", f"{_times(kernel)} {'max' if 'max' in name else 'average'} pool{_stride(stride)}"
    if name in ("mean", "amax") and len(seen[0].shape) > 2:
        found = fields.get(op.outputs[0])
        spatial = found is not None and found.whole
        return ("pool", f"global {'average' if name == 'mean' else 'max'} pool") if spatial else ("other", name)
    if name in _NORMS:
        return "norm", _NORMS[name]
    if name in _ACTIVATIONS:
        return "activation", _ACTIVATIONS[name]
    if name in _JOINS and len(seen) > 1:
        return "join", _JOINS[name]
    if name.startswith("upsample") or name.startswith("_upsample"):
        return "resize", f"resize to {_times(op.outputs[0].shape[2:])}"
    return None


def _convolution(given: dict[str, Any]) -> tuple[str, str]:
    weight, groups, transposed = given["weight"].shape, given["groups"], given["transposed"]
    channels = weight[1] * groups if transposed else weight[0]
    depthwise = groups > 1 and groups == (weight[0] if transposed else given["input"].shape[1])
    kind = "transposed conv" if transposed else "depthwise" if depthwise else "conv"
    label = f"{_times(weight[2:])} {kind}, {channels}"
    if groups > 1 and not depthwise:
        label += f", {groups} groups"
    if any(d > 1 for d in given["dilation"]):
        label += f", dilation {given['dilation'][0]}"
    stride = _stride(given["stride"])
    return ("depthwise" if depthwise else "conv"), label + (stride.replace("/", "x") if transposed else stride)


def _list(value: Any, count: int) -> list[int]:
    value = list(value) if isinstance(value, Sequence) else [value]
    return value * count if len(value) == 1 else value


def _times(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides)) if len(sides) > 1 else str(sides[0]) if sides else ""


def _stride(stride: Sequence[int]) -> str:
    return "" if set(stride) == {1} else f", /{stride[0]}" if len(set(stride)) == 1 else f", /{_times(stride)}"


def _alive(units: list[_Unit]) -> list[_Unit]:
    """Return the units that the outputs depend on, each fed only by others of them."""
    wanted: set[_Unit] = set()
    for unit in reversed(units):
        if unit.kind == "sink" or unit in wanted:
            wanted |= {unit, *(feed for feed in unit.feeds if feed is not None)}
    return [unit for unit in units if unit in wanted]


def _fused(units: list[_Unit]) -> list[_Unit]:
    """Put normalisation and activation to the box that they follow, or else before the one that they precede."""
    users: dict[_Unit | None, list[_Unit]] = {}
    for unit in units:
        for feed in unit.feeds:
            users.setdefault(feed, []).append(unit)
    weights = ("conv", "depthwise", "dense")
    gone: set[_Unit] = set()
    for unit in units:
        feed = unit.feeds[0] if unit.feeds else None
        if unit.kind not in ("norm", "activation") or feed is None or len(users[feed]) > 1:
            continue
        # After a sum or a concatenation a normalisation belongs to what comes next.
        takes = (*weights, "product", "attention", *(("join", "norm") if unit.kind == "activation" else ()))
        if feed.kind in takes:
            if feed.kind == "norm":
                feed.label += f", {unit.label}"
            else:
                feed.note.append(unit.label)
            feed.shape = unit.shape
            gone.add(unit)
            users[feed] = users.get(unit, [])
            for user in users[feed]:
                user.feeds = [feed if other is unit else other for other in user.feeds]
    for unit in reversed(units):
        after = users.get(unit, [])
        if unit.kind in ("norm", "activation") and unit not in gone and len(after) == 1 and after[0].kind in weights:
            feed = unit.feeds[0]
            after[0].before.insert(0, unit.label)
            after[0].feeds = [feed]
            users[feed] = [after[0] if user is unit else user for user in users[feed]]
            gone.add(unit)
    kept = [unit for unit in units if unit not in gone]
    _nest_concatenations(kept)
    return kept


def _nest_concatenations(units: list[_Unit]) -> None:
    """Write concat(a, b, c) as concat(concat(a, b), c) where the inner one is there: dense blocks become chains."""
    known: dict[tuple[_Unit | None, ...], _Unit] = {}
    for unit in units:
        if unit.label != "concat":
            continue
        whole = tuple(unit.feeds)
        for length in range(len(whole) - 1, 1, -1):
            if whole[:length] in known:
                unit.feeds = [known[whole[:length]], *whole[length:]]
                break
        known[whole] = unit


# Taking the graph apart


class _EntangledError(Exception):
    pass


def _main_line(units: list[_Unit], marks: Sequence[_Mark], details: dict[str, tuple[Item, str]]) -> list[_Piece]:
    """Return the items from input to output."""
    try:
        return _Graph(units).line()
    except _EntangledError:
        pass
    grouped = _grouped(units)
    for unit in grouped:
        if len(unit.inside) > 1:
            _describe_group(unit, grouped, details)
    try:
        line = _Graph(grouped).line()
    except _EntangledError:
        return _line_with_skips(grouped, marks)
    entangled = any(isinstance(item, Tangle) for piece in line for item in _items_in(piece.item))
    return _line_with_skips(grouped, marks) if entangled else line


def _items_in(item: Item) -> Iterator[Item]:
    yield item
    inside: Sequence[Item] = ()
    if isinstance(item, Series):
        inside = item.items
    elif isinstance(item, Parallel):
        inside = item.branches
    for each in inside:
        yield from _items_in(each)


def _blocks_of_one_kind(line: list[_Piece]) -> list[_Piece]:
    """Put the items of a module together, where it is a block: it has branches, or others of its class have.

    The first block of a stage often has no shortcut, and is a block all the same.
    """
    kinds = {
        type(call.module) for piece in line if isinstance(piece.item, Parallel) for call in _calls_of(piece.units, line)
    }
    together: list[_Piece] = []
    i = 0
    while i < len(line):
        inside = line[i : i + 1]
        for call in line[i].units[0].chain[1:]:
            within = [piece for piece in line if all(call in unit.chain for unit in piece.units)]
            units = [unit for piece in within for unit in piece.units]
            exactly = len(units) == sum(call in unit.chain for piece in line for unit in piece.units)
            branched = any(isinstance(piece.item, Parallel) for piece in within)
            own = not type(call.module).__module__.startswith("torch.nn")
            few = 1 < len(_folded([piece.item for piece in within], True)) <= 4
            is_block = exactly and within[0] is line[i] and len(within) > 1
            if is_block and ((own and branched and few) or (not branched and type(call.module) in kinds)):
                inside = within
                break
        items = [piece.item for piece in inside]
        units_inside = tuple(itertools.chain.from_iterable(piece.units for piece in inside))
        item = items[0] if len(items) == 1 else Series(tuple(_folded(items, False)))
        together.append(_Piece(item, units_inside, inside[-1].at))
        i += len(inside)
    return together


def _calls_of(units: Sequence[_Unit], line: Sequence[_Piece]) -> list[Call]:
    """Return the modules that consist of these units and of nothing else on the line."""
    shared = [call for call in units[0].chain if all(call in unit.chain for unit in units)]
    inside = {call: sum(call in unit.chain for piece in line for unit in piece.units) for call in shared}
    return [call for call in shared if inside[call] == len(units)]


def _line_with_skips(units: list[_Unit], marks: Sequence[_Mark]) -> list[_Piece]:
    """A line with connections that skip some of its boxes; what comes before and after them stays outside."""
    order: dict[_Unit | None, int] = {unit: position for position, unit in enumerate(units)} | {None: -1}
    skipped = {
        passed for unit in units for feed in unit.feeds for passed in range(order[feed] + 1, order[unit])
    }  # fmt: skip
    first, last = min(skipped), max(skipped) + 1
    middle = [unit for unit in units[first : last + 1] if unit.kind != "sink"]
    boxes = [unit.box() for unit in middle]
    for mark in marks:
        at = max((i for i, unit in enumerate(middle) if unit.at < mark.end), default=None)
        if at is not None and (at < len(middle) - 1 or (units[last + 1 :] and units[last + 1].at >= mark.end)):
            boxes[at] = replace(boxes[at], stage=mark.name, shape=mark.shape)
    tangle = _with_runs(replace(_tangle(middle), boxes=tuple(boxes)))
    return [
        *(_Piece(unit.box(), (unit,), unit.at) for unit in units[:first]),
        _Piece(tangle, tuple(middle), middle[-1].at),
        *(_Piece(unit.box(), (unit,), unit.at) for unit in units[last + 1 :] if unit.kind != "sink"),
    ]


def _with_runs(item: Tangle) -> Tangle:
    """Write neighbours with the same label and the same connections, counted backwards, once."""
    feeds = [tuple(sorted(b - a for a, b in item.edges if b == i)) for i in range(len(item.boxes))]
    boxes: list[Box] = []
    new: dict[int, int] = {-1: -1}
    for i, box in enumerate(item.boxes):
        same = (
            boxes
            and replace(boxes[-1], times=1) == replace(box, stage="", shape="")
            and feeds[i] == feeds[i - 1]
        )  # fmt: skip
        if same:
            boxes[-1] = replace(boxes[-1], times=boxes[-1].times + 1, stage=box.stage, shape=box.shape)
        else:
            boxes.append(box)
        new[i] = len(boxes) - 1
    edges = dict.fromkeys((new.get(a, a), new[b]) for a, b in item.edges)
    return replace(item, boxes=tuple(boxes), edges=tuple((a, b) for a, b in edges if a != b))


def _tangle(units: Sequence[_Unit], entries: Sequence[str] = ()) -> Tangle:
    units = [unit for unit in units if unit.kind != "sink"]
    index: dict[Any, int] = {unit: position for position, unit in enumerate(units)}
    edges = [(index.get(feed, -1), index[unit]) for unit in units for feed in unit.feeds]
    return Tangle(tuple(unit.box() for unit in units), tuple(dict.fromkeys(edges)), tuple(entries))


def _grouped(units: list[_Unit]) -> list[_Unit]:
    """Put units together by the modules that lie directly in what they have in common."""
    common = 0
    real = [unit for unit in units if unit.kind != "sink"]
    while all(len(unit.chain) > common + 1 for unit in real) and len({unit.chain[common] for unit in real}) == 1:
        common += 1
    if len({unit.chain[common] if len(unit.chain) > common else None for unit in real}) == 1:
        common += 1
    groups: dict[Any, _Unit] = {}
    became: dict[_Unit, _Unit] = {}
    for unit in units:
        key: Any = unit.chain[common] if len(unit.chain) > common else unit
        if key in groups:
            group = groups[key]
            group.inside.append(unit)
            group.shape, group.at = unit.shape, unit.at
        else:
            group = groups[key] = replace(unit, inside=[unit], feeds=[], note=list(unit.note), before=list(unit.before))
        became[unit] = group
        for feed in unit.feeds:
            source = became.get(feed, feed) if feed is not None else None
            if source is not group and source not in group.feeds:
                group.feeds.append(source)
    return list(groups.values())


def _describe_group(group: _Unit, others: Sequence[_Unit], details: dict[str, tuple[Item, str]]) -> None:
    """Name a box that stands for several; if they are more than a chain, a drawing of its own says what they are."""
    inner = set(group.inside)
    sources: list[Any] = []  # what the block is fed by, told apart inside
    for unit in group.inside:
        for feed in unit.feeds:
            if feed not in inner and feed not in sources:
                sources.append(feed)
    exits = [unit for unit in group.inside if not any(unit in other.feeds for other in group.inside)]
    kind, label = group.inside[-1].kind, _chain_label(group.inside)
    item: Item
    try:
        if len(sources) > 1:
            raise _EntangledError
        for unit in group.inside:
            unit.feeds = [feed if feed in inner else None for feed in unit.feeds]
        sink = _Unit("sink", "", list(exits), (), (), group.at + 1)
        line = _Graph([*group.inside, sink]).line()
        item = Series(tuple(piece.item for piece in line)) if len(line) > 1 else line[0].item
    except _EntangledError:
        parts = _grouped(group.inside)
        for part in parts:
            if len(part.inside) > 1:
                _describe_group(part, parts, details)
        index: dict[Any, int] = {source: -1 - i for i, source in enumerate(sources)}
        index |= {None: -1} if len(sources) <= 1 else {}
        index |= {part: i for i, part in enumerate(parts)}
        edges = [(index[feed], index[part]) for part in parts for feed in part.feeds]
        back = {None: "input"} | {other: _back(others, group, other) for other in others}
        of = {unit: other for other in others for unit in (other, *other.inside)}
        names = tuple(back[of.get(source, source)] for source in sources) if len(sources) > 1 else ("input",)
        item = Tangle(tuple(part.box() for part in parts), tuple(dict.fromkeys(edges)), names)
        label = None
    group.note, group.before = [], []
    if label is not None:
        group.kind, group.label = kind, label
        return
    shared = [call for call in group.chain if all(call in unit.chain for unit in group.inside)]
    item = _without_channels(item)
    key = repr(_without_notes(item))
    if key not in details:
        name = type(shared[-1].module).__name__ if shared else "block"
        earlier = sum(title.split()[0] == name for _, title in details.values())
        details[key] = (item, f"{name} {'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[earlier % 26]}")
    group.kind, group.label = "group", f"{details[key][1]}, {group.shape[1] if len(group.shape) > 1 else 1}"


def _back(others: Sequence[_Unit], group: _Unit, source: _Unit) -> str:
    position = {unit: i for i, unit in enumerate(others)}
    return {1: "the one before", 2: "two before"}.get(position[group] - position[source], "input")


def _chain_label(units: Sequence[_Unit]) -> str | None:
    """Return what to call a chain: by its separable convolutions, or by its one telling box."""
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


def _without_channels(item: Item) -> Item:
    """The same item with channels left out of the labels: it stands for blocks of every width."""
    return _each_box(
        item, lambda box: replace(box, label=", ".join(w for w in box.label.split(", ") if not w.isdigit()))
    )


def _without_notes(item: Item) -> Item:
    return _each_box(item, lambda box: replace(box, note="", before=""))


def _each_box(item: Item, change: Callable[[Box], Box]) -> Item:
    if isinstance(item, Box):
        return change(item)
    if isinstance(item, Series):
        return replace(item, items=tuple(_each_box(each, change) for each in item.items))
    if isinstance(item, Parallel):
        branches = tuple(replace(b, items=tuple(_each_box(each, change) for each in b.items)) for b in item.branches)
        return replace(item, branches=branches, join=None if item.join is None else change(item.join))
    return replace(item, boxes=tuple(change(box) for box in item.boxes))


class _Graph:
    """Units as numbers in order: -1 is the input, the last one the sink."""

    def __init__(self, units: Sequence[_Unit]) -> None:
        self.units = units
        index: dict[_Unit | None, int] = {unit: position for position, unit in enumerate(units)}
        index[None] = -1
        self.sink = len(units) - 1
        self.feeds = {i: [index[feed] for feed in unit.feeds] for i, unit in enumerate(units)} | {-1: []}
        self.users: dict[int, list[int]] = {i: [] for i in range(-1, len(units))}
        for i, feeds in self.feeds.items():
            for feed in feeds:
                self.users[feed].append(i)
        self.meet: dict[int, int] = {self.sink: self.sink}
        for i in range(self.sink - 1, -2, -1):
            meets = self.users[i]
            if not meets:
                raise _EntangledError
            found = meets[0]
            for other in meets[1:]:
                while found != other:  # climb to where both ways have met
                    if found < other:
                        found = self.meet[found]
                    else:
                        other = self.meet[other]
            self.meet[i] = found

    def line(self) -> list[_Piece]:
        """Return the items from the input to the sink."""
        pieces = []
        at = -1
        while at != self.sink:
            meet = self.meet[at]
            item = self._segment(at, meet)
            if item is not None:
                units = tuple(self.units[i] for i in (*self._between(at, meet), meet) if i != self.sink)
                pieces.append(_Piece(item, units, units[-1].at))
            at = meet
        return pieces

    def _segment(self, at: int, meet: int) -> Item | None:
        """Return the item from ``at``, exclusive, to ``meet``, inclusive; None for a plain end."""
        between = self._between(at, meet)
        allowed = {*between, at}
        if any(feed not in allowed for i in (*between, meet) for feed in self.feeds[i]):
            raise _EntangledError
        join = None if meet == self.sink else self.units[meet].box()
        if not between:
            return join
        branches = [self._branch(part, at, meet) for part in self._parts(between)]
        if at in self.feeds[meet]:
            branches.append(Series(()))
        gate = self._gate(branches, join)
        return gate if gate is not None else Parallel(tuple(branches), join)

    def _between(self, at: int, meet: int) -> list[int]:
        found, todo = set(), [user for user in self.users[at] if user != meet]
        while todo:
            i = todo.pop()
            if i not in found:
                found.add(i)
                todo += [user for user in self.users[i] if user != meet]
        return sorted(found)

    def _parts(self, between: Sequence[int]) -> list[list[int]]:
        """Return what hangs together without the two ends."""
        inside, parts, seen = set(between), [], set()
        for start in between:
            if start in seen:
                continue
            part, todo = set(), [start]
            while todo:
                i = todo.pop()
                if i not in part:
                    part.add(i)
                    todo += [j for j in (*self.users[i], *self.feeds[i]) if j in inside]
            seen |= part
            parts.append(sorted(part))
        return parts

    def _branch(self, part: Sequence[int], at: int, meet: int) -> Series:
        entries = [i for i in part if at in self.feeds[i]]
        if len(entries) != 1:
            if len(part) > _SMALL:
                raise _EntangledError
            return Series((_tangle([self.units[i] for i in part]),))
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
        """Squeeze-excitation: a branch that begins with global pooling and is multiplied onto the other."""
        if join is None or join.label != "multiply" or sorted(bool(b.items) for b in branches) != [False, True]:
            return None
        gate = [item for item in next(b for b in branches if b.items).items if isinstance(item, Box)]
        if not gate[0].label.startswith("global") or len(gate) < 2:
            return None
        width = gate[1].label.split(", ")[1]
        return Box(f"squeeze-excitation, {width}", join.note, kind="attention")


# Repeats


def _folded(items: Sequence[Item], many: bool) -> list[Item]:
    """Write neighbours that are the same once, with how often they come."""
    folded: list[Item] = []
    i = 0
    while i < len(items):
        best = (1, 1)
        for period in range(1, min(8, len(items) - i) + 1):
            count = _runs(items, i, period)
            plain = all(isinstance(item, Box) for item in items[i : i + period])
            worth = count > 1 and (not plain or many or (period > 1 and count > 2))
            if worth and period * (count - 1) > best[0] * (best[1] - 1):
                best = (period, count)
        period, count = best
        # Of runs that are as long, the one that ends with the stage shows the blocks as they were meant.
        later = len(items) - period * count - i
        if count > 1 and 0 < later < period and _runs(items, i + later, period) == count:
            folded += items[i : i + later]
            i += later
        part = [_folded_inside(item, many) for item in items[i : i + period]]
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


def _folded_inside(item: Item, many: bool) -> Item:
    if isinstance(item, Parallel):
        branches = (Series(tuple(_folded(branch.items, many))) for branch in item.branches)
        return replace(item, branches=tuple(branches))
    return item
