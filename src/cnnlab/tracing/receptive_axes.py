"""The arithmetic of receptive fields: the first and the last pixel that an element depends on, per axis of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.tracing.record import Op, Value

Array = npt.NDArray[np.int64]
FAR = 2**40  # the first pixel, and minus the last one, of an element that depends on none


@dataclass(frozen=True, eq=False)
class Axis:
    """The receptive fields of the elements of a tensor along one axis of the image.

    Attributes:
        bounds: the first pixel that an element depends on, and minus the last one, so that the minimum of two bounds
            is the union of two fields; of shape ``(2, ...)``, where the rest broadcasts to the tensor's shape.
        dim: the dimension of the tensor that runs along this axis of the image; None without one.
        jump: pixels between neighbouring elements along ``dim``; negative where they run backwards, as after a flip.
        merged: whether positions share a dimension with something else, as those of tokens do; ``dim`` is then None.
    """

    bounds: Array
    dim: int | None = None
    jump: Fraction | None = None
    merged: bool = False

    @property
    def blind(self) -> bool:
        """Whether the elements depend on no pixel."""
        return bool((self.bounds >= FAR // 2).all())

    @property
    def placed(self) -> bool:
        """Whether the elements have different positions on the image."""
        return self.dim is not None or self.merged


@dataclass(frozen=True, eq=False)
class Field:
    """The receptive fields of the elements of a tensor, along each axis of the image.

    Attributes:
        shape: shape of the tensor.
        axes: the fields along height and width, or along each of the axes that the image has.
        through: classes of the modules by which values of the whole image join the local ones.
    """

    shape: tuple[int, ...]
    axes: tuple[Axis, ...]
    through: tuple[str, ...] = ()

    @classmethod
    def of_image(cls, shape: tuple[int, ...]) -> Field:
        """Return the field of an image (N, C, ...): each pixel depends on itself."""
        axes = []
        for dim in range(2, len(shape)):
            pixels = np.arange(shape[dim]).reshape([-1 if d == dim else 1 for d in range(len(shape))])
            axes.append(Axis(np.stack([pixels, -pixels]), dim, Fraction(1)))
        return cls(shape, tuple(axes))

    def to(self, shape: Sequence[int], change: Callable[[Axis], Axis]) -> Field:
        """Return the field of a tensor of another shape, with each axis changed."""
        return Field(tuple(shape), tuple(change(axis) for axis in self.axes), self.through)

    def gather(self, dim: int, index: Array, scale: Fraction, valid: Array | None = None) -> Field:
        """Return the field after :func:`gather` along a dimension, which then has ``len(index)`` positions."""
        shape = (*self.shape[:dim], len(index), *self.shape[dim + 1 :])
        return self.to(shape, lambda axis: gather(axis, dim, index, scale, valid))


def gather(axis: Axis, dim: int, index: Array, scale: Fraction, valid: Array | None = None) -> Axis:
    """Return the axis after an operation that makes each position of a dimension from several positions of it.

    The field of the new position is the union of theirs. Along the axis of the image, positions may lie outside the
    map, in its padding: there the image is taken to go on.

    Args:
        axis: receptive fields of the elements along one axis of the image.
        dim: the dimension of the tensor.
        index: the old positions that new position i is made from, in row i, (new positions, taps).
        scale: number of old positions from one new position to the next.
        valid: whether each entry of ``index`` counts, of the same shape; all count when ``None``.
    """
    count = axis.bounds.shape[dim + 1]
    if dim != axis.dim and count == 1:
        return axis
    if dim == axis.dim:
        assert axis.jump is not None
        # Where a map was enlarged, fields repeat only after several positions.
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
    bounds = np.take(axis.bounds, inside, axis=dim + 1)  # (2, ..., positions, taps, ...)
    bounds = bounds + shift.reshape([2, *[1] * dim, *index.shape, *[1] * (bounds.ndim - dim - 3)])
    if valid is not None:
        bounds = np.where(valid.reshape([*[1] * (dim + 1), *index.shape, *[1] * (bounds.ndim - dim - 3)]), bounds, FAR)
    bounds = bounds.min(axis=dim + 2)
    return replace(
        axis, bounds=bounds, jump=axis.jump * scale if dim == axis.dim and axis.jump is not None else axis.jump
    )


def reduce(axis: Axis, dims: Iterable[int]) -> Axis:
    """Return the axis after a reduction over dimensions, which keep the size 1: the union over all their positions."""
    dims = tuple(dims)
    bounds = axis.bounds.min(axis=tuple(d + 1 for d in dims), keepdims=True)
    return _without_positions_if_same(Axis(bounds) if axis.dim in dims else replace(axis, bounds=bounds))


def remove(axis: Axis, dims: Iterable[int], ndim: int) -> Axis:
    """Return the axis of a tensor with ``ndim`` dimensions after some of size 1 were removed."""
    dims = set(dims)
    rest = [d for d in range(ndim) if d not in dims]
    bounds = axis.bounds.reshape([2, *(axis.bounds.shape[d + 1] for d in rest)])
    if axis.dim is None:
        return replace(axis, bounds=bounds)
    return replace(axis, bounds=bounds, dim=rest.index(axis.dim)) if axis.dim in rest else Axis(bounds)


def compress(axis: Axis) -> Axis:
    """Return the axis with bounds that are the same along a dimension stored once, as size 1."""
    bounds = axis.bounds
    for dim in range(1, bounds.ndim):
        if bounds.shape[dim] > 1 and dim - 1 != axis.dim:
            once = bounds.take([0], axis=dim)
            if (bounds == once).all():
                bounds = once
    return _without_positions_if_same(replace(axis, bounds=bounds))


def _without_positions_if_same(axis: Axis) -> Axis:
    """Return the axis, without positions where all elements have the same field."""
    return Axis(axis.bounds) if axis.merged and axis.bounds.size == 2 else axis


def find_dim(axis: Axis, jump: Fraction | None) -> Axis:
    """Return the axis after a reshape, with the dimension along which its fields move by equal steps, as ``jump`` does.

    Args:
        axis: the axis, whose ``dim`` is no longer known.
        jump: pixels between neighbouring positions where several dimensions, or unequal steps, share the positions.
    """
    axis = compress(Axis(axis.bounds))
    along = [dim for dim in range(axis.bounds.ndim - 1) if axis.bounds.shape[dim + 1] > 1]
    if len(along) == 1:
        steps = set(np.diff(axis.bounds[0], axis=along[0]).reshape(-1).tolist())
        if len(steps) == 1 and (step := steps.pop()) * (jump or 1) > 0:
            return Axis(axis.bounds, along[0], Fraction(step))
    return replace(axis, jump=jump, merged=True) if along else axis


def union(fields: Sequence[Field], shape: Sequence[int], op: Op) -> Field:
    """Return the field of a tensor that an operation computes elementwise, with broadcasting, from several tensors."""
    through = [name for field in fields for name in field.through]
    axes = []
    for several in zip(*(field.axes for field in fields), strict=True):
        aligned = []
        for axis in several:
            more = len(shape) - (axis.bounds.ndim - 1)
            bounds = axis.bounds.reshape([2, *[1] * more, *axis.bounds.shape[1:]])
            dim = None if axis.dim is None else axis.dim + more
            if dim is not None and bounds.shape[dim + 1] == 1 and shape[dim] > 1:
                dim = None  # one value for all positions
            aligned.append(
                Axis(bounds) if dim is None and axis.dim is not None else replace(axis, bounds=bounds, dim=dim)
            )
        placed = [axis for axis in aligned if axis.placed]
        check_directions(placed)
        if placed and any(not axis.placed and not axis.blind for axis in aligned):
            through.append(type(op.call.module).__name__)
        used = placed or aligned
        bounds = used[0].bounds
        for axis in used[1:]:
            bounds = np.minimum(bounds, axis.bounds)
        along = next((axis for axis in used if axis.dim is not None), used[0])
        axes.append(replace(along, bounds=bounds))
    return Field(tuple(shape), tuple(axes), tuple(dict.fromkeys(through)))


def check_directions(axes: Sequence[Axis]) -> None:
    """Refuse to join tensors whose positions run in opposite directions: they have no even steps together.

    Raises:
        UnknownRuleError: the positions of some run backwards and those of others do not.
    """
    if len({axis.jump > 0 for axis in axes if axis.jump}) > 1:
        raise UnknownRuleError("positions in opposite directions")


def insert(axis: Axis, dim: int) -> Axis:
    """Return the axis after a dimension of size 1 was inserted before dimension ``dim``."""
    bounds = np.expand_dims(axis.bounds, dim + 1)
    return replace(axis, bounds=bounds, dim=axis.dim + (axis.dim >= dim) if axis.dim is not None else None)


Inputs = Mapping[Value, Field]
"""The receptive fields of those inputs of an operation that depend on an image."""


class UnknownRuleError(Exception):
    """There is no rule for this operation on a tensor with positions."""


def field_of(value: Any, inputs: Inputs) -> Field:
    """Return the field of the input that an operation works on.

    Raises:
        UnknownRuleError: that input depends on no image, so the image stands where a weight was expected.
    """
    if value not in inputs:
        raise UnknownRuleError("the image is where a weight was expected")
    return inputs[value]


def each(value: Any, count: int) -> list[Any]:
    """Return a setting for each of ``count`` axes, which may be given once for all."""
    value = list(value) if isinstance(value, Sequence) else [value]
    return value * count if len(value) == 1 else value
