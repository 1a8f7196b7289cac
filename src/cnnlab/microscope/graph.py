"""The network as the microscope shows it: a node per operation that computes numbers, and the connections between them.

Operations that only move numbers about (reshaping, dropout in eval mode) are no nodes, unless the channels or the
positions are others afterwards: then a node of the kind ``move`` stands for them, as for a flattening.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from cnnlab.diagram.operations import describe
from cnnlab.errors import ModelError, UnknownNameError
from cnnlab.microscope.arithmetic.axes import channels_last_after, to_view, view_shape
from cnnlab.tracing import Call, Op, ReceptiveField, Trace, Value, receptive_fields
from cnnlab.tracing.stages import stages_of

INPUT = "input"  # the node of the image
MOVES = frozenset({
    "view", "_unsafe_view", "reshape", "permute", "transpose", "t", "squeeze", "unsqueeze", "flatten", "slice",
    "select", "narrow", "split", "split_with_sizes", "chunk", "expand", "clone", "detach", "alias", "_to_copy",
    "contiguous", "lift_fresh", "constant_pad_nd", "roll", "flip", "write", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "native_channel_shuffle", "unbind", "index", "repeat", "as_strided",
})  # fmt: skip
_SHAPE_ONLY = frozenset({"ones_like", "zeros_like", "full_like", "empty_like", "new_zeros", "new_ones"})  # constants
_MOVE_LABELS = {
    "view": "reshape", "_unsafe_view": "reshape", "flatten": "flatten", "constant_pad_nd": "pad", "t": "transpose",
    "pixel_shuffle": "pixel shuffle", "native_channel_shuffle": "channel shuffle", "clone": "reorder",
}  # fmt: skip
Moved = tuple[tuple[int, ...], Tensor, bool]
_KINDS = {"maximum": "maxpool", "add": "add", "multiply": "multiply", "concat": "concat"}


@dataclass(frozen=True)
class Node:
    """An operation of the network.

    Attributes:
        id: the address: dotted name of the module where that is one operation, otherwise ``module:operation``; from
            the second on of one name with ``#2``, ``#3``.
        kind: one of conv, depthwise, grouped, transposed, dense, product, norm, activation, softmax, maxpool, avgpool,
            add, multiply, concat, resize, move, opaque.
        label: a few words, such as ``3x3 conv, 64``.
        text: the module with its settings, as torch writes it; the name of the operation where it is no module.
        module: dotted name of the innermost module around it; empty for the network's own ``forward``.
        type: class of that module.
        stage: name of the stage; empty before the first and after the last one.
        feeds: addresses of the nodes whose outputs it takes, in the order of its arguments.
        shape: shape of the output as channels, rows and columns, or of a vector as (C,).
        parameters: number of parameters that it uses.
        position: position of the operation in the pass.
        field: receptive field of a position of the output; None where it is not known.
        channels_last: whether the channels of an output of four dimensions are the last of them.
        output: number of the output among those of the operation, as after a split.
    """

    id: str
    kind: str
    label: str
    text: str
    module: str
    type: str
    stage: str
    feeds: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: int
    position: int
    field: ReceptiveField | None = field(default=None, compare=False)
    channels_last: bool = False
    output: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return what the page is told, ready for JSON."""
        names = ("id", "kind", "label", "text", "module", "type", "stage", "parameters")
        return {name: getattr(self, name) for name in names} | {"feeds": [*self.feeds], "shape": [*self.shape]}


@dataclass(frozen=True, eq=False)
class NetworkGraph:
    """The nodes of a network in the order in which they are computed.

    Attributes:
        nodes: the nodes by their addresses.
        output: address of the node whose output is that of the network.
        stages: names of the stages.
        sources: position of an operation -> name of an argument -> address of the node that made the tensor, or name of
            the parameter that it is; None for a constant, a list for a list of tensors.
        names: names of the operations in their order; another order means that the network took another way.
        moves: address of a ``move`` -> shape of the output that it moves, perhaps in several steps,
            for each number of its own output the position in that one, -1 for padding, and whether the channels of
            the output that is moved are the last dimension.
    """

    nodes: Mapping[str, Node]
    output: str
    stages: tuple[str, ...]
    sources: Mapping[int, Mapping[str, Any]]
    names: tuple[str, ...]
    moves: Mapping[str, Moved] = field(default_factory=dict)

    def by_position(self) -> dict[int, list[Node]]:
        """Return the nodes of every operation that has some: several where it has several outputs, as a split."""
        nodes: dict[int, list[Node]] = {}
        for node in self.nodes.values():
            nodes.setdefault(node.position, []).append(node)
        return nodes

    def node(self, address: str) -> Node:
        """Return a node.

        Raises:
            UnknownNameError: there is none of that address.
        """
        if address not in self.nodes:
            raise UnknownNameError("layer or operation", address, list(self.nodes))
        return self.nodes[address]

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as the protocol has it, ready for JSON."""
        return {
            "nodes": [node.to_dict() for node in self.nodes.values()],
            "input": INPUT,
            "output": self.output,
            "stages": [{"name": name, "title": name.replace("_", " ")} for name in self.stages],
        }


@dataclass(eq=False)
class _Draft:
    """A node in the making: an operation and what it takes."""

    op: Op
    position: int
    kind: str
    label: str
    feeds: list[_Draft | None] = field(default_factory=list)  # None is the image
    moved: Moved | None = None  # see NetworkGraph.moves
    output: int = 0
    channels_last: bool = False


@dataclass(eq=False)
class _Source:
    """What a tensor holds: the numbers that a draft made, perhaps moved about since.

    Attributes:
        draft: the draft that made them; None for the image.
        made: shape in which they were made.
        index: positions of the tensor's elements among the numbers that were made, -1 for padding; None where
            nothing was moved.
        move, position: the last operation that moved them, and its position in the pass.
        output: number of the tensor among the outputs of that operation.
        made_last, channels_last: whether the channels were the last of four dimensions then, and whether they are now.
    """

    draft: _Draft | None
    made: tuple[int, ...]
    index: Tensor | None = None
    move: Op | None = None
    position: int = -1
    made_last: bool = False
    channels_last: bool = False
    output: int = 0

    @property
    def positions(self) -> Tensor:
        """The index, also where nothing was moved."""
        return torch.arange(math.prod(self.made)).view(self.made) if self.index is None else self.index

    @property
    def as_made(self) -> bool:
        """Whether channels, rows and columns are those in which the numbers were made."""
        if self.index is None:
            return True
        before = to_view(torch.arange(math.prod(self.made)).view(self.made), self.made_last)
        after = to_view(self.index, self.channels_last)
        return before.shape == after.shape and torch.equal(before, after)


def graph_of(model: nn.Module, record: Trace) -> NetworkGraph:
    """Return the graph of a network from the record of a forward pass.

    Args:
        model: the network of which a copy was run.
        record: the record of a pass with one image.

    Raises:
        ModelError: no operation depends on the image.
    """
    fields = receptive_fields(record)
    drafts, sources, taken = _drafts(record, fields)
    ends = [sources[value] for value in record.outputs if value in sources]
    if not drafts or not ends or ends[0].draft is None:
        raise ModelError(f"{type(model).__name__} computes nothing from the image.")
    addresses = _addresses(drafts)
    stages = stages_of(model, record, fields)
    calls = {call.path: call for call in record.calls}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    nodes = {}
    for draft in drafts:
        stage = next((stage.name for stage in stages if draft.position < calls[stage.ends_with].end), "")
        nodes[addresses[draft]] = _node(draft, addresses, stage, fields.get(draft.op.outputs[draft.output]))
    return NetworkGraph(
        nodes=nodes,
        output=addresses[ends[0].draft],
        stages=tuple(dict.fromkeys(node.stage for node in nodes.values() if node.stage)),
        sources={draft.position: _named_sources(draft, taken[draft], addresses, names) for draft in drafts},
        names=tuple(op.name for op in record.ops),
        moves={addresses[draft]: draft.moved for draft in drafts if draft.moved is not None},
    )


def _drafts(record: Trace, fields: Any) -> tuple[list[_Draft], dict[Value, _Source], dict[_Draft, dict[Value, Any]]]:
    """Return a draft per node, what every tensor of the pass holds, and for each draft who made what it takes."""
    sources = {value: _Source(None, value.shape) for value in record.inputs}
    drafts: list[_Draft] = []
    taken: dict[_Draft, dict[Value, _Draft | None]] = {}
    for position, op in enumerate(record.ops):
        inputs = [value for value in dict.fromkeys(op.inputs) if value in sources and (not fields or value in fields)]
        if not inputs or not op.outputs or op.name in _SHAPE_ONLY:
            continue
        if (op.name.rstrip("_") in MOVES and len(inputs) == 1) or op.name == "write":
            source = sources[inputs[-1]]
            for number, value in enumerate(op.outputs):
                sources[value] = _moved(source, op, position, number, inputs[-1])
            continue
        kind, label = _kind(op, inputs, fields)
        draft = _Draft(op, position, kind, label)
        taken[draft] = {value: _settled(sources[value], drafts, taken) for value in inputs}
        draft.feeds = [*dict.fromkeys(taken[draft].values())]
        drafts.append(draft)
        draft.channels_last = any(_channels_last(op, value, sources[value]) for value in inputs)
        last = draft.channels_last
        sources.update((value, _Source(draft, value.shape, made_last=last, channels_last=last)) for value in op.outputs)
    if record.outputs and record.outputs[0] in sources:
        _settled(sources[record.outputs[0]], drafts, taken)
    return drafts, sources, taken


def _moved(source: _Source, op: Op, position: int, number: int, moved: Value) -> _Source:
    """Return what output ``number`` of an operation holds that moves the numbers of ``source`` about."""
    if op.name == "write":
        return source
    index = source.positions
    if op.name != "_to_copy":

        def with_index(leaf: Any) -> Any:
            return source.positions if leaf is moved else leaf

        args, kwargs = tree_map(with_index, (op.args, op.kwargs), is_leaf=lambda leaf: isinstance(leaf, Value))
        if op.name == "constant_pad_nd":
            args, kwargs = (*args[:2], -1), {}  # padding is none of the numbers
        # The index has other strides than the tensor, and may have to be copied where that is viewed.
        func = torch.ops.aten.reshape.default if op.name in ("view", "_unsafe_view") else op.func
        output = func(*args, **kwargs)
        index = output[number] if isinstance(output, list | tuple) else output
    last = _channels_last(op, moved, source)
    return _Source(source.draft, source.made, index, op, position, source.made_last, last, number)


def _channels_last(op: Op, value: Value, source: _Source) -> bool:
    """Return whether the channels are the last of four dimensions after an operation on a tensor."""
    return channels_last_after(op.name, op.arguments, value.shape, op.outputs[0].shape, source.channels_last)


def _settled(source: _Source, drafts: list[_Draft], taken: dict[_Draft, dict[Value, Any]]) -> _Draft | None:
    """Return the draft that made a tensor; one for the moving, where channels or positions are others since then."""
    if source.as_made or source.move is None:
        return source.draft
    name = source.move.name.rstrip("_")
    label = "flatten" if len(source.positions.shape) == 2 < len(source.made) else _MOVE_LABELS.get(name, name)
    draft = _Draft(source.move, source.position, "move", label, [source.draft])
    draft.moved, draft.channels_last = (
        (source.made, source.positions, source.made_last and len(source.made) == 4),
        source.channels_last,
    )
    draft.output = source.output
    taken[draft] = dict.fromkeys(source.move.inputs, source.draft)
    # The order of computation: a move comes before whatever is computed after it.
    place = next((i for i, other in enumerate(drafts) if other.position > draft.position), len(drafts))
    drafts.insert(place, draft)
    source.draft, source.made, source.index = draft, tuple(source.positions.shape), None
    source.made_last = source.channels_last
    return draft


def _kind(op: Op, inputs: list[Value], fields: Any) -> tuple[str, str]:
    """Return kind and label of the node of an operation."""
    name = op.name.rstrip("_")
    if name in ("add", "sub", "mul", "div") and len(inputs) == 1:  # with a constant or a parameter
        return ("add", name) if name in ("add", "sub") else ("multiply", "scale")
    if name in ("cat", "stack"):
        return "concat", "concat"
    if "scaled_dot_product" in name:
        return "product", "attention"
    described = describe(op, inputs, fields)
    if described is None:
        pooled = "pool" in name  # a pooling that changes nothing
        return ("avgpool", "average pool") if pooled else ("opaque", name.strip("_").replace("_", " "))
    kind, label = described
    if kind == "conv":
        settings = op.arguments
        return ("transposed" if settings["transposed"] else "grouped" if settings["groups"] > 1 else "conv"), label
    if kind == "pool":
        return ("maxpool" if "max" in label else "avgpool"), label
    if kind == "join":
        return _KINDS[label], label
    if kind == "activation":
        return ("softmax" if "softmax" in label else "activation"), label
    return (kind if kind in ("depthwise", "dense", "product", "norm", "resize") else "opaque"), label


def _named_sources(
    draft: _Draft, taken: Mapping[Value, _Draft | None], addresses: Mapping[_Draft, str], names: Mapping[int, str]
) -> dict[str, Any]:
    """Return for each argument that is a tensor, or a list of them, who made it; see :class:`NetworkGraph`."""

    def source(value: Any) -> str | None:
        if value in taken:
            made = taken[value]
            return INPUT if made is None else addresses[made]
        return names.get(id(_origin(value).parameter))

    sources: dict[str, Any] = {}
    for name, argument in draft.op.arguments.items():
        if isinstance(argument, Value):
            sources[name] = source(argument)
        elif isinstance(argument, list | tuple) and any(isinstance(leaf, Value) for leaf in argument):
            sources[name] = [source(leaf) for leaf in argument if isinstance(leaf, Value)]
    return sources


def _addresses(drafts: list[_Draft]) -> dict[_Draft, str]:
    """Return the address of every draft."""
    inside: dict[Call, int] = Counter(draft.op.call for draft in drafts)
    used: Counter[str] = Counter()
    addresses = {}
    for draft in drafts:
        call, name = draft.op.call, draft.op.name.strip("_")
        if draft.kind == "move":
            name = draft.label.replace(" ", "_")
        whole = inside[call] == 1 and call.path and not any(isinstance(step, Call) for step in call.steps)
        base = call.path if whole else f"{call.path}:{name}"
        used[base] += 1
        addresses[draft] = base if used[base] == 1 else f"{base}#{used[base]}"
    return addresses


def _node(draft: _Draft, addresses: Mapping[_Draft, str], stage: str, receptive: ReceptiveField | None) -> Node:
    op, address = draft.op, addresses[draft]
    module = op.call.module
    whole = ":" not in address
    settings = module.extra_repr()
    parameters = {id(value.parameter): value.parameter for value in _parameters(op)}
    made = op.outputs[draft.output].shape
    shape = view_shape(made, draft.channels_last)
    return Node(
        id=address,
        kind=draft.kind,
        label=draft.label,
        text=f"{type(module).__name__}({settings})" if whole else f"{draft.label} in {type(module).__name__}",
        module=op.call.path,
        type=type(module).__name__,
        stage=stage,
        feeds=tuple(INPUT if feed is None else addresses[feed] for feed in draft.feeds),
        shape=shape[:1] if len(made) == 2 and shape[1:] == (1, 1) else shape,
        parameters=sum(parameter.numel() for parameter in parameters.values() if parameter is not None),
        position=draft.position,
        field=receptive,
        channels_last=draft.channels_last and any(len(value.shape) == 4 for value in (*op.inputs, *op.outputs)),
        output=draft.output,
    )


def _parameters(op: Op) -> list[Value]:
    """Return the parameters that an operation takes, also through views such as a transposed weight."""
    return [origin for value in op.inputs if (origin := _origin(value)).parameter is not None]


def _origin(value: Value) -> Value:
    """Return the tensor that a tensor is a view of: the weight, for a transposed weight."""
    for _ in range(4):
        if value.parameter is not None or value.made_by is None or len(value.made_by.inputs) != 1:
            break
        value = value.made_by.inputs[0]
    return value
