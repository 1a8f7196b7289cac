"""Receptive fields: which pixels a position of a feature map depends on.

Araujo, Norris, Sim: Computing receptive fields of convolutional neural networks. Distill 2019.
https://distill.pub/2019/computing-receptive-fields

For every position of every tensor of a recorded pass the first and the last pixel that it depends on are tracked, per
axis of the image: a convolution takes the first of its window's firsts and the last of its lasts, a sum the outermost
of its terms', and so on (:mod:`cnnlab.tracing.receptive_rules`). So branches, dilation, odd sizes and padding need no
formula of their own. Positions beyond the border of a map, which padding adds, are taken as if the image went on there,
as the paper does: a field may be larger than the image.

A tensor that has no positions along an axis any more (after global pooling, or a dense layer over the whole map)
depends on all of it. Where such a tensor meets one with positions, as in squeeze-excitation, the result keeps the local
field, and the kind of the module that joined the two is recorded with it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from cnnlab.tracing.receptive_axes import Field, UnknownRuleError
from cnnlab.tracing.receptive_rules import apply_rule
from cnnlab.tracing.record import Trace, Value


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a position of a feature map, in pixels of the input; tuples run over height and width.

    Attributes:
        size: pixels from the first to the last one, padding included; the largest over positions and channels.
        stride: pixels between neighbouring positions, negative where they run backwards, as after a flip; None along an
            axis without positions.
        centre: centre of the field of the first position; 0 is the middle of the first pixel.
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
    dims: tuple[int | None, ...] = dataclasses.field(default=(), compare=False)


def receptive_fields(trace: Trace) -> dict[Value, ReceptiveField | None]:
    """Return for every tensor of a recorded pass its receptive field, None where that is unknown.

    The images are the first input with three dimensions or more, and every other input of the same height and width.
    Tensors that depend on no pixel are absent.
    """
    image = next((value for value in trace.inputs if len(value.shape) >= 3), None)
    if image is None:
        return {}
    fields: dict[Value, Field | None] = {
        value: Field.of_image(value.shape)
        for value in trace.inputs
        if value.shape[2:] == image.shape[2:] and len(value.shape) >= 3
    }
    for op in trace.ops:
        in_field = [value for value in op.inputs if value in fields]
        if not in_field:
            continue
        if any(fields[value] is None for value in in_field):
            fields.update(dict.fromkeys(op.outputs))
            continue
        inputs = {value: field for value in in_field if (field := fields[value]) is not None}
        try:
            fields.update(zip(op.outputs, apply_rule(op, inputs), strict=False))
        except UnknownRuleError:
            fields.update(dict.fromkeys(op.outputs))
    return {value: None if field is None else _report(field) for value, field in fields.items()}


def _report(field: Field) -> ReceptiveField | None:
    """Return the receptive field of the positions of a tensor; None for one that depends on no pixel."""
    size, stride, centre = [], [], []
    for axis in field.axes:
        bounds = axis.bounds
        if axis.dim is not None:
            bounds = bounds.min(axis=tuple(d + 1 for d in range(len(field.shape)) if d != axis.dim))
        first, last = bounds[0].reshape(-1), -bounds[1].reshape(-1)
        depends = last >= first
        if not depends.any():
            return None
        size.append(int((last - first)[depends].max()) + 1)
        stride.append(float(axis.jump) if axis.placed and axis.jump is not None else None)
        centre.append(float(first[depends][0] + last[depends][0]) / 2)
    whole = not any(axis.placed for axis in field.axes)
    through = () if whole else field.through
    return ReceptiveField(
        tuple(size), tuple(stride), tuple(centre), whole, through, tuple(axis.dim for axis in field.axes)
    )
