"""What a network consists of and what it costs: layers, shapes, parameters, multiply-adds, memory, receptive fields."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from cnnlab.errors import UsageError
from cnnlab.tracing import Call, Inputs, Op, ReceptiveField, Trace, Value, receptive_fields, trace

if TYPE_CHECKING:
    from rich.console import RenderableType

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class LayerRow:
    """A module of the network.

    ``parameters`` and ``macs`` are those of the module with everything inside; ``own_`` are those of its own
    ``forward`` and of no module in it, and each parameter is owned by the first module that has it: over all rows the
    own numbers add up to the totals.

    Attributes:
        name: dotted name; empty for the network itself.
        type: name of the class.
        depth: 0 for the network, 1 for its children, ...
        calls: how often it ran in one forward pass.
        inputs, outputs: shapes of the tensors at its last call, batch first.
        macs: multiply-adds of matrix products and convolutions in all calls together.
        shared_with: the module that owns its parameters, where that is an earlier one.
        field: receptive field of its first output; None without pixels in it, or where it cannot be told.
    """

    name: str
    type: str
    depth: int
    calls: int
    inputs: Shapes
    outputs: Shapes
    parameters: int
    trainable: int
    own_parameters: int
    macs: int
    own_macs: int
    shared_with: str = ""
    field: ReceptiveField | None = None


@dataclass(frozen=True)
class StageRow:
    """A stage: everything that runs after the stage before it until the module ``ends_with`` is done."""

    name: str
    ends_with: str
    output: tuple[int, ...]
    parameters: int
    macs: int
    field: ReceptiveField | None


@dataclass(frozen=True, repr=False)
class Summary:
    """A network in numbers; ``print`` shows them as tables.

    Attributes:
        name: of the network.
        inputs, outputs: shapes.
        layers: one row per module, in the order of ``named_modules``; a shared module has a row per name.
        stages: those the network declares; of others the last child before the resolution changes.
        parameters, trainable: distinct numbers that are learned, and that are not frozen.
        macs: multiply-adds of one forward pass in eval mode on ``inputs``: matrix products and convolutions, which is
            half of what ``torch.utils.flop_counter`` counts; normalisation, activation and pooling are left out.
        parameter_bytes, buffer_bytes: memory of the weights and of buffers such as running means.
        activation_bytes: all tensors that the forward pass computes, each once; about what training keeps.
        peak_activation_bytes: the most of those, and of the inputs, that are still needed at one moment; about what
            prediction takes.
        unused: parameters that the forward pass in eval mode does not touch, such as those of auxiliary heads.
    """

    name: str
    inputs: Shapes
    outputs: Shapes
    layers: tuple[LayerRow, ...]
    stages: tuple[StageRow, ...]
    parameters: int
    trainable: int
    macs: int
    parameter_bytes: int
    buffer_bytes: int
    activation_bytes: int
    peak_activation_bytes: int
    unused: int
    trace: Trace = field(compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, lists and dicts, ready for JSON."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "trace"}
        return plain | {key: [dataclasses.asdict(row) for row in plain[key]] for key in ("layers", "stages")}

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat dict per layer, ready for a CSV file; shapes as in ``64x56x56``, without the batch."""
        rows = []
        for layer in self.layers:
            found = layer.field
            axes = {"stride": found.stride, "field": found.size, "centre": found.centre} if found else {}
            row = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer) if f.name != "field"}
            row |= {key: " ".join("x".join(map(str, s[1:])) for s in row[key]) for key in ("inputs", "outputs")}
            row |= {key: _sides(axes.get(key, ())) for key in ("stride", "field", "centre")}
            row |= {"whole_image": found.whole if found else "", "through": " ".join(found.through) if found else ""}
            rows.append(row)
        return rows

    def tables(self, depth: int | None = None, width: int = 100) -> list[RenderableType]:
        """Return the same tables as :meth:`text` for printing with rich."""
        from cnnlab.tracing._summary_text import tables

        return tables(self, depth, width)

    def text(self, depth: int | None = None, width: int = 100) -> str:
        """Return the tables as text: layers down to ``depth``, totals, stages, in lines of ``width`` characters."""
        from cnnlab.tracing._summary_text import as_text

        return as_text(self, depth, width)

    def __repr__(self) -> str:
        return self.text()


def summarise(model: nn.Module, inputs: Inputs = None) -> Summary:
    """Describe a network: a forward pass in eval mode is followed, without computing or allocating anything.

    The model stays as it is: mode, hooks, gradients, buffers and the states of random generators included.

    Args:
        model: any module.
        inputs: a tensor or a shape such as ``(1, 3, 224, 224)``; a sequence of those for a network with several
            inputs; a mapping for inputs by keyword. Networks of the zoo know their own: one image.

    Raises:
        UsageError: the inputs are missing or neither tensors nor shapes.
        ModelError: the network cannot take the inputs.
    """
    arch = getattr(model, "arch", None)
    if inputs is None:
        if not isinstance(arch, Mapping):
            raise UsageError(
                f"{type(model).__name__} does not say what it takes. Give the shape as in "
                "summary(model, (1, 3, 224, 224))."
            )
        inputs = (1, arch["in_channels"], arch["image_size"], arch["image_size"])
    record = trace(model, inputs)
    fields = receptive_fields(record)
    used = {id(value.parameter) for op in record.ops for value in op.inputs if value.parameter is not None}
    distinct = list(model.parameters())
    activations, peak = _memory(record)
    return Summary(
        name=arch["name"] if isinstance(arch, Mapping) else type(model).__name__,
        inputs=_shapes(record.inputs),
        outputs=_shapes(record.outputs),
        layers=tuple(_layers(model, record, fields)),
        stages=tuple(_stages(model, record, fields)),
        parameters=sum(p.numel() for p in distinct),
        trainable=sum(p.numel() for p in distinct if p.requires_grad),
        macs=sum(op.macs for op in record.ops),
        parameter_bytes=sum(p.numel() * p.element_size() for p in distinct),
        buffer_bytes=sum(b.numel() * b.element_size() for b in model.buffers()),
        activation_bytes=activations,
        peak_activation_bytes=peak,
        unused=sum(p.numel() for p in distinct if id(p) not in used),
        trace=record,
    )


def _sides(sides: Sequence[float | None]) -> str:
    return "x".join("" if side is None else f"{side:g}" for side in sides) if any(s is not None for s in sides) else ""


def _shapes(values: Iterable[Value]) -> Shapes:
    return tuple(value.shape for value in values)


def _layers(model: nn.Module, record: Trace, fields: Mapping[Value, ReceptiveField | None]) -> Iterable[LayerRow]:
    calls: dict[str, list[Call]] = {}
    for call in record.calls:
        calls.setdefault(call.path, []).append(call)
    owner: dict[int, str] = {}
    own_macs = {name: sum(call.own_macs for call in calls.get(name, ())) for name, _ in _named(model)}
    macs = dict.fromkeys(own_macs, 0)
    for name, own in own_macs.items():
        parts = name.split(".") if name else []
        for length in range(len(parts) + 1):
            macs[".".join(parts[:length])] += own
    for name, module in _named(model):
        mine = [p for p in module._parameters.values() if p is not None]
        owned = [p for p in mine if owner.setdefault(id(p), name) == name]
        inside = list(module.parameters())
        last = calls[name][-1] if name in calls else None
        yield LayerRow(
            name=name,
            type=type(module).__name__,
            depth=name.count(".") + 1 if name else 0,
            calls=len(calls.get(name, ())),
            inputs=_shapes(last.inputs) if last else (),
            outputs=_shapes(last.outputs) if last else (),
            parameters=sum(p.numel() for p in inside),
            trainable=sum(p.numel() for p in inside if p.requires_grad),
            own_parameters=sum(p.numel() for p in {id(p): p for p in owned}.values()),
            macs=macs[name],
            own_macs=own_macs[name],
            shared_with=next((owner[id(p)] for p in mine if owner[id(p)] != name), ""),
            field=fields.get(last.outputs[0]) if last and last.outputs else None,
        )


def _named(model: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    return model.named_modules(remove_duplicate=False)


def _stages(model: nn.Module, record: Trace, fields: Mapping[Value, ReceptiveField | None]) -> Iterable[StageRow]:
    declared = getattr(model, "stages", None)
    if declared:
        last_calls = {call.path: call for call in record.calls}
        ends = [(name, last_calls[path]) for name, path in declared.items() if path in last_calls]
    else:
        ends = [(call.path, call) for call in _resolution_changes(record, fields)]
        rest = record.ops[ends[-1][1].end if ends else 0 :]
        if record.outputs and any(map(_computes, rest)):
            ends = [*ends[:-1], ("output", record.root)]  # the network itself has the last word
    seen: set[int] = set()
    start = 0
    for name, call in ends:
        ops = record.ops[start : call.end]
        start = max(start, call.end)
        parameters = {id(v.parameter): v.parameter for op in ops for v in op.inputs if v.parameter is not None}
        output = call.outputs[0]
        yield StageRow(
            name=name,
            ends_with=call.path,
            output=output.shape,
            parameters=sum(p.numel() for key, p in parameters.items() if key not in seen),
            macs=sum(op.macs for op in ops),
            field=fields.get(output),
        )
        seen |= set(parameters)


def _resolution_changes(record: Trace, fields: Mapping[Value, ReceptiveField | None]) -> list[Call]:
    """Return the children of the network after which the stride changes, and the last one."""

    def inside(call: Call) -> list[Call]:
        return [step for step in call.steps if isinstance(step, Call) and step.outputs]

    children = inside(record.root)
    while len(children) == 1 and inside(children[0]):  # something wrapped around the network
        children = inside(children[0])
    # Flatten and dropout only hand on what they got.
    children = [c for c in children if any(isinstance(step, Call) or _computes(step) for step in c.steps)]

    def stride(call: Call) -> Any:
        found = fields.get(call.outputs[0])
        return found and (found.stride, found.whole)

    return [
        call
        for call, following in zip(children, [*children[1:], None], strict=False)
        if following is None or stride(call) != stride(following)
    ]


def _computes(op: Op) -> bool:
    """Whether an operation makes numbers, and does not only look at them in another way."""
    return bool(op.inputs and op.outputs) and (isinstance(op.func, str) or not op.func.is_view)


def _memory(record: Trace) -> tuple[int, int]:
    """Return the bytes of all floating-point tensors made on the way, and the most needed at one moment.

    Views and in-place results are where what they came from is, and cost nothing.
    """
    weights = {v.storage for op in record.ops for v in op.inputs if v.parameter is not None}
    made: dict[int, int] = {v.storage: 0 for v in record.inputs}
    last = dict(made)
    size = {v.storage: _bytes(v) for v in record.inputs}
    for position, op in enumerate(record.ops):
        for value in op.outputs:
            if value.storage not in made and value.storage not in weights and value.dtype.is_floating_point:
                if any(value.storage == given.storage for given in op.inputs):
                    continue  # a view of a buffer
                made[value.storage], size[value.storage] = position, _bytes(value)
        last.update((v.storage, position) for v in (*op.inputs, *op.outputs) if v.storage in made)
    last.update((v.storage, len(record.ops)) for v in record.outputs if v.storage in made)
    changes = [0] * (len(record.ops) + 2)
    for storage, start in made.items():
        changes[start] += size[storage]
        changes[last[storage] + 1] -= size[storage]
    peak = alive = 0
    for change in changes:
        alive += change
        peak = max(peak, alive)
    given = {v.storage for v in record.inputs}
    return sum(bytes_ for storage, bytes_ in size.items() if storage not in given), peak


def _bytes(value: Value) -> int:
    return math.prod(value.shape) * value.dtype.itemsize
