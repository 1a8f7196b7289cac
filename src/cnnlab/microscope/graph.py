"""The network as the microscope shows it: a node per operation that computes numbers, and the connections between them.

Which operations are nodes is said in ``drafts``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from cnnlab.errors import ModelError, UnknownNameError
from cnnlab.microscope.arithmetic.axes import Layout, view_shape
from cnnlab.microscope.drafts import Draft, Moved, drafts_of, draws, is_random
from cnnlab.tracing import Call, Op, ReceptiveField, Trace, Value, receptive_fields
from cnnlab.tracing.stages import stages_of

INPUT = "input"  # the node of the image


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
        layout: what the dimensions of its tensors mean where that is not the usual.
        output: number of the output among those of the operation, as after a split.
        operation: name of the operation in torch's ATen library, or of the class of a recurrent layer.
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
    layout: Layout = Layout.USUAL
    output: int = 0
    operation: str = ""

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
            for each number of its own output the position in that one, -1 for padding, and what the dimensions of
            the output that is moved mean.
    """

    nodes: Mapping[str, Node]
    output: str
    stages: tuple[str, ...]
    sources: Mapping[int, Mapping[str, Any]]
    names: tuple[str, ...]
    moves: Mapping[str, Moved] = field(default_factory=dict)

    @property
    def gives_probabilities(self) -> bool:
        """Whether the network ends in softmax, perhaps with moves after it, so that its outputs are no logits."""
        node = self.nodes[self.output]
        while node.kind == "move" and node.feeds[0] in self.nodes:
            node = self.nodes[node.feeds[0]]
        return node.kind == "softmax" and "log" not in node.operation

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


def graph_of(model: nn.Module, record: Trace) -> NetworkGraph:
    """Return the graph of a network from the record of a forward pass.

    Args:
        model: the network of which a copy was run.
        record: the record of a pass with one image.

    Raises:
        ModelError: no operation depends on the image.
    """
    fields = receptive_fields(record)
    drafts = drafts_of(record, fields)
    ends = [drafts.sources[value] for value in record.outputs if value in drafts.sources]
    if not drafts.nodes or not ends or ends[0].draft is None:
        raise ModelError(f"{type(model).__name__} computes nothing from the image.")
    addresses = _addresses(drafts.nodes)
    stages = stages_of(model, record, fields)
    calls = {call.path: call for call in record.calls}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    nodes = {}
    for draft in drafts.nodes:
        stage = next((stage.name for stage in stages if draft.position < calls[stage.ends_with].end), "")
        nodes[addresses[draft]] = _node(draft, addresses, stage, fields.get(draft.op.outputs[draft.output]))
    return NetworkGraph(
        nodes=nodes,
        output=addresses[ends[0].draft],
        stages=tuple(dict.fromkeys(node.stage for node in nodes.values() if node.stage)),
        sources={
            draft.position: _named_sources(draft, drafts.taken[draft], addresses, names) for draft in drafts.nodes
        },
        names=tuple(op.name for op in record.ops),
        moves={addresses[draft]: draft.moved for draft in drafts.nodes if draft.moved is not None},
    )


def _named_sources(
    draft: Draft, taken: Mapping[Value, Draft | None], addresses: Mapping[Draft, str], names: Mapping[int, str]
) -> dict[str, Any]:
    """Return for each argument that is a tensor, or a list of them, who made it; see :class:`NetworkGraph`."""

    def source(value: Any) -> str | None:
        if value in taken:
            made = taken[value]
            return INPUT if made is None else addresses[made]
        return names.get(id(_origin(value).parameter)) or ("random mask" if is_random(value) else None)

    sources: dict[str, Any] = {}
    if draft.layer is not None:
        return {"input": [source(value) for value in taken]}
    for name, argument in draft.op.arguments.items():
        if isinstance(argument, Value):
            sources[name] = source(argument)
        elif isinstance(argument, list | tuple) and any(isinstance(leaf, Value) for leaf in argument):
            sources[name] = [source(leaf) for leaf in argument if isinstance(leaf, Value)]
    return sources


def _addresses(drafts: list[Draft]) -> dict[Draft, str]:
    """Return the address of every draft."""
    inside: dict[Call, int] = Counter(draft.op.call for draft in drafts)
    used: Counter[str] = Counter()
    addresses = {}
    for draft in drafts:
        call, name = draft.op.call, draft.op.name.strip("_")
        if draft.kind == "move":
            name = draft.label.replace(" ", "_")
        whole = inside[call] == 1 and call.path and not any(map(_computes_outputs, call.steps))
        if draft.layer is not None:
            call, name, whole = draft.layer, draft.name.replace(" ", "_"), not draft.name
        base = call.path if whole else f"{call.path}:{name}"
        used[base] += 1
        addresses[draft] = base if used[base] == 1 else f"{base}#{used[base]}"
    return addresses


def _computes_outputs(step: Op | Call) -> bool:
    """Return whether a step is the call of a module inside another, other than one that computes a weight."""
    return isinstance(step, Call) and ".parametrizations." not in f".{step.path}."


def _node(draft: Draft, addresses: Mapping[Draft, str], stage: str, receptive: ReceptiveField | None) -> Node:
    op, address = draft.op, addresses[draft]
    call = draft.layer or op.call
    module = call.module
    text = f"{draft.label} in {type(module).__name__}"
    if ":" not in address:
        text = f"{type(module).__name__}({module.extra_repr()})"
    if draws(op):
        text += ": it stays on and draws which numbers become 0, here always the same ones, so that all views agree"
    if op.outputs[draft.output].dtype.is_complex:
        text += ": complex numbers, of which the size (absolute value) is shown"
    used = [value.parameter for value in _parameters(op)]
    if draft.layer is not None:
        used = list(module.parameters())
    parameters = {id(parameter): parameter for parameter in used}
    three = any(len(value.shape) == 3 for value in (*op.inputs, *op.outputs))
    four = any(len(value.shape) == 4 for value in (*op.inputs, *op.outputs))
    matters = {Layout.LAST: four, Layout.SEQUENCE: three, Layout.MAP: three}.get(draft.layout, False)
    made = op.outputs[draft.output].shape
    shape = view_shape(made, draft.layout)
    return Node(
        id=address,
        kind=draft.kind,
        label=draft.label,
        text=text,
        module=call.path,
        type=type(module).__name__,
        stage=stage,
        feeds=tuple(INPUT if feed is None else addresses[feed] for feed in draft.feeds),
        shape=shape[:1] if len(made) == 2 and shape[1:] == (1, 1) else shape,
        parameters=sum(parameter.numel() for parameter in parameters.values() if parameter is not None),
        position=draft.position,
        # The positions of a sequence are no rows and columns of the image.
        field=None if draft.layout is Layout.SEQUENCE and three else receptive,
        layout=draft.layout if matters else Layout.USUAL,
        output=draft.output,
        operation=op.name if draft.layer is None else type(module).__name__,
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
