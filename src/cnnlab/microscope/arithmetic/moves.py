"""Operations that only move numbers about: reshaping, permuting, cutting, joining, padding.

Where a number comes from is found by moving positions instead of numbers: the operation runs once more, on tensors
whose elements are 1, 2, 3, ...; a 0 in the result is a number that the operation adds, such as padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnlab.microscope.arithmetic.axes import Layout, places_of
from cnnlab.microscope.arithmetic.operands import Question, Reply, broadcast_position, constant, number_text, reply_of

_SAME = (
    "clone", "contiguous", "detach", "alias", "lift_fresh", "_to_copy", "to", "dropout", "native_dropout",
    "feature_dropout", "alpha_dropout", "copy",
)  # fmt: skip
_MOVED = (
    "view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten", "permute", "transpose", "t", "movedim",
    "squeeze", "unsqueeze", "expand", "expand_as", "repeat", "tile", "slice", "select", "narrow", "split",
    "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "tensor_split", "chunk", "unsafe_chunk", "unbind",
    "flip", "roll", "rot90", "diagonal", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "native_channel_shuffle", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
    "replication_pad1d", "replication_pad2d", "replication_pad3d", "unfold", "im2col", "as_strided", "cat", "concat",
    "stack", "hstack", "vstack", "index", "_unsafe_index", "index_select", "gather", "take", "masked_fill",
    "where", "tril", "triu", "embedding", "view_as",
)  # fmt: skip
_FILLED = (
    "ones_like", "zeros_like", "full_like", "ones", "zeros", "full", "new_ones", "new_zeros", "new_full",
    "scalar_tensor", "arange", "linspace",
)  # fmt: skip


def move(question: Question) -> Reply | None:
    """Return the arithmetic of a number that an operation copies from one of its arguments."""
    if question.op in _SAME:
        key = next(key for key in ("src", "input", "self") if key in question.arguments)
        return _copied(question, key, broadcast_position(question.argument(key).shape, question.index))
    moved = moved_positions(question.op, question.arguments, question.output)
    if moved is None:
        return None
    position = int(moved[question.index]) - 1
    if position < 0:
        return filled(question)
    for key in tensor_keys(question.arguments):
        size = question.argument(key).numel()
        if position < size:
            return _copied(question, key, position)
        position -= size
    return None


def over_all_steps(question: Question, shape: Sequence[int], positions: Tensor, layout: Layout) -> Reply | None:
    """Return the arithmetic of a number that several operations in a row copy from the output of a node.

    Args:
        question: the question, about the last of the operations.
        shape: shape of the node's output.
        positions: positions in the node's output of the numbers of the last output, -1 for one that was filled in.
        layout: what the dimensions of the node's output mean.
    """
    reply = move(question)
    position = int(positions[question.index])
    if reply is None or position < 0:
        return filled(question)
    places = places_of(shape, position, layout)
    reply["operands"][0]["at"] = [places.tolist()] * 2
    return reply


def _copied(question: Question, key: str, position: int) -> Reply:
    operand = question.operand("number", key, [position])
    sentence = f"This number is copied from {operand['from']}, unchanged: {{value}}."
    return reply_of(question, "choice", sentence, "x", [operand])


def filled(question: Question) -> Reply:
    """Return the arithmetic of a number that an operation fills in."""
    value = question.torch_value
    sentence = f"No number of a node is here: the operation fills in {number_text(value)}."
    return reply_of(question, "choice", sentence, "constant", [constant(value)])


def moved_positions(op: str, arguments: Mapping[str, Any], output: Tensor) -> Tensor | None:
    """Return where the numbers in an output of a moving operation come from; None where that cannot be found out.

    Args:
        op: name of the operation.
        arguments: its arguments by name.
        output: one of its outputs.

    Returns:
        Positions of the shape of ``output``, counted from 1 through all floating-point arguments in their order; 0 for
        a number that the operation adds.
    """
    first = 1
    numbered: dict[str, Any] = dict(arguments)
    sources: list[Tensor] = []
    for name, value in arguments.items():
        tensors = [value] if isinstance(value, Tensor) else value if isinstance(value, list | tuple) else []
        if not any(_counts(tensor) for tensor in tensors):
            continue
        replaced = []
        for tensor in tensors:
            replaced.append(_numbered(tensor, first) if _counts(tensor) else tensor)
            if _counts(tensor):
                sources.append(tensor.detach().reshape(-1))
                first += tensor.numel()
        numbered[name] = replaced[0] if isinstance(value, Tensor) else replaced
    filled = ("self", "other") if op == "where" else ("value",)
    numbered |= {name: 0.0 for name in filled if name in numbered and not isinstance(numbered[name], Tensor)}
    try:
        with torch.no_grad():
            results = getattr(torch.ops.aten, op)(**numbered)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError):
        return None
    if isinstance(results, Tensor):
        return results.long()
    values = torch.cat([output.new_zeros(1), *(source.to(output.dtype) for source in sources)])
    for result in results:  # which of several pieces it is
        if result.shape == output.shape and torch.equal(values[result.long()], output):
            return torch.as_tensor(result.long())
    return None


def tensor_keys(arguments: Mapping[str, Any]) -> list[str]:
    """Return the keys of all arguments that are floating-point tensors, ``name[i]`` for one in a list."""
    keys: list[str] = []
    for name, value in arguments.items():
        if isinstance(value, Tensor) and _counts(value):
            keys.append(name)
        elif isinstance(value, list | tuple):
            keys += [f"{name}[{i}]" for i, tensor in enumerate(value) if _counts(tensor)]
    return keys


def _counts(value: Any) -> bool:
    """Return whether a value is a tensor of numbers; others are masks and indices, which say where to."""
    return isinstance(value, Tensor) and value.is_floating_point()


def _numbered(tensor: Tensor, first: int) -> Tensor:
    """Return a tensor with the numbers first, first + 1, ... and the shape and strides of another."""
    numbers = torch.arange(first, first + tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
    if tensor.numel() < 2 or tensor.is_contiguous() or 0 in tensor.stride():
        return numbers
    strided = torch.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=torch.float64)
    return strided.copy_(numbers)


OPERATIONS = dict.fromkeys([*_SAME, *_MOVED], move) | dict.fromkeys(_FILLED, filled)
