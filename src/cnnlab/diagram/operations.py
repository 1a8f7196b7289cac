"""From the operations of a recorded forward pass to boxes.

A convolution with the normalisation and activation behind it is one box; operations that only move elements about are
none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from cnnlab.diagram.items import Box
from cnnlab.tracing import Call, Op, Trace, Value, receptive_fields
from cnnlab.tracing.layers import Fields

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
class Unit:
    """A box in the making.

    Attributes:
        kind: kind of the box, "norm" or "activation" for one that another box takes in, "sink" for the end.
        label: words in the box.
        feeds: the units whose outputs it takes; None is the input of the network.
        shape: shape of its output.
        chain: calls of the modules around it, from the network inwards.
        at: position of its operation in the pass.
        note, before: words for what follows and what comes before it.
        inside: the units that it stands for.
    """

    kind: str
    label: str
    feeds: list[Unit | None]
    shape: tuple[int, ...]
    chain: tuple[Call, ...]
    at: int
    note: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    inside: list[Unit] = field(default_factory=list)

    def box(self) -> Box:
        """Return the box."""
        return Box(self.label, ", ".join(self.note), ", ".join(self.before), self.kind)


def units_of(trace: Trace) -> list[Unit]:
    """Return a unit for every box that a drawing shows, in the order of the pass, and at the end the sink."""
    return _fused(_alive(_units(trace)))


def _units(trace: Trace) -> list[Unit]:
    """Return a unit for every operation that does more than move elements about."""
    made_by: dict[Value, Unit | None] = dict.fromkeys(trace.inputs)
    units: list[Unit] = []
    whole: dict[Call, Unit] = {}  # modules of torch that are one box, whatever they do inside
    fields = receptive_fields(trace)
    for position, op in enumerate(trace.ops):
        # A tensor that depends on no pixel, such as a map of ones that counts them, is a constant.
        inputs = [v for v in op.inputs if v in made_by and (not fields or v in fields or v in trace.inputs)]
        if not inputs or not op.outputs:
            continue
        feeds = [made_by[value] for value in inputs]
        chain = _chain(op.call)
        module = next((call for call in chain if _is_one_box(call)), None)
        unit: Unit | None
        if module is not None and module in whole:
            unit = whole[module]
            unit.feeds += [feed for feed in feeds if feed is not unit and feed not in unit.feeds]
            unit.shape = op.outputs[0].shape
        elif (description := describe(op, inputs, fields) if module is None else _describe_module(module)) is None:
            unit = feeds[-1 if op.name == "write" else 0]
        else:
            unit = Unit(*description, feeds, op.outputs[0].shape, chain, position)
            units.append(unit)
            if module is not None:
                whole[module] = unit
        made_by.update(dict.fromkeys(op.outputs, unit))
    sink = Unit("sink", "", [made_by[v] for v in trace.outputs if v in made_by], (), (trace.root,), len(trace.ops))
    return [*units, sink]


def _chain(call: Call | None) -> tuple[Call, ...]:
    """Return the modules around an operation, from the network inwards."""
    chain: list[Call] = []
    while call is not None:
        chain.append(call)
        call = call.parent
    return tuple(reversed(chain))


def _is_one_box(call: Call) -> bool:
    """Return whether a module of torch is one box, whatever it does inside."""
    module = call.module
    own = type(module).__module__.startswith("torch.nn")
    return own and isinstance(module, nn.MultiheadAttention | nn.LocalResponseNorm | nn.RNNBase)


def _describe_module(call: Call) -> tuple[str, str]:
    """Return kind and label of the box of a module that is drawn as one."""
    if isinstance(call.module, nn.MultiheadAttention):
        return "attention", f"attention, {call.module.num_heads} heads"
    return "other", type(call.module).__name__.replace("LocalResponseNorm", "local response norm")


def describe(op: Op, inputs: Sequence[Value], fields: Fields) -> tuple[str, str] | None:
    """Return kind and label of the box of an operation, or None for one that is not drawn."""
    name, out = op.name.rstrip("_"), op.outputs[0].shape
    if name == "convolution":
        return _convolution(op.arguments)
    if name in ("mm", "bmm") and len(inputs) > 1:
        return "product", "matrix product"
    if name in ("mm", "addmm", "bmm", "baddbmm"):
        return "dense", f"dense, {out[-1]}"
    if "pool" in name and "unpool" not in name:
        return _pooling(op, inputs[0].shape)
    if name in ("mean", "amax") and len(inputs[0].shape) > 2:
        field = fields.get(op.outputs[0])
        kind = "average" if name == "mean" else "max"
        return ("pool", f"global {kind} pool") if field is not None and field.whole else ("other", name)
    if name in _NORMS:
        return "norm", _NORMS[name]
    if name in _ACTIVATIONS:
        return "activation", _ACTIVATIONS[name]
    if name in _JOINS and len(inputs) > 1:
        return "join", _JOINS[name]
    if "upsample" in name:
        return "resize", f"resize to {sides_text(out[2:])}"
    return None


def _pooling(op: Op, before: tuple[int, ...]) -> tuple[str, str] | None:
    """Return kind and label of a pooling's box; None where it changes nothing."""
    out = op.outputs[0].shape
    kind = "max" if "max" in op.name else "average"
    if "adaptive" in op.name:
        if math.prod(out[2:]) == 1:
            return "pool", f"global {kind} pool"
        return None if out == before else ("pool", f"{kind} pool to {sides_text(out[2:])}")
    kernel = op.arguments["kernel_size"]
    kernel = kernel * (len(out) - 2) if len(kernel) == 1 else kernel
    return "pool", f"{sides_text(kernel)} {kind} pool{_stride(op.arguments.get('stride') or kernel)}"


def _convolution(settings: dict[str, Any]) -> tuple[str, str]:
    """Return kind and label of a convolution's box."""
    weight, groups, transposed = settings["weight"].shape, settings["groups"], settings["transposed"]
    channels = weight[1] * groups if transposed else weight[0]
    depthwise = groups > 1 and groups == (weight[0] if transposed else settings["input"].shape[1])
    kind = "transposed conv" if transposed else "depthwise" if depthwise else "conv"
    label = f"{sides_text(weight[2:])} {kind}, {channels}"
    if groups > 1 and not depthwise:
        label += f", {groups} groups"
    if any(d > 1 for d in settings["dilation"]):
        label += f", dilation {settings['dilation'][0]}"
    stride = _stride(settings["stride"])
    return ("depthwise" if depthwise else "conv"), label + (stride.replace("/", "x") if transposed else stride)


def sides_text(sides: Sequence[int]) -> str:
    """Return sizes along height and width as in ``3x5``."""
    return "x".join(map(str, sides)) if len(sides) > 1 else str(sides[0]) if sides else ""


def _stride(stride: Sequence[int]) -> str:
    """Return a stride as it ends a label, such as ``, /2``; nothing for 1."""
    return "" if set(stride) == {1} else f", /{stride[0]}" if len(set(stride)) == 1 else f", /{sides_text(stride)}"


def _alive(units: list[Unit]) -> list[Unit]:
    """Return the units that the outputs depend on, each fed only by others of them."""
    needed: set[Unit] = set()
    for unit in reversed(units):
        if unit.kind == "sink" or unit in needed:
            needed |= {unit, *(feed for feed in unit.feeds if feed is not None)}
    return [unit for unit in units if unit in needed]


def _fused(units: list[Unit]) -> list[Unit]:
    """Add normalisation and activation to the box that they follow, or else to the one that they precede."""
    users: dict[Unit | None, list[Unit]] = {}
    for unit in units:
        for feed in unit.feeds:
            users.setdefault(feed, []).append(unit)
    weights = ("conv", "depthwise", "dense")
    gone: set[Unit] = set()
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
    units = [unit for unit in units if unit not in gone]
    _nest_concatenations(units)
    return units


def _nest_concatenations(units: list[Unit]) -> None:
    """Write concat(a, b, c) as concat(concat(a, b), c) where the inner one is there: dense blocks become chains."""
    earlier: dict[tuple[Unit | None, ...], Unit] = {}
    for unit in units:
        if unit.label != "concat":
            continue
        whole = tuple(unit.feeds)
        for length in range(len(whole) - 1, 1, -1):
            if whole[:length] in earlier:
                unit.feeds = [earlier[whole[:length]], *whole[length:]]
                break
        earlier[whole] = unit
