"""The receptive fields of a tensor after an operation that moves its elements, or splits and merges its dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from cnnlab.tracing.receptive_axes import (
    Axis,
    Field,
    Inputs,
    UnknownRuleError,
    compress,
    each,
    field_of,
    find_dim,
    insert,
    remove,
)
from cnnlab.tracing.record import Op, Value


def permute(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field after ``permute``, ``transpose`` or ``t``."""
    field = field_of(op.arguments["self"], inputs)
    ndim = len(field.shape)
    order = list(range(ndim))
    if op.name == "permute":
        order = [d % ndim for d in op.arguments["dims"]]
    elif ndim > 1:
        a, b = (op.arguments.get("dim0", 0) % ndim, op.arguments.get("dim1", 1) % ndim)
        order[a], order[b] = b, a

    def change(axis: Axis) -> Axis:
        bounds = axis.bounds.transpose([0, *(d + 1 for d in order)])
        return replace(axis, bounds=bounds, dim=None if axis.dim is None else order.index(axis.dim))

    return [field.to(op.outputs[0].shape, change)]


def squeeze(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field after ``squeeze``, of all dimensions of size 1 or of some."""
    field, out = field_of(op.arguments["self"], inputs), op.outputs[0].shape
    dims = each(op.arguments["dim"], 1) if "dim" in op.arguments else list(range(len(field.shape)))
    dims = [d % len(field.shape) for d in dims]
    return [field.to(out, lambda a: remove(a, [d for d in dims if field.shape[d] == 1], len(field.shape)))]


def unsqueeze(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field after ``unsqueeze``."""
    out = op.outputs[0].shape
    return [field_of(op.arguments["self"], inputs).to(out, lambda a: insert(a, op.arguments["dim"] % len(out)))]


def view(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field after ``view`` or ``reshape``."""
    field, out = field_of(op.arguments["self"], inputs), op.outputs[0].shape
    groups = _matched(field.shape, out)

    # Dimensions along which the bounds do not change keep the size 1. The dimension along the image stays one where no
    # other dimension is mixed into it; otherwise it is looked for in the reshaped bounds.
    def change(axis: Axis) -> Axis:
        old_shape, new_shape, new_dim, moved = [2], [2], None, False
        for olds, news in groups:
            plain = all(axis.bounds.shape[d + 1] == 1 for d in olds)
            old_shape += [1 if plain else field.shape[d] for d in olds]
            new_shape += [1 if plain else out[d] for d in news]
            if axis.dim in olds:
                longer = [d for d in news if out[d] > 1] if field.shape[axis.dim] > 1 else news
                alone = all(d == axis.dim or field.shape[d] == 1 for d in olds) and len(longer) == 1
                new_dim, moved = (longer[0], moved) if alone else (None, len(news) > 0)
            elif not plain and (len(olds), len(news)) != (1, 1):
                moved = True
        bounds = np.broadcast_to(axis.bounds, old_shape).reshape(new_shape)
        if axis.dim is not None and new_dim is None and not moved:
            return Axis(bounds)
        if moved and axis.placed and new_dim is None:
            return find_dim(Axis(bounds), axis.jump)
        return replace(axis, bounds=bounds, dim=new_dim)

    return [field.to(out, change)]


def _matched(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return the smallest groups of neighbouring dimensions of two shapes that have equally many elements.

    (2, 3, 4) and (6, 4) give ([0, 1], [0]) and ([2], [1]).
    """
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


def flip(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field after ``flip``: along the image the positions then run backwards, which a negative jump says."""
    field = field_of(op.arguments["self"], inputs)
    dims = [d % len(field.shape) for d in op.arguments["dims"]]

    def change(axis: Axis) -> Axis:
        turned = [d for d in dims if axis.bounds.shape[d + 1] > 1]
        if axis.merged and turned:
            raise UnknownRuleError(op.name)
        bounds = np.flip(axis.bounds, tuple(d + 1 for d in turned))
        return replace(axis, bounds=bounds, jump=-axis.jump if axis.jump and axis.dim in turned else axis.jump)

    return [field.to(field.shape, change)]


def move(op: Op, inputs: Inputs) -> list[Field]:
    """Return the field after an operation that only moves elements: the operation is applied to the bounds."""
    field = field_of(op.arguments["self"], inputs)
    rest = [argument if not isinstance(argument, Value) else None for argument in op.args[1:]]
    if None in rest:
        raise UnknownRuleError(op.name)
    fields = []
    for out in op.outputs:
        axes = []
        for axis in field.axes:
            full = torch.from_numpy(np.broadcast_to(axis.bounds, (2, *field.shape)).copy())
            bounds = np.stack(
                [op.func(full[0], *rest, **op.kwargs).numpy(), op.func(full[1], *rest, **op.kwargs).numpy()]
            )
            new = find_dim(Axis(bounds), axis.jump) if axis.placed else compress(Axis(bounds))
            if axis.dim is not None and new.dim is None and len(out.shape) == len(field.shape):
                jump = axis.jump * Fraction(field.shape[axis.dim], out.shape[axis.dim]) if axis.jump else None
                new = replace(new, dim=axis.dim, jump=jump, merged=False)
            axes.append(new)
        fields.append(Field(out.shape, tuple(axes), field.through))
    return fields
