"""The receptive fields of an operation's outputs, from those of its inputs: a rule per kind of operation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from cnnlab.tracing import receptive_reshaping as reshaping
from cnnlab.tracing.receptive_axes import (
    FAR,
    Axis,
    Field,
    Inputs,
    UnknownRuleError,
    check_directions,
    compress,
    each,
    field_of,
    reduce,
    remove,
    union,
)
from cnnlab.tracing.record import Op

Rule = Callable[[Op, Inputs], list[Field]]


def apply_rule(op: Op, inputs: Inputs) -> list[Field]:
    """Return the receptive fields of the outputs of an operation; none where they depend on no pixel.

    Args:
        op: the operation.
        inputs: the receptive fields of those of its inputs that depend on an image.

    Raises:
        UnknownRuleError: there is no rule for this operation on a tensor with positions.
    """
    name = op.name.rstrip("_") if op.name.endswith("_") and not op.name.endswith("__") else op.name
    rule = RULES.get(name)
    if rule is not None:
        return rule(op, inputs)
    if torch.Tag.pointwise in getattr(op.func, "tags", ()):
        return _elementwise(op, inputs)
    fields = [inputs[value] for value in op.inputs if value in inputs]
    if any(axis.placed for field in fields for axis in field.axes):
        raise UnknownRuleError(name)
    # Whatever the operation does: no element has a position on the image.
    whole = union([field.to((), lambda a: Axis(a.bounds.reshape(2, -1).min(axis=1))) for field in fields], (), op)
    return [
        Field(v.shape, tuple(Axis(a.bounds.reshape([2, *[1] * len(v.shape)])) for a in whole.axes), whole.through)
        for v in op.outputs
    ]


def _elementwise(op: Op, inputs: Inputs) -> list[Field]:
    return [union([inputs[value] for value in op.inputs if value in inputs], op.outputs[0].shape, op)]


def _copy(op: Op, inputs: Inputs) -> list[Field]:
    source = inputs.get(op.arguments["src"])
    return [] if source is None else [union([source], op.outputs[0].shape, op)]


def _constant(op: Op, inputs: Inputs) -> list[Field]:
    """Return no field: the output does not depend on the image."""
    return []


def _first(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field of the first input, which the output shares."""
    return [next(inputs[value] for value in op.inputs if value in inputs)]


def _write(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field of a tensor after a write to a view of it: the union, since the view's place is unknown."""
    base, view = op.inputs
    if len(base.shape) != len(view.shape):
        raise UnknownRuleError("write")
    parts = [inputs[base]] if base in inputs else []
    if view in inputs:
        differ = [d for d, (a, b) in enumerate(zip(base.shape, view.shape, strict=True)) if a != b]
        if any(axis.bounds.shape[d + 1] > 1 for axis in inputs[view].axes for d in differ):
            raise UnknownRuleError("write")
        parts.append(inputs[view].to(base.shape, lambda a: reduce(a, differ) if differ else a))
    return [union(parts, base.shape, op)]


def _convolution(op: Op, inputs: Inputs) -> list[Field]:
    field, out = field_of(op.arguments["input"], inputs), op.outputs[0].shape
    weight, groups = op.arguments["weight"].shape, op.arguments["groups"]
    count = len(weight) - 2
    channel = len(out) - count - 1
    settings = zip(
        *(each(op.arguments[key], count) for key in ("stride", "padding", "dilation")), weight[2:], strict=True
    )

    for dim, (stride, padding, dilation, taps) in enumerate(settings, start=channel + 1):
        tap = np.arange(taps) * dilation - padding
        if op.arguments["transposed"]:
            reached = np.arange(out[dim])[:, None] - tap
            index, valid, scale = reached // stride, reached % stride == 0, Fraction(1, stride)
        else:
            index, valid, scale = np.arange(out[dim])[:, None] * stride + tap, None, Fraction(stride)
        field = field.gather(dim, index, scale, valid)
    return [field.to(out, lambda axis: _mix_channels(axis, channel, groups, out[channel]))]


def _mix_channels(axis: Axis, dim: int, groups: int, channels: int) -> Axis:
    """Return the axis after each group of channels, in dimension ``dim``, was reduced to its share of the new ones."""
    shape = axis.bounds.shape
    if shape[dim + 1] == 1:
        return axis
    per_group = axis.bounds.reshape([*shape[: dim + 1], groups, -1, *shape[dim + 2 :]]).min(axis=dim + 2)
    bounds = per_group if groups == 1 else np.repeat(per_group, channels // groups, axis=dim + 1)
    return replace(axis, bounds=bounds)


def _pool(op: Op, inputs: Inputs) -> list[Field]:
    field, out = field_of(op.arguments["self"], inputs), op.outputs[0].shape
    count = int(op.name.split("pool")[1][0])
    kernel = each(op.arguments["kernel_size"], count)
    strides = each(op.arguments["stride"] or kernel, count)
    paddings = each(op.arguments["padding"], count)
    dilations = each(op.arguments.get("dilation", 1), count)
    for i, dim in enumerate(range(len(out) - count, len(out))):
        index = np.arange(out[dim])[:, None] * strides[i] + np.arange(kernel[i]) * dilations[i] - paddings[i]
        field = field.gather(dim, index, Fraction(strides[i]))
    return [field] * len(op.outputs)


def _adaptive_pool(op: Op, inputs: Inputs) -> list[Field]:
    field, out = field_of(op.arguments["self"], inputs), op.outputs[0].shape
    for dim in range(len(out) - int(op.name.split("pool")[1][0]), len(out)):
        size, count = field.shape[dim], out[dim]
        if count == 1:
            field = _reduced(field, dim, 1)
            continue
        bins = [range(i * size // count, -((i + 1) * size // -count)) for i in range(count)]
        longest = max(map(len, bins))
        index = np.array([[b[min(tap, len(b) - 1)] for tap in range(longest)] for b in bins])
        field = field.gather(dim, index, Fraction(size, count))
    return [field] * len(op.outputs)


def _reduced(field: Field, dim: int, count: int) -> Field:
    """Return the field after a reduction of one dimension, whose result is repeated ``count`` times."""
    shape = (*field.shape[:dim], count, *field.shape[dim + 1 :])
    return field.to(shape, lambda axis: reduce(axis, [dim]))


def _upsample(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field after nearest or bilinear interpolation, without aligned corners."""
    field, out = field_of(op.arguments.get("input", op.arguments.get("self")), inputs), op.outputs[0].shape
    if op.arguments.get("align_corners"):
        raise UnknownRuleError(op.name)
    for dim in range(2, len(out)):
        size, ratio = field.shape[dim], Fraction(field.shape[dim], out[dim])
        if size == 1:
            field = _reduced(field, dim, out[dim])
        elif "nearest" in op.name:
            field = field.gather(dim, np.array([[i * size // out[dim]] for i in range(out[dim])]), ratio)
        else:
            centres = [ratio * (i + Fraction(1, 2)) - Fraction(1, 2) for i in range(out[dim])]
            index = np.clip([[math.floor(centre), math.ceil(centre)] for centre in centres], 0, size - 1)
            field = field.gather(dim, index, ratio)
    return [field]


def _pad(op: Op, inputs: Inputs) -> list[Field]:
    field, out = field_of(op.arguments["self"], inputs), op.outputs[0].shape
    padding = op.arguments["pad" if "pad" in op.arguments else "padding"]
    for i, before in enumerate(padding[::2]):  # the last dimension comes first
        dim = len(out) - 1 - i
        if before or padding[2 * i + 1]:
            field = field.gather(dim, np.arange(out[dim])[:, None] - before, Fraction(1))
    return [field]


def _cut(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field of each part that a tensor is cut into along one dimension."""
    field = field_of(op.arguments["self"], inputs)
    dim = op.arguments["dim"] % len(field.shape)
    removed = op.name in ("select", "unbind")
    start, step = 0, 1
    if op.name == "slice":
        start = min(max((s := op.arguments["start"] or 0) + (field.shape[dim] if s < 0 else 0), 0), field.shape[dim])
        step = op.arguments["step"]
    elif op.name == "select":
        start = op.arguments["index"] % field.shape[dim]
    fields = []
    for out in op.outputs:
        count = 1 if removed else out.shape[dim]
        index = (start + np.arange(count) * step)[:, None]
        start += count if op.name != "slice" else 0
        part = field.gather(dim, index, Fraction(step))
        fields.append(part.to(out.shape, lambda axis: remove(axis, [dim], len(field.shape))) if removed else part)
    return fields


def _join(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field of a ``cat``: constant parts have none, parts without positions are treated as in a sum."""
    out = op.outputs[0].shape
    dim = op.arguments["dim"] % len(out)
    values = [value for value in op.arguments["tensors"] if value.shape != (0,)]
    through = [name for field in inputs.values() for name in field.through]
    axes = []
    for number in range(len(next(iter(inputs.values())).axes)):
        parts = [inputs[value].axes[number] if value in inputs else None for value in values]
        dependent = [axis for axis in parts if axis is not None]
        placed = [axis for axis in dependent if axis.placed]
        check_directions(placed)
        if placed and any(not axis.placed and not axis.blind for axis in dependent):
            through.append(type(op.call.module).__name__)
        axes.append(_joined(parts, placed or dependent, dim, [value.shape[dim] for value in values]))
    return [Field(out, tuple(axes), tuple(dict.fromkeys(through)))]


def _joined(parts: Sequence[Axis | None], used: Sequence[Axis], dim: int, sizes: Sequence[int]) -> Axis:
    """Return the axis of parts that were concatenated along ``dim``; those that are not ``used`` depend on nothing."""
    along = next((axis for axis in used if axis.dim is not None), used[0])
    first = used[0].bounds
    alike = all(axis.bounds.shape == first.shape and (axis.bounds == first).all() for axis in used)
    if alike and len(used) == len(parts) and first.shape[dim + 1] == 1 and along.dim != dim:
        return used[0]
    rest = [max(sides) for sides in zip(*(axis.bounds.shape[1:] for axis in used), strict=True)]
    pieces = []
    for axis, size in zip(parts, sizes, strict=True):
        shape = [2, *(size if d == dim else side for d, side in enumerate(rest))]
        depends = axis is not None and any(axis is other for other in used)
        pieces.append(np.broadcast_to(axis.bounds if depends and axis is not None else np.array(FAR), shape))
    return replace(along, bounds=np.concatenate(pieces, axis=dim + 1))


def _dims(op: Op, ndim: int) -> list[int]:
    """Return the dimensions that an operation reduces; all of them when it names none."""
    dims = op.arguments.get("dim")
    if dims is None or dims == []:
        return list(range(ndim))
    return [d % ndim for d in each(dims, 1)]


def _reduction(op: Op, inputs: Inputs) -> list[Field]:
    field, out = field_of(op.arguments["self"], inputs), op.outputs[0].shape
    dims = _dims(op, len(field.shape))
    reduced = field.to(out, lambda a: reduce(a, dims))
    if len(out) < len(field.shape):
        reduced = reduced.to(out, lambda a: remove(a, dims, len(field.shape)))
    return [reduced] * len(op.outputs)


def _softmax(op: Op, inputs: Inputs) -> list[Field]:
    field = field_of(op.arguments["self"], inputs)
    return _with_statistics(op, field, _dims(op, len(field.shape)))


def _normalise(op: Op, inputs: Inputs) -> list[Field]:
    field = field_of(op.arguments["input"], inputs)
    ndim = len(field.shape)
    if "layer_norm" in op.name:
        return _with_statistics(op, field, range(ndim - len(op.arguments["normalized_shape"]), ndim))
    if "group_norm" in op.name:
        return _with_statistics(op, field, range(1, ndim))
    if op.arguments.get("training", "no_stats" in str(op.func)):
        return _with_statistics(op, field, [d for d in range(ndim) if d != 1])
    return [field]


def _with_statistics(op: Op, field: Field, dims: Iterable[int]) -> list[Field]:
    """Return the field of elements that were changed by statistics computed over ``dims``."""
    dims = list(dims)
    statistics = field.to(field.shape, lambda a: compress(reduce(a, dims)))
    return [union([field, statistics], field.shape, op)]


def _product(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field of a matrix product, also with a term added."""
    *added, left, right = op.inputs  # addmm and baddbmm add their first argument
    terms = [inputs[value] for value in added if value in inputs]
    for value, dim in ((left, len(left.shape) - 1), (right, len(right.shape) - 2)):
        if value in inputs:
            terms.append(inputs[value].to(value.shape, lambda a, dim=dim: reduce(a, [dim])))  # type: ignore[misc]
    product = union(terms, op.outputs[0].shape, op)
    return [product.to(product.shape, lambda a: compress(a) if a.merged else a)]


_OPERATIONS: dict[Rule, str] = {
    _first: "clone _to_copy detach alias lift_fresh",
    # torch up to 2.11 does not mark all activation functions as pointwise, above all not those in place.
    _elementwise: "hardswish _prelu_kernel log_sigmoid_forward where rsub expand celu elu gelu hardshrink hardsigmoid "
    "hardtanh leaky_relu mish relu selu sigmoid silu softplus softshrink tanh threshold",
    _copy: "copy",
    _constant: "fill zero empty_like zeros_like ones_like full_like new_empty new_zeros new_ones new_full",
    _write: "write",
    _convolution: "convolution",
    _pool: "max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d",
    _adaptive_pool: "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d",
    _upsample: "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d",
    _pad: "constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d",
    _cut: "slice split split_with_sizes select unbind",
    _join: "cat",
    reshaping.permute: "permute transpose t",
    reshaping.squeeze: "squeeze",
    reshaping.unsqueeze: "unsqueeze",
    reshaping.view: "view _unsafe_view _reshape_alias",
    reshaping.flip: "flip",
    reshaping.move: "roll repeat pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle",
    _reduction: "mean sum amax amin var std var_mean max min linalg_vector_norm",
    _softmax: "_softmax _safe_softmax _log_softmax",
    _normalise: "native_layer_norm native_group_norm _native_batch_norm_legit _native_batch_norm_legit_no_training",
    _product: "mm addmm bmm baddbmm",
}
RULES = {name: rule for rule, names in _OPERATIONS.items() for name in names.split()}
"""Name of an operation of torch's ATen library -> its rule; operations that torch tags as pointwise need no entry."""
