"""Drafts of the microscope's nodes: which operations of a recorded pass are nodes, and whose outputs they take.

Operations that only move numbers about (reshaping, dropout in eval mode) are no nodes, unless the channels or the
positions are others afterwards: then a node of the kind ``move`` stands for them, as for a flattening. A recurrent
layer of torch is one node for each of its outputs, whatever it does inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from cnnlab.diagram.operations import describe
from cnnlab.microscope.arithmetic import activations
from cnnlab.microscope.arithmetic.axes import Layout, layout_after, layout_of_several, to_view
from cnnlab.tracing import Call, Op, Trace, Value
from cnnlab.tracing.layers import Fields

MOVES = frozenset({
    "view", "_unsafe_view", "reshape", "permute", "transpose", "t", "squeeze", "unsqueeze", "flatten", "slice",
    "select", "narrow", "split", "split_with_sizes", "chunk", "expand", "clone", "detach", "alias", "_to_copy",
    "contiguous", "lift_fresh", "constant_pad_nd", "roll", "flip", "write", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "native_channel_shuffle", "unbind", "index", "repeat", "as_strided", "unsafe_split",
    "unsafe_split_with_sizes", "unsafe_chunk",
})  # fmt: skip
_SHAPE_ONLY = frozenset({"ones_like", "zeros_like", "full_like", "empty_like", "new_zeros", "new_ones"})  # constants
_MOVE_LABELS = {
    "view": "reshape", "_unsafe_view": "reshape", "flatten": "flatten", "constant_pad_nd": "pad", "t": "transpose",
    "pixel_shuffle": "pixel shuffle", "native_channel_shuffle": "channel shuffle", "clone": "reorder",
}  # fmt: skip
Moved = tuple[tuple[int, ...], Tensor, Layout]
"""Shape of an output, the positions in it of the numbers that were moved, and what its dimensions mean."""
_OPAQUE_LABELS = {
    "_fft_r2c": "Fourier transform", "_fft_c2c": "Fourier transform", "_fft_c2r": "inverse Fourier transform",
    "gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most",
}  # fmt: skip
_KINDS = {"maximum": "maxpool", "add": "add", "multiply": "multiply", "concat": "concat"}


@dataclass(eq=False)
class Draft:
    """A node in the making: an operation and what it takes.

    Attributes:
        op: the operation; of a recurrent layer the last one, which makes the output.
        position: position of the operation in the pass.
        kind, label: see :class:`cnnlab.microscope.graph.Node`.
        feeds: the drafts whose outputs it takes; None is the image.
        moved: see :attr:`cnnlab.microscope.graph.NetworkGraph.moves`.
        output: number of the output among those of the operation.
        layout: what the dimensions of its tensors mean.
        layer: the call of the recurrent layer that it stands for.
        name: name of the output where the layer has several.
    """

    op: Op
    position: int
    kind: str
    label: str
    feeds: list[Draft | None] = field(default_factory=list)
    moved: Moved | None = None
    output: int = 0
    layout: Layout = Layout.USUAL
    layer: Call | None = None
    name: str = ""


@dataclass(eq=False)
class Source:
    """What a tensor holds: the numbers that a draft made, perhaps moved about since.

    Attributes:
        draft: the draft that made them; None for the image.
        made: shape in which they were made.
        index: positions of the tensor's elements among the numbers that were made, -1 for padding; None where
            nothing was moved.
        move, position: the last operation that moved them, and its position in the pass.
        made_layout, layout: what the dimensions meant then, and what they mean now.
        output: number of the tensor among the outputs of that operation.
        writers: drafts that have written other numbers into a part of the tensor since.
    """

    draft: Draft | None
    made: tuple[int, ...]
    index: Tensor | None = None
    move: Op | None = None
    position: int = -1
    made_layout: Layout = Layout.USUAL
    layout: Layout = Layout.USUAL
    output: int = 0
    writers: tuple[Draft | None, ...] = ()

    @property
    def positions(self) -> Tensor:
        """The index, also where nothing was moved."""
        return torch.arange(math.prod(self.made)).view(self.made) if self.index is None else self.index

    @property
    def as_made(self) -> bool:
        """Whether channels, rows and columns are those in which the numbers were made."""
        if self.index is None:
            return True
        before = to_view(torch.arange(math.prod(self.made)).view(self.made), self.made_layout)
        after = to_view(self.index, self.layout)
        return before.shape == after.shape and torch.equal(before, after)


@dataclass(eq=False)
class Drafts:
    """The drafts of a pass.

    Attributes:
        nodes: a draft per node, in the order of computation.
        sources: what every tensor that depends on the image holds.
        taken: for each draft, who made the tensors that it takes.
    """

    nodes: list[Draft] = field(default_factory=list)
    sources: dict[Value, Source] = field(default_factory=dict)
    taken: dict[Draft, dict[Value, Draft | None]] = field(default_factory=dict)

    def settled(self, value: Value) -> Draft | None:
        """Return the draft that made a tensor; one for the moving, where channels or positions are others since."""
        source = self.sources[value]
        if source.as_made or source.move is None:
            return source.draft
        name = source.move.name.rstrip("_")
        label = "flatten" if len(source.positions.shape) == 2 < len(source.made) else _MOVE_LABELS.get(name, name)
        moved = source.made, source.positions, _in_nodes(source.made_layout, len(source.made))
        draft = Draft(
            source.move, source.position, "move", label.replace("unsafe_", ""), [source.draft, *source.writers], moved,
            source.output, source.layout,
        )  # fmt: skip
        self.taken[draft] = dict.fromkeys(source.move.inputs, source.draft)
        # The order of computation: a move comes before whatever is computed after it.
        place = next((i for i, other in enumerate(self.nodes) if other.position > draft.position), len(self.nodes))
        self.nodes.insert(place, draft)
        source.draft, source.made, source.index = draft, tuple(source.positions.shape), None
        source.made_layout, source.writers = source.layout, ()
        return draft

    def add(self, draft: Draft, inputs: Sequence[Value]) -> Draft:
        """Add a draft that takes some tensors, and return it."""
        self.taken[draft] = {value: self.settled(value) for value in inputs}
        writers = [writer for value in inputs for writer in self.sources[value].writers]
        draft.feeds = [*dict.fromkeys([*self.taken[draft].values(), *writers])]
        self.nodes.append(draft)
        return draft


def drafts_of(record: Trace, fields: Fields) -> Drafts:
    """Return the drafts of a recorded pass.

    Args:
        record: the record of a pass with one image.
        fields: receptive fields of the tensors; a tensor without one depends on no pixel.
    """
    drafts = Drafts()
    for value in record.inputs:
        layout = Layout.FIRST if len(value.shape) == 4 else Layout.USUAL
        drafts.sources[value] = Source(None, value.shape, made_layout=layout, layout=layout)
    for position, op in enumerate(record.ops):
        layer = _recurrent(op.call)
        if layer is not None:
            _add_recurrent(drafts, layer, op, position)
            continue
        inputs = [v for v in dict.fromkeys(op.inputs) if v in drafts.sources and (not fields or v in fields)]
        if not inputs or not op.outputs or op.name in _SHAPE_ONLY:
            continue
        if op.name == "write":
            drafts.sources[op.outputs[0]] = _written(drafts, *op.args)
        elif op.name == "copy_" and op.args[1] in inputs and op.args[1].shape == op.args[0].shape:
            drafts.sources[op.outputs[0]] = drafts.sources[op.args[1]]
        elif op.name.rstrip("_") in MOVES and len(inputs) == 1:
            source = drafts.sources[inputs[0]]
            for number, value in enumerate(op.outputs):
                drafts.sources[value] = _moved(source, op, position, number, inputs[0])
        else:
            draft = drafts.add(Draft(op, position, *_kind(op, inputs, fields)), inputs)
            alike = [value for value in inputs if value.shape == op.outputs[0].shape] or inputs
            draft.layout = layout_of_several(_layout_after(op, value, drafts.sources[value]) for value in alike)
            drafts.sources.update(
                (value, Source(draft, value.shape, made_layout=draft.layout, layout=draft.layout))
                for value in op.outputs
            )
    if record.outputs and record.outputs[0] in drafts.sources:
        drafts.settled(record.outputs[0])
    used = {feed for draft in drafts.nodes for feed in draft.feeds}
    used |= {drafts.sources[value].draft for value in record.outputs if value in drafts.sources}
    drafts.nodes = [draft for draft in drafts.nodes if draft.layer is None or draft in used]
    return drafts


def _recurrent(call: Call | None) -> Call | None:
    """Return the call of a recurrent layer of torch around an operation; None where there is none."""
    while call is not None and not isinstance(call.module, nn.RNNBase):
        call = call.parent
    return call


def _add_recurrent(drafts: Drafts, layer: Call, op: Op, position: int) -> None:
    """Add a draft for each output of a recurrent layer that an operation inside the layer makes."""
    inputs = [value for value in dict.fromkeys(layer.inputs) if value in drafts.sources]
    names = ["", "hidden state", "cell state"]
    for number, value in enumerate(op.outputs):
        if not inputs or value not in layer.outputs:
            continue
        name = names[layer.outputs.index(value)]
        module = layer.module
        label = name or f"{type(module).__name__}, {module.hidden_size}"
        draft = Draft(op, position, "opaque", label, output=number, layer=layer, name=name)
        drafts.add(draft, inputs)
        drafts.sources[value] = Source(draft, value.shape)


def _written(drafts: Drafts, whole: Value, part: Value) -> Source:
    """Return what a tensor holds after another, which shares memory with it, was written."""
    if part not in drafts.sources:
        return drafts.sources[whole]
    writer = drafts.sources[part]
    source = drafts.sources.get(whole)
    if math.prod(part.shape) >= math.prod(whole.shape):  # the tensor is a view of what was written
        return replace(source, draft=writer.draft) if source and source.made == writer.made else writer
    if source is None:  # a constant so far
        return Source(drafts.settled(part), whole.shape, layout=writer.layout, made_layout=writer.layout)
    return replace(source, writers=(*source.writers, drafts.settled(part)))


def _moved(source: Source, op: Op, position: int, number: int, moved: Value) -> Source:
    """Return what output ``number`` of an operation holds that moves the numbers of ``source`` about."""
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
    return replace(
        source, index=index, move=op, position=position, layout=_layout_after(op, moved, source), output=number
    )


def _in_nodes(layout: Layout, count: int) -> Layout:
    """Return a layout of ``count`` dimensions as nodes have it: the usual one where it makes no difference."""
    matters = {Layout.LAST: count == 4, Layout.SEQUENCE: count == 3, Layout.MAP: count == 3}
    return layout if matters.get(layout) else Layout.USUAL


def _layout_after(op: Op, value: Value, source: Source) -> Layout:
    """Return what the dimensions of an operation's output mean, from what those of a tensor mean that it takes."""
    return layout_after(op.name, op.arguments, value.shape, op.outputs[0].shape, source.layout)


def is_random(value: Any) -> bool:
    """Return whether a tensor is drawn at random, as the mask of a dropout that stays on."""
    for _ in range(4):
        if not isinstance(value, Value) or value.made_by is None:
            break
        if value.made_by.name.rstrip("_") == "bernoulli":
            return True
        value = next(iter(value.made_by.inputs), None)
    return False


def draws(op: Op) -> bool:
    """Return whether an operation is a dropout that stays on: it multiplies with a mask that is drawn at random."""
    return op.name == "native_dropout" or (op.name.rstrip("_") == "mul" and any(map(is_random, op.args)))


def _kind(op: Op, inputs: list[Value], fields: Fields) -> tuple[str, str]:
    """Return kind and label of the node of an operation."""
    name = op.name.rstrip("_")
    if draws(op):
        return "multiply", "dropout, on"
    if name in ("add", "sub", "mul", "div") and len(inputs) == 1:  # with a constant or a parameter
        return ("add", name) if name in ("add", "sub") else ("multiply", "scale")
    if name in ("cat", "stack"):
        return "concat", "concat"
    if "scaled_dot_product" in name:
        return "product", "attention"
    described = describe(op, inputs, fields)
    if name in ("mean", "amax") and described == ("other", name) and _is_global(op, inputs[0]):
        return ("avgpool", "global average pool") if name == "mean" else ("maxpool", "global max pool")
    if described is None:
        words = _OPAQUE_LABELS.get(name) or name.strip("_").replace("_", " ")
        if "pool" in name:  # a pooling that changes nothing
            return "avgpool", "average pool"
        return ("add" if name == "sum" else "activation" if name in activations.OPERATIONS else "opaque"), words
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


def _is_global(op: Op, value: Value) -> bool:
    """Return whether an operation goes over all rows and columns of maps, and over nothing else."""
    dims = op.arguments.get("dim") or ()
    return len(value.shape) == 4 and sorted(dim % 4 for dim in dims) == [2, 3]
