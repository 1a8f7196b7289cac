"""Receptive fields: which pixels a position of a feature map depends on.

Araujo, Norris, Sim: Computing receptive fields of convolutional neural networks. Distill 2019.
https://distill.pub/2019/computing-receptive-fields

For every position of every tensor of a recorded pass the first and the last pixel that it sees is carried along, per
axis of the image: a convolution takes the first of its window's firsts and the last of its lasts, a sum the outermost
of its terms', and so on. So branches, dilation, odd sizes and padding need no formula of their own. Positions beyond
the border of a map, which padding adds, are taken as if the image went on there, as the paper does: a field may be
larger than the image.

A tensor that has no positions along an axis any more (after global pooling, or a dense layer over the whole map) sees
all of it. Where such a tensor meets one with positions, as in squeeze-excitation, the local field is carried on, and
the kind of module where it happened is kept beside it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cnnlab.tracing.forward_pass import Op, Trace, Value

Array = npt.NDArray[np.int64]
_FAR = 2**40  # the first pixel, and minus the last one, of a tensor that sees none


@dataclass(frozen=True)
class ReceptiveField:
    """What a position of a feature map sees, in pixels of the input; tuples run over the axes: height, width.

    Attributes:
        size: pixels from the first to the last one seen, padding included; the largest over positions and channels.
        stride: pixels between neighbouring positions; None along an axis without positions.
        centre: where the field of the first position has its centre; 0 is the middle of the first pixel.
        whole: there are no positions left: the tensor is about the whole image.
        through: the kinds of modules by which values of the whole image join the local ones (squeeze-excitation,
            normalisation over the map, attention); empty where the field is all there is.
        dims: the dimension of the tensor that runs along each axis; None where there is none, or where positions share
            one with something else, as the tokens of a transformer do.
    """

    size: tuple[int, ...]
    stride: tuple[float | None, ...]
    centre: tuple[float, ...]
    whole: bool
    through: tuple[str, ...] = ()
    dims: tuple[int | None, ...] = field(default=(), compare=False)


@dataclass(frozen=True, eq=False)
class _Axis:
    """What the elements of a tensor see along one axis of the image.

    ``seen`` holds the first pixel and minus the last one, so that the minimum is the union of both; it is of shape
    ``(2, ...)``, where the rest broadcasts to the tensor's. ``dim`` is the dimension of the tensor that runs along this
    axis of the image, in steps of ``jump`` pixels. ``merged`` says that there is none since a dimension is made of
    several, such as one of tokens, and elements have their place on the image all the same.
    """

    seen: Array
    dim: int | None = None
    jump: Fraction | None = None
    merged: bool = False

    @property
    def blind(self) -> bool:
        """Whether no pixel is seen."""
        return bool((self.seen >= _FAR // 2).all())

    @property
    def placed(self) -> bool:
        """Whether the elements differ in where they are on the image."""
        return self.dim is not None or self.merged


@dataclass(frozen=True, eq=False)
class _Field:
    """What the elements of a tensor of ``shape`` see; ``through`` as in :class:`ReceptiveField`."""

    shape: tuple[int, ...]
    axes: tuple[_Axis, ...]
    through: tuple[str, ...] = ()

    def to(self, shape: Sequence[int], change: Callable[[_Axis], _Axis]) -> _Field:
        return _Field(tuple(shape), tuple(change(axis) for axis in self.axes), self.through)


class _UnknownError(Exception):
    """There is no rule for this operation on a tensor with positions."""


def receptive_fields(trace: Trace) -> dict[Value, ReceptiveField | None]:
    """Return for every tensor of the pass what it sees of the images, None where that cannot be told.

    The images are the first input with three dimensions or more, and every other input of the same height and width.
    Tensors that depend on no pixel are absent.
    """
    image = next((value for value in trace.inputs if len(value.shape) >= 3), None)
    if image is None:
        return {}
    fields: dict[Value, _Field | None] = {
        value: _image(value.shape)
        for value in trace.inputs
        if value.shape[2:] == image.shape[2:] and len(value.shape) >= 3
    }
    for op in trace.ops:
        seeing = [value for value in op.inputs if value in fields]
        if not seeing:
            continue
        if any(fields[value] is None for value in seeing):
            fields.update(dict.fromkeys(op.outputs))
            continue
        known = {value: found for value in seeing if (found := fields[value]) is not None}
        try:
            fields.update(zip(op.outputs, _apply(op, known), strict=False))
        except _UnknownError:
            fields.update(dict.fromkeys(op.outputs))
    return {value: None if found is None else _report(found) for value, found in fields.items()}


def _image(shape: tuple[int, ...]) -> _Field:
    axes = []
    for dim in range(2, len(shape)):
        pixels = np.arange(shape[dim]).reshape([-1 if d == dim else 1 for d in range(len(shape))])
        axes.append(_Axis(np.stack([pixels, -pixels]), dim, Fraction(1)))
    return _Field(shape, tuple(axes))


def _report(found: _Field) -> ReceptiveField | None:
    size, stride, centre = [], [], []
    for axis in found.axes:
        seen = axis.seen
        if axis.dim is not None:
            seen = seen.min(axis=tuple(d + 1 for d in range(len(found.shape)) if d != axis.dim))
        first, last = seen[0].reshape(-1), -seen[1].reshape(-1)
        looking = last >= first
        if not looking.any():
            return None
        size.append(int((last - first)[looking].max()) + 1)
        stride.append(float(axis.jump) if axis.placed and axis.jump is not None else None)
        centre.append(float(first[looking][0] + last[looking][0]) / 2)
    whole = not any(axis.placed for axis in found.axes)
    through = () if whole else found.through
    return ReceptiveField(
        tuple(size), tuple(stride), tuple(centre), whole, through, tuple(axis.dim for axis in found.axes)
    )


# Steps that rules are made of.


def _gather(axis: _Axis, dim: int, index: Array, scale: Fraction, valid: Array | None = None) -> _Axis:
    """Let position i of dimension ``dim`` see what the positions ``index[i]`` saw.

    Along the axis of the image positions may lie outside the map: there the image is taken to go on.
    """
    count = axis.seen.shape[dim + 1]
    if dim != axis.dim and count == 1:
        return axis
    if dim == axis.dim:
        assert axis.jump is not None
        # Where a map was enlarged, fields repeat only every so many positions.
        period = axis.jump.denominator if axis.jump.denominator <= count else 1
        periods = np.where(index < 0, index // period, np.maximum(index - count + period, 0) // period)
        inside = index - periods * period
        step = axis.jump * period
        shift = np.stack(
            [periods * step.numerator // step.denominator, -(periods * step.numerator // step.denominator)]
        )
    else:
        inside = np.clip(index, 0, count - 1)
        shift = np.zeros((2, *index.shape), dtype=np.int64)
        within = (index >= 0) & (index < count)
        valid = within if valid is None else valid & within
    seen = np.take(axis.seen, inside, axis=dim + 1)  # (2, ..., positions, taps, ...)
    seen = seen + shift.reshape([2, *[1] * dim, *index.shape, *[1] * (seen.ndim - dim - 3)])
    if valid is not None:
        seen = np.where(valid.reshape([*[1] * (dim + 1), *index.shape, *[1] * (seen.ndim - dim - 3)]), seen, _FAR)
    seen = seen.min(axis=dim + 2)
    return replace(axis, seen=seen, jump=axis.jump * scale if dim == axis.dim and axis.jump is not None else axis.jump)


def _reduce(axis: _Axis, dims: Iterable[int]) -> _Axis:
    """Let one position see what all positions of the dimensions see; the dimensions stay, of size 1."""
    dims = tuple(dims)
    seen = axis.seen.min(axis=tuple(d + 1 for d in dims), keepdims=True)
    return _settled(_Axis(seen) if axis.dim in dims else replace(axis, seen=seen))


def _remove(axis: _Axis, dims: Iterable[int], ndim: int) -> _Axis:
    """Take away dimensions of size 1."""
    dims = set(dims)
    kept = [d for d in range(ndim) if d not in dims]
    seen = axis.seen.reshape([2, *(axis.seen.shape[d + 1] for d in kept)])
    if axis.dim is None:
        return replace(axis, seen=seen)
    return replace(axis, seen=seen, dim=kept.index(axis.dim)) if axis.dim in kept else _Axis(seen)


def _compress(axis: _Axis) -> _Axis:
    """Write what does not change along a dimension once."""
    seen = axis.seen
    for dim in range(1, seen.ndim):
        if seen.shape[dim] > 1 and dim - 1 != axis.dim:
            once = seen.take([0], axis=dim)
            if (seen == once).all():
                seen = once
    return _settled(replace(axis, seen=seen))


def _settled(axis: _Axis) -> _Axis:
    """Merged positions are gone when everything sees the same."""
    return _Axis(axis.seen) if axis.merged and axis.seen.size == 2 else axis


def _find(axis: _Axis, jump: Fraction | None) -> _Axis:
    """Find the dimension along which the fields run, after dimensions were split or merged."""
    axis = _compress(_Axis(axis.seen))
    along = [dim for dim in range(axis.seen.ndim - 1) if axis.seen.shape[dim + 1] > 1]
    if len(along) == 1:
        steps = set(np.diff(axis.seen[0], axis=along[0]).reshape(-1).tolist())
        if len(steps) == 1 and (step := steps.pop()) > 0:
            return _Axis(axis.seen, along[0], Fraction(step))
    return replace(axis, jump=jump, merged=True) if along else axis


def _union(fields: Sequence[_Field], shape: Sequence[int], op: Op) -> _Field:
    """What is seen by something made elementwise, with broadcasting, from several tensors."""
    through = [name for found in fields for name in found.through]
    axes = []
    for several in zip(*(found.axes for found in fields), strict=True):
        aligned = []
        for axis in several:
            more = len(shape) - (axis.seen.ndim - 1)
            seen = axis.seen.reshape([2, *[1] * more, *axis.seen.shape[1:]])
            dim = None if axis.dim is None else axis.dim + more
            if dim is not None and seen.shape[dim + 1] == 1 and shape[dim] > 1:
                dim = None  # one value for all positions
            aligned.append(_Axis(seen) if dim is None and axis.dim is not None else replace(axis, seen=seen, dim=dim))
        placed = [axis for axis in aligned if axis.placed]
        if placed and any(not axis.placed and not axis.blind for axis in aligned):
            through.append(type(op.call.module).__name__)
        used = placed or aligned
        seen = used[0].seen
        for axis in used[1:]:
            seen = np.minimum(seen, axis.seen)
        along = next((axis for axis in used if axis.dim is not None), used[0])
        axes.append(replace(along, seen=seen))
    return _Field(tuple(shape), tuple(axes), tuple(dict.fromkeys(through)))


# Rules: what the outputs of an operation see, given what its inputs see.


def _apply(op: Op, known: dict[Value, _Field]) -> list[_Field]:
    name = op.name.rstrip("_") if op.name.endswith("_") and not op.name.endswith("__") else op.name
    arguments = op.arguments
    rule = _RULES.get(name)
    if rule is not None:
        return rule(op, arguments, known)
    if torch.Tag.pointwise in getattr(op.func, "tags", ()):
        return _elementwise(op, arguments, known)
    fields = [known[value] for value in op.inputs if value in known]
    if any(axis.placed for found in fields for axis in found.axes):
        raise _UnknownError(name)
    # Whatever it does: nothing in it has a place on the image.
    whole = _union([found.to((), lambda a: _Axis(a.seen.reshape(2, -1).min(axis=1))) for found in fields], (), op)
    return [
        _Field(v.shape, tuple(_Axis(a.seen.reshape([2, *[1] * len(v.shape)])) for a in whole.axes), whole.through)
        for v in op.outputs
    ]


def _elementwise(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    return [_union([known[value] for value in op.inputs if value in known], op.outputs[0].shape, op)]


def _copy(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    source = known.get(arguments["src"])
    return [] if source is None else [_union([source], op.outputs[0].shape, op)]


def _constant(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    return []


def _first(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    """As the first input: what the others are does not matter."""
    return [next(known[value] for value in op.inputs if value in known)]


def _write(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    """A tensor after something was written into a view of it; which part is not recorded, so: into all of it."""
    base, view = op.inputs
    if len(base.shape) != len(view.shape):
        raise _UnknownError("write")
    parts = [known[base]] if base in known else []
    if view in known:
        differ = [d for d, (a, b) in enumerate(zip(base.shape, view.shape, strict=True)) if a != b]
        if any(axis.seen.shape[d + 1] > 1 for axis in known[view].axes for d in differ):
            raise _UnknownError("write")
        parts.append(known[view].to(base.shape, lambda a: _reduce(a, differ) if differ else a))
    return [_union(parts, base.shape, op)]


def _several(value: Any, count: int) -> list[Any]:
    value = list(value) if isinstance(value, Sequence) else [value]
    return value * count if len(value) == 1 else value


def _convolution(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    found, out = _of(arguments["input"], known), op.outputs[0].shape
    weight, groups = arguments["weight"].shape, arguments["groups"]
    count = len(weight) - 2
    channel = len(out) - count - 1
    settings = zip(
        *(_several(arguments[key], count) for key in ("stride", "padding", "dilation")), weight[2:], strict=True
    )

    axes = list(found.axes)
    for dim, (stride, padding, dilation, taps) in enumerate(settings, start=channel + 1):
        tap = np.arange(taps) * dilation - padding
        if arguments["transposed"]:
            reached = np.arange(out[dim])[:, None] - tap
            index, valid, scale = reached // stride, reached % stride == 0, Fraction(1, stride)
        else:
            index, valid, scale = np.arange(out[dim])[:, None] * stride + tap, None, Fraction(stride)
        axes = [_gather(axis, dim, index, scale, valid) for axis in axes]
    return [_Field(out, tuple(_mix_channels(axis, channel, groups, out[channel]) for axis in axes), found.through)]


def _mix_channels(axis: _Axis, dim: int, groups: int, channels: int) -> _Axis:
    shape = axis.seen.shape
    if shape[dim + 1] == 1:
        return axis
    per_group = axis.seen.reshape([*shape[: dim + 1], groups, -1, *shape[dim + 2 :]]).min(axis=dim + 2)
    seen = per_group if groups == 1 else np.repeat(per_group, channels // groups, axis=dim + 1)
    return replace(axis, seen=seen)


def _pool(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    found, out = _of(arguments["self"], known), op.outputs[0].shape
    count = int(op.name.split("pool")[1][0])
    kernel = _several(arguments["kernel_size"], count)
    strides = _several(arguments["stride"] or kernel, count)
    paddings = _several(arguments["padding"], count)
    dilations = _several(arguments.get("dilation", 1), count)
    axes = list(found.axes)
    for i, dim in enumerate(range(len(out) - count, len(out))):
        index = np.arange(out[dim])[:, None] * strides[i] + np.arange(kernel[i]) * dilations[i] - paddings[i]
        axes = [_gather(axis, dim, index, Fraction(strides[i])) for axis in axes]
    return [_Field(out, tuple(axes), found.through)] * len(op.outputs)


def _adaptive_pool(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    found, out = _of(arguments["self"], known), op.outputs[0].shape
    axes = list(found.axes)
    for dim in range(len(out) - int(op.name.split("pool")[1][0]), len(out)):
        size, count = found.shape[dim], out[dim]
        if count == 1:
            axes = [_reduce(axis, [dim]) for axis in axes]
            continue
        bins = [range(i * size // count, -((i + 1) * size // -count)) for i in range(count)]
        longest = max(map(len, bins))
        index = np.array([[b[min(tap, len(b) - 1)] for tap in range(longest)] for b in bins])
        axes = [_gather(axis, dim, index, Fraction(size, count)) for axis in axes]
    return [_Field(out, tuple(axes), found.through)] * len(op.outputs)


def _upsample(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    found, out = _of(arguments.get("input", arguments.get("self")), known), op.outputs[0].shape
    if op.name.endswith("_aa"):
        raise _UnknownError(op.name)
    count = len(out) - 2
    scales = arguments.get("scale_factors") or [
        v for key, v in arguments.items() if key == "scales" or key.startswith("scales_")
    ]
    axes = list(found.axes)
    for i, dim in enumerate(range(2, len(out))):
        size = found.shape[dim]
        if size == 1:
            axes = [_reduce(axis, [dim]) for axis in axes]
            continue
        given = scales[i] if len(scales) == count else None
        ratio = Fraction(size, out[dim]) if given is None else 1 / Fraction(given).limit_denominator(1000)
        index = np.array([_sources(op.name, i, ratio, size, out[dim], arguments) for i in range(out[dim])])
        axes = [_gather(axis, dim, index, ratio) for axis in axes]
    return [_Field(out, tuple(axes), found.through)]


def _sources(name: str, i: int, ratio: Fraction, size: int, out: int, arguments: dict[str, Any]) -> list[int]:
    """Return which positions of a row of ``size`` the interpolated position ``i`` is made from."""
    if "nearest" in name:
        place = ratio * i if "exact" not in name else ratio * (i + Fraction(1, 2))
        return [min(math.floor(place), size - 1)]
    if arguments["align_corners"]:
        place = Fraction(i * (size - 1), max(out - 1, 1))
    else:
        place = ratio * (i + Fraction(1, 2)) - Fraction(1, 2)
    cubic = "cubic" in name
    place = place if cubic else max(place, Fraction(0))
    below = math.floor(place)
    exact = place == below
    taps = [below] * 4 if exact else range(below - 1, below + 3) if cubic else [below, below + 1] * 2
    return [min(max(tap, 0), size - 1) for tap in taps]


def _pad(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    found, out = _of(arguments["self"], known), op.outputs[0].shape
    padding = arguments["pad" if "pad" in arguments else "padding"]
    axes = list(found.axes)
    for i, before in enumerate(padding[::2]):
        dim = len(out) - 1 - i
        if before or padding[2 * i + 1]:
            axes = [_gather(axis, dim, np.arange(out[dim])[:, None] - before, Fraction(1)) for axis in axes]
    return [_Field(out, tuple(axes), found.through)]


def _cut(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    """``slice``, ``narrow``, ``split``, ``split_with_sizes``, ``select``, ``unbind``: parts along one dimension."""
    found = _of(arguments["self"], known)
    dim = arguments["dim"] % len(found.shape)
    removed = op.name in ("select", "unbind")
    start, step = 0, 1
    if op.name == "slice":
        start = min(max((s := arguments["start"] or 0) + (found.shape[dim] if s < 0 else 0), 0), found.shape[dim])
        step = arguments["step"]
    elif op.name == "select":
        start = arguments["index"] % found.shape[dim]
    fields = []
    for out in op.outputs:
        count = 1 if removed else out.shape[dim]
        index = (start + np.arange(count) * step)[:, None]
        start += count if op.name != "slice" else 0
        axes = [_gather(axis, dim, index, Fraction(step)) for axis in found.axes]
        if removed:
            axes = [_remove(axis, [dim], len(found.shape)) for axis in axes]
        fields.append(_Field(out.shape, tuple(axes), found.through))
    return fields


def _join(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    """``cat`` and ``stack``; parts that see nothing count as such, parts about the whole image as in a sum."""
    values, out = arguments["tensors"], op.outputs[0].shape
    dim = arguments["dim"] % len(out)
    if op.name == "stack":
        known = {v: f.to((*f.shape[:dim], 1, *f.shape[dim:]), lambda a: _insert(a, dim)) for v, f in known.items()}
    values = [value for value in values if value.shape != (0,)]
    through = [name for found in known.values() for name in found.through]
    axes = []
    for number in range(len(next(iter(known.values())).axes)):
        several = [known[value].axes[number] if value in known else None for value in values]
        seeing = [axis for axis in several if axis is not None]
        placed = [axis for axis in seeing if axis.placed]
        if placed and any(not axis.placed and not axis.blind for axis in seeing):
            through.append(type(op.call.module).__name__)
        used = placed or seeing
        rest = [max(sizes) for sizes in zip(*(axis.seen.shape[1:] for axis in used), strict=True)]
        same = len(used) == len(several) and all(
            axis.seen.shape[dim + 1] == 1
            and axis.seen.shape == used[0].seen.shape
            and (axis.seen == used[0].seen).all()
            for axis in used
        )
        along = next((axis for axis in used if axis.dim is not None), used[0])
        if same and along.dim != dim:
            axes.append(used[0])
            continue
        pieces = []
        for value, axis in zip(values, several, strict=True):
            size = 1 if op.name == "stack" else value.shape[dim]
            shape = [2, *(size if d == dim else side for d, side in enumerate(rest))]
            sees = axis is not None and any(axis is other for other in used)
            pieces.append(np.broadcast_to(axis.seen if sees and axis is not None else np.array(_FAR), shape))
        axes.append(replace(along, seen=np.concatenate(pieces, axis=dim + 1)))
    return [_Field(out, tuple(axes), tuple(dict.fromkeys(through)))]


def _insert(axis: _Axis, dim: int) -> _Axis:
    seen = np.expand_dims(axis.seen, dim + 1)
    return replace(axis, seen=seen, dim=axis.dim + (axis.dim >= dim) if axis.dim is not None else None)


def _permute(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    """``permute``, ``transpose`` and ``t``."""
    found = _of(arguments["self"], known)
    ndim = len(found.shape)
    order = list(range(ndim))
    if op.name == "permute":
        order = [d % ndim for d in arguments["dims"]]
    elif ndim > 1:
        a, b = (arguments.get("dim0", 0) % ndim, arguments.get("dim1", 1) % ndim)
        order[a], order[b] = b, a

    def change(axis: _Axis) -> _Axis:
        seen = axis.seen.transpose([0, *(d + 1 for d in order)])
        return replace(axis, seen=seen, dim=None if axis.dim is None else order.index(axis.dim))

    return [found.to(op.outputs[0].shape, change)]


def _squeeze(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    found, out = _of(arguments["self"], known), op.outputs[0].shape
    dims = _several(arguments["dim"], 1) if "dim" in arguments else list(range(len(found.shape)))
    dims = [d % len(found.shape) for d in dims]
    return [found.to(out, lambda a: _remove(a, [d for d in dims if found.shape[d] == 1], len(found.shape)))]


def _unsqueeze(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    out = op.outputs[0].shape
    return [_of(arguments["self"], known).to(out, lambda a: _insert(a, arguments["dim"] % len(out)))]


def _view(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    found, out = _of(arguments["self"], known), op.outputs[0].shape
    groups = _matched(found.shape, out)

    def change(axis: _Axis) -> _Axis:
        seen_shape, wanted, new_dim, moved = [2], [2], None, False
        for olds, news in groups:
            plain = all(axis.seen.shape[d + 1] == 1 for d in olds)
            seen_shape += [1 if plain else found.shape[d] for d in olds]
            wanted += [1 if plain else out[d] for d in news]
            if axis.dim in olds:
                kept = [d for d in news if out[d] > 1] if found.shape[axis.dim] > 1 else news
                alone = all(d == axis.dim or found.shape[d] == 1 for d in olds) and len(kept) == 1
                new_dim, moved = (kept[0], moved) if alone else (None, len(news) > 0)
            elif not plain and (len(olds), len(news)) != (1, 1):
                moved = True
        seen = np.broadcast_to(axis.seen, seen_shape).reshape(wanted)
        if axis.dim is not None and new_dim is None and not moved:
            return _Axis(seen)
        if moved and axis.placed and new_dim is None:
            return _find(_Axis(seen), axis.jump)
        return replace(axis, seen=seen, dim=new_dim)

    return [found.to(out, change)]


def _matched(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return the smallest groups of neighbouring dimensions of two shapes that have the same number of elements."""
    groups, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        olds, news = [], []
        if j == len(new) or (i < len(old) and old[i] == 1 and new[j] != 1):
            olds.append(i)
        elif i == len(old) or (new[j] == 1 and old[i] != 1):
            news.append(j)
        else:
            olds, news = [i], [j]
            while (a := math.prod(old[d] for d in olds)) != (b := math.prod(new[d] for d in news)):
                if a < b:
                    olds.append(olds[-1] + 1)
                else:
                    news.append(news[-1] + 1)
        groups.append((olds, news))
        i, j = i + len(olds), j + len(news)
    return groups


def _move(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    """Operations that only move elements about: done to the fields themselves."""
    found = _of(arguments["self"], known)
    rest = [argument if not isinstance(argument, Value) else None for argument in op.args[1:]]
    if None in rest:
        raise _UnknownError(op.name)
    fields = []
    for out in op.outputs:
        axes = []
        for axis in found.axes:
            full = torch.from_numpy(np.broadcast_to(axis.seen, (2, *found.shape)).copy())
            seen = np.stack(
                [op.func(full[0], *rest, **op.kwargs).numpy(), op.func(full[1], *rest, **op.kwargs).numpy()]
            )
            new = _find(_Axis(seen), axis.jump) if axis.placed else _compress(_Axis(seen))
            if axis.dim is not None and new.dim is None and len(out.shape) == len(found.shape):
                jump = axis.jump * Fraction(found.shape[axis.dim], out.shape[axis.dim]) if axis.jump else None
                new = replace(new, dim=axis.dim, jump=jump, merged=False)
            axes.append(new)
        fields.append(_Field(out.shape, tuple(axes), found.through))
    return fields


def _dims(arguments: dict[str, Any], ndim: int) -> list[int]:
    dims = arguments.get("dim")
    if dims is None or dims == []:
        return list(range(ndim))
    return [d % ndim for d in _several(dims, 1)]


def _reduction(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    found, out = _of(arguments["self"], known), op.outputs[0].shape
    dims = _dims(arguments, len(found.shape))
    reduced = found.to(out, lambda a: _reduce(a, dims))
    if len(out) < len(found.shape):
        reduced = reduced.to(out, lambda a: _remove(a, dims, len(found.shape)))
    return [reduced] * len(op.outputs)


def _softmax(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    found = _of(arguments["self"], known)
    return _with_statistics(op, found, _dims(arguments, len(found.shape)))


def _normalise(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    found = _of(arguments["input"], known)
    ndim = len(found.shape)
    if "layer_norm" in op.name:
        return _with_statistics(op, found, range(ndim - len(arguments["normalized_shape"]), ndim))
    if "group_norm" in op.name:
        return _with_statistics(op, found, range(1, ndim))
    if arguments.get("training", "no_stats" in str(op.func)):
        return _with_statistics(op, found, [d for d in range(ndim) if d != 1])
    return [found]


def _with_statistics(op: Op, found: _Field, dims: Iterable[int]) -> list[_Field]:
    """Elements that were changed by something computed over ``dims``."""
    dims = list(dims)
    statistics = found.to(found.shape, lambda a: _compress(_reduce(a, dims)))
    return [_union([found, statistics], found.shape, op)]


def _product(op: Op, arguments: dict[str, Any], known: dict[Value, _Field]) -> list[_Field]:
    """Products of matrices: ``mm``, ``bmm`` and the ones with something added."""
    left, right = (arguments["mat1"], arguments["mat2"]) if "mat1" in arguments else (None, None)
    if left is None:
        left, right = (arguments.get("batch1", arguments["self"]), arguments.get("batch2", arguments.get("mat2")))
    terms = []
    if left in known:
        terms.append(known[left].to(known[left].shape, lambda a: _reduce(a, [len(left.shape) - 1])))
    if right in known:
        terms.append(known[right].to(known[right].shape, lambda a: _reduce(a, [len(right.shape) - 2])))
    added = arguments["self"]
    if added is not left and added in known:
        terms.append(known[added])
    product = _union(terms, op.outputs[0].shape, op)
    return [product.to(product.shape, lambda a: _compress(a) if a.merged else a)]


def _of(value: Any, known: dict[Value, _Field]) -> _Field:
    if value not in known:
        raise _UnknownError("the image is where a weight was expected")
    return known[value]


Rule = Callable[[Op, dict[str, Any], dict[Value, _Field]], list[_Field]]
_RULES: dict[str, Rule] = dict(
    itertools.chain.from_iterable(
        ((name, rule) for name in names.split())
        for names, rule in (
            ("clone _to_copy detach alias lift_fresh contiguous positive dropout native_dropout", _first),
            ("hardswish _prelu_kernel log_sigmoid log_sigmoid_forward where rsub expand expand_as", _elementwise),
            ("copy", _copy),
            ("fill zero empty_like zeros_like ones_like full_like rand_like randn_like bernoulli", _constant),
            ("new_empty new_zeros new_ones new_full", _constant),
            ("write", _write),
            ("convolution _convolution", _convolution),
            ("max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d", _pool),
            ("_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d", _adaptive_pool),
            ("upsample_nearest1d upsample_nearest2d upsample_nearest3d", _upsample),
            ("_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d", _upsample),
            ("upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d", _upsample),
            ("_upsample_bilinear2d_aa _upsample_bicubic2d_aa", _upsample),
            ("constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d", _pad),
            ("replication_pad1d replication_pad2d replication_pad3d", _pad),
            ("slice narrow split split_with_sizes select unbind", _cut),
            ("cat stack", _join),
            ("permute transpose t", _permute),
            ("squeeze", _squeeze),
            ("unsqueeze", _unsqueeze),
            ("view _unsafe_view reshape _reshape_alias", _view),
            ("flip roll repeat pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle unfold", _move),
            ("mean sum amax amin var std var_mean std_mean max min prod logsumexp", _reduction),
            ("linalg_vector_norm norm argmax argmin any all", _reduction),
            ("_softmax _safe_softmax _log_softmax cumsum", _softmax),
            ("native_layer_norm native_group_norm native_batch_norm", _normalise),
            ("_native_batch_norm_legit _native_batch_norm_legit_no_training", _normalise),
            ("mm addmm bmm baddbmm", _product),
        )
    )
)
