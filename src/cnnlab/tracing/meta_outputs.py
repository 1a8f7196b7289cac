"""The outputs of common operations on torch's ``meta`` device, without torch's own functions for them.

Most of those are written in Python, and the first one that runs loads torch's compiler and SymPy: two to four seconds
of every program that asks for the layers of a network. The operations of ordinary networks on contiguous tensors are
therefore answered here; for all others, and for arguments that do not fit, torch is asked, which also words the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Outputs = Tensor | tuple[Tensor, ...] | None
"""What an operation returns; None where torch has to be asked."""

ELEMENTWISE = frozenset(
    {"_softmax", "elu", "exp", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "neg", "ones_like"}
    | {"relu", "rsqrt", "sigmoid", "silu", "sqrt", "tanh"}
)
BINARY = frozenset({"add", "div", "mul", "sub"})
ANY_LAYOUT = frozenset({"addmm", "convolution", "mm", "native_layer_norm"})
"""Operations whose output is contiguous whatever the order of the axes of their arguments."""


def meta_output(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Outputs:
    """Return what an operation returns for tensors on the ``meta`` device.

    Args:
        func: the ATen operator.
        args, kwargs: its arguments.

    Returns:
        New tensors of the right shapes, number types and strides, or the first argument where the operation works in
        place; None for an operation or arguments that this module does not know.
    """
    tensors = [leaf for arg in args for leaf in (arg if isinstance(arg, list | tuple) else [arg])]
    tensors = [leaf for leaf in tensors if isinstance(leaf, Tensor)]
    if not tensors or not all(t.is_meta and t.is_floating_point() and _is_dense(t) for t in tensors):
        return None
    if len({tensor.dtype for tensor in tensors}) > 1 or any(kwargs.values()):
        return None
    name = str(func).split(".")[1]
    if name in ELEMENTWISE:
        return _like(tensors[0], tensors[0].shape)
    if name.removesuffix("_") in ELEMENTWISE and len(tensors) == 1:
        return tensors[0]
    if name.removesuffix("_") in BINARY:
        return _binary(name, tensors)
    plain = name in ANY_LAYOUT or all(tensor.is_contiguous() for tensor in tensors)
    return _RULES[name](args) if name in _RULES and plain else None


def _is_dense(tensor: Tensor) -> bool:
    """Return whether the numbers of a tensor fill its memory without gaps, in any order of its axes."""
    order = sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size != 1)
    expected = 1
    for stride, size in order:
        if stride != expected:
            return False
        expected *= size
    return True


def _like(model: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a new tensor with the number type of ``model``, and its order of axes where the shape is the same."""
    if tuple(shape) == tuple(model.shape):
        return torch.empty_strided(model.shape, model.stride(), dtype=model.dtype, device="meta")
    return torch.empty(*shape, dtype=model.dtype, device="meta")


def _binary(name: str, tensors: Sequence[Tensor]) -> Outputs:
    try:
        shape = np.broadcast_shapes(*(tuple(tensor.shape) for tensor in tensors))
    except ValueError:
        return None
    whole = next((tensor for tensor in tensors if tensor.shape == shape), None)
    if name.endswith("_"):
        return tensors[0] if whole is tensors[0] else None
    return None if whole is None else _like(whole, shape)


def _convolution(args: Sequence[Any]) -> Outputs:
    image, weight, _, stride, padding, dilation, transposed, _, groups = args
    if transposed or image.ndim != weight.ndim or image.shape[1] != weight.shape[1] * groups:
        return None
    if not weight.is_contiguous():  # the output is stored as NHWC like the weights
        return None
    sides = [
        (side + 2 * pad - step * (kernel - 1) - 1) // jump + 1
        for side, kernel, pad, step, jump in zip(
            image.shape[2:], weight.shape[2:], padding, dilation, stride, strict=True
        )
    ]
    shape = (image.shape[0], weight.shape[0], *sides)
    return torch.empty(shape, dtype=image.dtype, device="meta") if min(sides) > 0 else None


def _pooled(image: Tensor, args: Sequence[Any], ceil_mode: bool, dilation: Sequence[int]) -> Tensor | None:
    """Return the output of a pooling over windows; None for one with empty sides."""
    if image.ndim != 4:
        return None
    kernel, stride, padding = (_pair(args[i]) if len(args) > i and args[i] else () for i in (1, 2, 3))
    stride, padding = stride or kernel, padding or (0, 0)
    sides = []
    for side, long, jump, pad, step in zip(image.shape[2:], kernel, stride, padding, dilation, strict=True):
        rest = side + 2 * pad - step * (long - 1) - 1
        count = (math.ceil(rest / jump) if ceil_mode else rest // jump) + 1
        if ceil_mode and (count - 1) * jump >= side + pad:  # the last window begins inside the image or its left border
            count -= 1
        sides.append(count)
    return _like(image, (*image.shape[:2], *sides)) if min(sides) > 0 else None


def _pair(value: Sequence[int]) -> tuple[int, int]:
    return (value[0], value[-1])


def _max_pool(args: Sequence[Any]) -> Outputs:
    dilation = _pair(args[4]) if len(args) > 4 else (1, 1)
    out = _pooled(args[0], args, len(args) > 5 and args[5], dilation)
    return None if out is None else (out, torch.empty(out.shape, dtype=torch.int64, device="meta"))


def _avg_pool(args: Sequence[Any]) -> Outputs:
    return _pooled(args[0], args, len(args) > 4 and args[4], (1, 1))


def _adaptive_pool(args: Sequence[Any]) -> Outputs:
    image, sides = args
    return _like(image, (*image.shape[:-2], *sides))


def _addmm(args: Sequence[Any]) -> Outputs:
    bias, left, right = args
    fits = left.ndim == right.ndim == 2 and left.shape[1] == right.shape[0] and bias.shape == right.shape[1:]
    return torch.empty(left.shape[0], right.shape[1], dtype=left.dtype, device="meta") if fits else None


def _mm(args: Sequence[Any]) -> Outputs:
    left, right = args
    fits = left.ndim == right.ndim == 2 and left.shape[1] == right.shape[0]
    return torch.empty(left.shape[0], right.shape[1], dtype=left.dtype, device="meta") if fits else None


def _batch_norm(args: Sequence[Any]) -> Outputs:
    image, *others = args[:5]
    fits = all(one is None or one.shape == image.shape[1:2] for one in others)
    if not fits:
        return None
    statistics = image.shape[1:2]
    return _like(image, image.shape), _like(image, statistics), _like(image, statistics)


def _layer_norm(args: Sequence[Any]) -> Outputs:
    image, sides = args[0], list(args[1])
    axes = image.ndim - len(sides)
    if list(image.shape[axes:]) != sides:
        return None
    statistics = (*image.shape[:axes], *([1] * len(sides)))
    shapes = (image.shape, statistics, statistics)
    return tuple(torch.empty(shape, dtype=image.dtype, device="meta") for shape in shapes)


def _mean(args: Sequence[Any]) -> Outputs:
    image, axes = args[0], (args[1] if len(args) > 1 else None)  # `x.mean()` has no axes
    if not axes or not all(-image.ndim <= axis < image.ndim for axis in axes):
        return None
    keep, removed = len(args) > 2 and args[2], {axis % image.ndim for axis in axes}
    sides = [1 if axis in removed else side for axis, side in enumerate(image.shape)]
    return _like(image, sides if keep else [side for axis, side in enumerate(sides) if axis not in removed])


def _cat(args: Sequence[Any]) -> Outputs:
    parts, axis = args[0], (args[1] if len(args) > 1 else 0)
    if len({part.ndim for part in parts}) > 1 or not -parts[0].ndim <= axis < parts[0].ndim:
        return None
    axis %= parts[0].ndim
    rests = {(*part.shape[:axis], *part.shape[axis + 1 :]) for part in parts}
    if len(rests) > 1:
        return None
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return torch.empty(shape, dtype=parts[0].dtype, device="meta")


_RULES: dict[str, Callable[[Sequence[Any]], Outputs]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _max_pool,
    "avg_pool2d": _avg_pool,
    "_adaptive_avg_pool2d": _adaptive_pool,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "native_layer_norm": _layer_norm,
    "mean": _mean,
    "cat": _cat,
    "addmm": _addmm,
    "mm": _mm,
}
