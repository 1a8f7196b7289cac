"""What the arithmetic of one number is made of: the question, operands with the places they come from, the reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.microscope.arithmetic.axes import Layout, places_of
from cnnlab.microscope.arithmetic.recomputing import recompute

Reply = dict[str, Any]
Operand = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """Which number is to be worked out.

    Attributes:
        op: name of the operation in torch's ATen library, without the underscore of in-place operations.
        arguments: arguments of the operation by name, as they were before it ran.
        output: its (first) output.
        index: index of the number in the output.
        sources: names of the nodes and parameters that the arguments come from, by argument; None for one that comes
            from neither, a list for a list of tensors.
        layout: what the dimensions of its tensors mean.
    """

    op: str
    arguments: Mapping[str, Any]
    output: Tensor
    index: tuple[int, ...]
    sources: Mapping[str, Any]
    layout: Layout = Layout.USUAL

    @property
    def torch_value(self) -> float:
        """The number that torch computed."""
        return float(self.output[self.index])

    def argument(self, key: str) -> Tensor:
        """Return an argument that is a tensor; ``key`` is its name, or ``name[i]`` for one in a list."""
        tensor = _entry(self.arguments, key)
        assert isinstance(tensor, Tensor)
        return tensor

    def source(self, key: str) -> str:
        """Return the name of the node or parameter that an argument comes from, or else that of the argument."""
        return _entry(self.sources, key) or key.partition("[")[0]

    def operand(self, name: str, key: str, flat: Any, box: Sequence[Any] | None = None, **numbers: float) -> Operand:
        """Return an operand: some elements of an argument.

        Args:
            name: name of the operand.
            key: name of the argument.
            flat: positions of the elements in the argument in reading order, -1 for zeros that padding adds; an array
                that is brought to three dimensions (C, h, w).
            box: channels, rows and columns of the elements on the argument's map, where they are a grid on it that may
                reach beyond its border.
            numbers: factor or power of the operand.
        """
        tensor = torch.atleast_1d(self.argument(key).detach())
        flat = _as_grid(np.asarray(flat))
        inside = flat >= 0
        # A transposed weight is not copied: only the elements that are needed are.
        index = np.unravel_index(np.where(inside, flat, 0).ravel(), tuple(tensor.shape))
        array = tensor[tuple(map(torch.from_numpy, index))].float().numpy().reshape(flat.shape)
        operand: Operand = {"name": name, "from": self.source(key), "array": np.where(inside, array, 0)}
        operand["array"] = operand["array"].astype(np.float32)
        operand |= self._places(tensor, flat, inside, box)
        if not inside.all():
            operand["mask"] = inside.astype(np.uint8)
        places = operand.pop("places", None)
        if places is not None and places.shape[1] == flat.size and "mask" not in operand:
            # Elements that fill a box of the map in its order, such as a flattened map, have its shape.
            first, last = np.array(operand["at"])
            sides = tuple(last - first + 1)
            if np.prod(sides) == flat.size:
                order = np.ravel_multi_index(tuple(places - first[:, None]), sides)
                if (order == np.arange(flat.size)).all():
                    operand["array"] = operand["array"].reshape(sides)
        return operand | numbers

    def _places(self, tensor: Tensor, flat: np.ndarray, inside: np.ndarray, box: Sequence[Any] | None) -> Operand:
        """Return the places of an operand's elements on the map that they come from."""
        is_map = (tensor.ndim == 3 and tensor.shape[0] > 1) or (tensor.ndim == 4 and tensor.shape[0] == 1)
        is_sequence = tensor.ndim == 3 and self.layout is Layout.SEQUENCE
        if box is not None and (is_sequence or (is_map and self.layout is not Layout.LAST)):
            at: Operand = {"at": [[int(line[0]) for line in box], [int(line[-1]) for line in box]]}
            if any(len(line) > 1 and bool((np.diff(line) != 1).any()) for line in box):
                names = ("channels", "rows", "columns")
                at |= {key: [int(i) for i in line] for key, line in zip(names, box, strict=True)}
            return at
        positions = flat[inside]
        if not positions.size:
            return {"at": None}
        places = places_of(tensor.shape, positions, self.layout).reshape(3, -1)
        return {"at": [places.min(axis=1).tolist(), places.max(axis=1).tolist()], "places": places}


def _entry(mapping: Mapping[str, Any], key: str) -> Any:
    """Return an entry of a mapping, or that of a list in it where the key is ``name[i]``."""
    name, _, number = key.partition("[")
    value = mapping.get(name)
    return value[int(number[:-1])] if number and isinstance(value, list | tuple) else value


def _as_grid(flat: np.ndarray) -> np.ndarray:
    """Return positions in three dimensions: vectors as (C, 1, 1), dimensions between the first and last as one."""
    if flat.ndim < 2:
        return flat.reshape(-1, 1, 1)
    if flat.ndim == 2:
        return flat[None]
    return flat.reshape(flat.shape[0], -1, flat.shape[-1])


def flat_position(shape: Sequence[int], index: Sequence[int]) -> int:
    """Return the position in reading order of the element of a tensor at an index."""
    return int(np.ravel_multi_index(tuple(index), tuple(shape))) if len(shape) else 0


def broadcast_position(shape: Sequence[int], index: Sequence[int]) -> int:
    """Return the position in reading order of the element of a tensor that broadcasting brings to an index."""
    tail = index[len(index) - len(shape) :]
    return flat_position(shape, [0 if side == 1 else i for i, side in zip(tail, shape, strict=True)])


def constant(value: float, name: str = "constant", **numbers: float) -> Operand:
    """Return an operand that is a number of the network's own."""
    array = np.full((1, 1, 1), value, np.float32)
    return {"name": name, "from": "constant", "array": array, "at": None, **numbers}


def number_in(operand: Operand) -> float:
    """Return the number of an operand of one."""
    return float(operand["array"].item())


def reply_of(
    question: Question,
    how: str,
    sentence: str,
    formula: str,
    operands: Sequence[Operand],
    steps: Sequence[tuple[str, float]] = (),
    **numbers: Any,
) -> Reply:
    """Return the reply: the number computed from the operands, beside the one that torch computed.

    Args:
        question: the question.
        how: the rule that computes the number from the operands.
        sentence: one sentence that says what the number is, with ``{value}`` where it stands.
        formula: the rule as a formula.
        operands: the operands.
        steps: the steps of the computation before its result, as text and value.
        numbers: numbers and settings that the rule needs beside the arrays.
    """
    reply: Reply = {"how": how, "formula": formula, "operands": list(operands), **numbers}
    torch_value = question.torch_value
    value = torch_value if how == "opaque" else recompute(reply)
    lines = [*steps, ("= the number", value)]
    return reply | {
        "value": value,
        "torch": torch_value,
        "sentence": sentence.replace("{value}", number_text(value)),
        "steps": [{"text": text, "value": float(number)} for text, number in lines],
    }


def number_text(value: float) -> str:
    """Return a number as sentences show it, such as ``-0.03125`` or ``1.2e-07``, with four digits."""
    text = f"{value:.4g}"
    return "0" if text == "-0" else text


def count_text(count: int, singular: str, plural: str = "") -> str:
    """Return a count with its noun, such as ``1 product`` or ``1,152 products``."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
