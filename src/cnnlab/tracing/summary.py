"""The summary of a network: layers, shapes, parameters, multiply-adds, memory, receptive fields."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from cnnlab.console import amount, size
from cnnlab.errors import UsageError
from cnnlab.tracing import tables
from cnnlab.tracing.forward_pass import Inputs, trace
from cnnlab.tracing.hooks import uncompiled
from cnnlab.tracing.layers import Layer, Shapes, layers_of, shapes
from cnnlab.tracing.receptive_field import receptive_fields
from cnnlab.tracing.record import Trace, Value
from cnnlab.tracing.stages import Stage, stages_of

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, repr=False)
class Summary:
    """The facts about a network; ``print`` shows them as tables.

    Attributes:
        name: name of the network, or of its class.
        inputs, outputs: shapes of the tensors that go in and come out, batch first.
        layers: the modules, in the order of ``named_modules``; a shared module is there once per name.
        stages: the stages that the network declares; else those that end with a child before the
            stride changes.
        parameters, trainable: numbers of distinct parameters, and of those that are not frozen.
        macs: multiply-adds of one forward pass in eval mode on ``inputs``: matrix products and convolutions, which is
            half of what ``torch.utils.flop_counter`` counts; normalisation, activation and pooling are left out.
        parameter_bytes, buffer_bytes: memory of the weights, and of buffers such as running means.
        activation_bytes: memory of all tensors that the forward pass computes, each once; about what training needs.
        peak_activation_bytes: largest memory of the inputs and of those tensors that are needed at the same moment;
            about what prediction needs.
        unused: number of parameters that the forward pass in eval mode does not use, such as those of auxiliary heads.
        trace: the recorded forward pass.
    """

    name: str
    inputs: Shapes
    outputs: Shapes
    layers: tuple[Layer, ...]
    stages: tuple[Stage, ...]
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
        """Return everything but the trace as plain numbers, lists and dicts, ready for JSON."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "trace"}
        return plain | {key: [dataclasses.asdict(row) for row in plain[key]] for key in ("layers", "stages")}

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat dict per layer, ready for a CSV file; shapes as in ``64x56x56``, without the batch."""
        return [_flat(layer) for layer in self.layers]

    def tables(self, depth: int | None = None, width: int = 100) -> list[RenderableType]:
        """Return the same tables as :meth:`text` for printing with rich."""
        parts: list[RenderableType] = [tables.layer_table(self.layers, depth, width), ""]
        parts.append(tables.totals_table(self._totals()))
        return [*parts, "", *tables.stage_table(self.stages, width)] if self.stages else parts

    def text(self, depth: int | None = None, width: int = 100) -> str:
        """Return the tables as text: layers down to ``depth``, totals, stages, in lines of ``width`` characters."""
        return tables.as_text(self.tables(depth, width), width)

    def __repr__(self) -> str:
        return self.text()

    def _totals(self) -> dict[str, str]:
        parameters = f"{self.parameters:,}"
        if frozen := self.parameters - self.trainable:
            parameters += f", {frozen:,} of them frozen"
        if self.unused:
            parameters += f", {self.unused:,} of them not used in eval mode"
        if any(layer.shared_with for layer in self.layers):
            parameters += "; shared ones (in brackets) are counted once"
        weights, activations, peak = map(
            size, (self.parameter_bytes, self.activation_bytes, self.peak_activation_bytes)
        )
        return {
            "parameters": parameters,
            "MACs": f"{amount(self.macs)} ({self.macs:,}), in convolutions and matrix products",
            "memory": f"parameters {weights}, activations {activations} ({peak} at a time)",
            "input": tables.shapes_text(self.inputs),
        }


def summarise(model: nn.Module, inputs: Inputs = None) -> Summary:
    """Summarise a network from a recorded forward pass in eval mode; nothing is computed, and the model is untouched.

    Args:
        model: any module.
        inputs: a tensor or a shape such as ``(1, 3, 224, 224)``; a sequence of those for a network with several
            inputs; a mapping for inputs by keyword. It may be left out for networks of the zoo: one image is taken.

    Raises:
        UsageError: the model is not a module, or the inputs are missing or neither tensors nor shapes.
        ModelError: the network cannot take the inputs.
    """
    model = uncompiled(model)
    arch = getattr(model, "arch", None)
    if inputs is None:
        if not isinstance(arch, Mapping):
            raise UsageError(
                f"{type(model).__name__} does not declare the size of its images. Give the shape as in "
                "summary(model, (1, 3, 224, 224))."
            )
        inputs = (1, arch["in_channels"], arch["image_size"], arch["image_size"])
    record = trace(model, inputs)
    fields = receptive_fields(record)
    used = {id(value.parameter) for op in record.ops for value in op.inputs if value.parameter is not None}
    distinct = list(model.parameters())
    activations, peak = _activation_memory(record)
    return Summary(
        name=arch["name"] if isinstance(arch, Mapping) else type(model).__name__,
        inputs=shapes(record.inputs),
        outputs=shapes(record.outputs),
        layers=layers_of(model, record, fields),
        stages=stages_of(model, record, fields),
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


_COLUMNS = ("name", "type", "depth", "calls", "inputs", "outputs", "parameters", "trainable", "own_parameters", "macs",
            "own_macs", "shared_with")  # fmt: skip


def _flat(layer: Layer) -> dict[str, Any]:
    row = {name: getattr(layer, name) for name in _COLUMNS}
    row |= {key: " ".join("x".join(map(str, shape[1:])) for shape in row[key]) for key in ("inputs", "outputs")}
    field = layer.field
    axes = {"stride": field.stride, "field": field.size, "centre": field.centre} if field else {}
    row |= {key: _sides(axes.get(key, ())) for key in ("stride", "field", "centre")}
    return row | {"whole_image": field.whole if field else "", "through": " ".join(field.through) if field else ""}


def _sides(sides: Sequence[float | None]) -> str:
    return "x".join("" if side is None else f"{side:g}" for side in sides) if any(s is not None for s in sides) else ""


def _activation_memory(record: Trace) -> tuple[int, int]:
    """Return the bytes of all floating-point tensors that a pass computes, and of those needed at the busiest moment.

    Views and in-place results share memory with the tensors that they came from, and cost nothing.
    """
    weights = {v.storage for op in record.ops for v in op.inputs if v.parameter is not None}
    first_use: dict[int, int] = {v.storage: 0 for v in record.inputs}
    last_use = dict(first_use)
    sizes = {v.storage: _bytes(v) for v in record.inputs}
    for position, op in enumerate(record.ops):
        for value in op.outputs:
            if value.storage not in first_use and value.storage not in weights and value.dtype.is_floating_point:
                if any(value.storage == source.storage for source in op.inputs):
                    continue  # a view of a buffer
                first_use[value.storage], sizes[value.storage] = position, _bytes(value)
        last_use.update((v.storage, position) for v in (*op.inputs, *op.outputs) if v.storage in first_use)
    last_use.update((v.storage, len(record.ops)) for v in record.outputs if v.storage in first_use)
    changes = [0] * (len(record.ops) + 2)
    for storage, start in first_use.items():
        changes[start] += sizes[storage]
        changes[last_use[storage] + 1] -= sizes[storage]
    peak = alive = 0
    for change in changes:
        alive += change
        peak = max(peak, alive)
    inputs = {v.storage for v in record.inputs}
    return sum(count for storage, count in sizes.items() if storage not in inputs), peak


def _bytes(value: Value) -> int:
    return math.prod(value.shape) * value.dtype.itemsize
