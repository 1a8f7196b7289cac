"""The layers of a network that can be the target layer, and the default one."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.tracing import tables
from cnnlab.tracing.forward_pass import trace
from cnnlab.tracing.hooks import uncompiled
from cnnlab.tracing.layers import Fields, Layer, image_size, layers_of, positions, structure
from cnnlab.tracing.receptive_field import receptive_fields
from cnnlab.tracing.record import Trace, Value


@dataclass(frozen=True, repr=False)
class Layers(Sequence[Layer]):
    """The layers of a network that run, in the order in which their last calls finish; printed as a table.

    Attributes:
        rows: the layers.
        default: the target layer when none is named; None for a network whose layers have no positions on the image.
    """

    rows: tuple[Layer, ...]
    default: Layer | None

    @property
    def spatial(self) -> tuple[Layer, ...]:
        """The layers whose outputs have positions on the image."""
        return tuple(layer for layer in self if layer.spatial)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Layer, ...]: ...
    def __getitem__(self, index: int | slice) -> Layer | tuple[Layer, ...]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return tables.as_text([tables.target_table(self.rows, self.default)])

    def _repr_html_(self) -> str:
        return tables.target_html(self.rows, self.default)


# The layers of a network, by shape and structure, for which a pass is recorded once, and by what is frozen.
_CACHE: weakref.WeakKeyDictionary[nn.Module, dict[object, dict[object, Layers]]] = weakref.WeakKeyDictionary()


def share_layers(model: nn.Module, twin: nn.Module) -> None:
    """Let :func:`list_layers` answer for a copy of a network what it has answered for the network.

    Args:
        model: the network.
        twin: a copy; its weights may have other values.
    """
    _CACHE[twin] = dict(_CACHE.get(uncompiled(model), {}))


def list_layers(model: nn.Module, image: Tensor | Sequence[int]) -> Layers:
    """List every layer that runs, with its output and its receptive field, and mark the default target layer.

    Nothing is computed, and the model stays as it is.

    Args:
        model: any module that takes images.
        image: an image (C, H, W) or (1, C, H, W) as the model takes it, or such a shape.

    Raises:
        UsageError: ``image`` is neither an image nor a shape.
        ModelError: the model cannot take the image.
    """
    model = uncompiled(model)
    shape = _image_shape(image)
    by_frozen = _CACHE.setdefault(model, {}).setdefault((shape, structure(model)), {})
    key = tuple(parameter.requires_grad for parameter in model.parameters())
    if key not in by_frozen:
        by_frozen[key] = _recounted(model, next(iter(by_frozen.values()))) if by_frozen else _recorded(model, shape)
    return by_frozen[key]


def _recorded(model: nn.Module, shape: tuple[int, ...]) -> Layers:
    """Return the layers of a network from a pass for images of this shape."""
    record = trace(model, shape)
    fields = receptive_fields(record)
    rows = [layer for layer in layers_of(model, record, fields) if layer.name and layer.outputs]
    rows.sort(key=lambda layer: layer.rank or 0)
    return Layers(tuple(rows), _default(record, rows, fields))


def _recounted(model: nn.Module, layers: Layers) -> Layers:
    """Return the layers of a network with the numbers of parameters that are trainable now."""
    modules = dict(model.named_modules(remove_duplicate=False))
    trainable = [sum(p.numel() for p in modules[row.name].parameters() if p.requires_grad) for row in layers]
    rows = tuple(replace(row, trainable=count) for row, count in zip(layers, trainable, strict=True))
    return Layers(rows, None if layers.default is None else rows[layers.index(layers.default)])


def _image_shape(image: Tensor | Sequence[int]) -> tuple[int, ...]:
    size = getattr(image, "shape", image)
    shape = tuple(size) if isinstance(size, Sequence) else ()
    if len(shape) not in (3, 4) or not all(isinstance(side, int) and side > 0 for side in shape):
        raise UsageError(f"Give an image (C, H, W) or its shape, not {size!r}.")
    return 1, *shape[-3:]


def _default(record: Trace, rows: Sequence[Layer], fields: Fields) -> Layer | None:
    """Return the layer behind the last convolution, before the map is pooled and before the classifier.

    A classifier that is itself a convolution over a map is passed over: after the ReLU behind it the map of a class
    whose scores are negative everywhere is zero.
    """
    last = {call.path: call for call in record.calls}
    weighted = [
        position
        for position, op in enumerate(record.ops)
        if op.macs and any(value.parameter is not None for value in op.inputs)
    ]
    # Where the logits come from the class token, the other tokens have no effect after the last attention.
    attention = max((i for i, op in enumerate(record.ops) if op.macs and i not in weighted), default=0)
    for end in (weighted[-1] if weighted else len(record.ops), len(record.ops)):
        candidates = [
            layer
            for layer in rows
            if layer.spatial and last[layer.name].end <= (attention if layer.has_extra_tokens else end)
        ]
        if candidates:
            grid = _last_grid(record, weighted, end, fields)
            candidates = [layer for layer in candidates if layer.grid == grid] or candidates
            outputs = {layer.name: last[layer.name].outputs[0] for layer in candidates}
            # Not one branch of several: the logits depend on the image through this layer alone.
            bottlenecks = (value for value in reversed(outputs.values()) if all_goes_through(record, value))
            value = next(bottlenecks, outputs[candidates[-1].name])
            # Of several layers with this output the one that runs once and has the shortest name.
            same = [layer for layer in candidates if outputs[layer.name] is value]
            return min(same, key=lambda layer: (layer.calls > 1, layer.name.count("."), len(layer.name)))
    return None


def all_goes_through(record: Trace, value: Value) -> bool:
    """Return whether every path from the image to the outputs passes through a tensor."""
    reached = set(record.inputs) - {value}
    for op in record.ops:
        if not reached.isdisjoint(op.inputs):
            reached.update(output for output in op.outputs if output is not value)
    return reached.isdisjoint(record.outputs)


def _last_grid(record: Trace, weighted: Sequence[int], end: int, fields: Fields) -> tuple[int, int] | None:
    """Return the grid, (h, w), of the output of the last convolution before the operation ``end``; None without one."""
    for position in reversed(weighted):
        op = record.ops[position]
        if position < end and op.outputs:
            # A dense layer flattens the positions; the output of its module has them as a map again.
            for value in (op.outputs[0], *op.call.outputs[:1]):
                layout, grid = positions(value, fields, image_size(record))
                if layout is not None:
                    return grid
    return None
