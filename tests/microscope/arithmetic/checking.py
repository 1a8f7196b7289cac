"""Runs a network on an input and works out numbers of every operation, which must be those of torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from cnnlab.errors import CnnlabError
from cnnlab.microscope.arithmetic import recompute, view_shape, work_out
from cnnlab.microscope.arithmetic.moves import tensor_keys
from cnnlab.tracing import Observer, Op, Passes
from cnnlab.zoo import create_model


class Function(nn.Module):
    """A network that is one function, with a parameter so that it has a device."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def check(model: nn.Module | Callable[[Tensor], Any], x: Tensor, numbers: int = 8, seed: int = 0) -> Counter[tuple]:
    """Work out some numbers of every floating-point operation of a network.

    Args:
        model: a network, or a function.
        x: its input.
        numbers: how many numbers of each kind of operation; every single operation gives at least one.
        seed: seed of the choice of numbers.

    Returns:
        How many numbers were worked out, by name of the operation and ``how``.
    """
    model = model if isinstance(model, nn.Module) else Function(model)
    passes = Passes(model)
    ops = passes.run(x, Observer()).ops
    checker = _Checker(ops, numbers, seed)
    passes.run(x, checker)
    return checker.counts


def one(model: nn.Module | Callable[[Tensor], Any], x: Tensor, op: str, at: Sequence[int]) -> dict[str, Any]:
    """Return the reply for a number of the last operation of a name."""
    model = model if isinstance(model, nn.Module) else Function(model)
    passes = Passes(model)
    ops = passes.run(x, Observer()).ops
    checker = _Checker(ops, 0, 0)
    checker.wanted = max(position for position, each in enumerate(ops) if each.name == op)
    checker.at = tuple(at)
    passes.run(x, checker)
    assert checker.reply is not None
    return checker.reply


class _Checker(Observer):
    def __init__(self, ops: Sequence[Op], numbers: int, seed: int) -> None:
        self.ops, self.rng = ops, np.random.default_rng(seed)
        times = Counter(op.name for op in ops)
        self.numbers = {name: math.ceil(numbers / count) for name, count in times.items()}
        self.arguments: dict[str, Any] = {}
        self.counts: Counter[tuple] = Counter()
        self.wanted, self.at, self.reply = -1, (0, 0, 0), None

    def before(self, position: int, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        def kept(leaf: Any) -> Any:
            return leaf.clone() if isinstance(leaf, Tensor) and not isinstance(leaf, nn.Parameter) else leaf

        schema = self.ops[position].func._schema.arguments
        values = dict(zip((a.name for a in schema), tree_map(kept, tuple(arguments)), strict=False))
        self.arguments = {a.name: a.default_value for a in schema} | values | tree_map(kept, dict(keywords))

    def after(self, position: int, output: Any) -> None:
        name = self.ops[position].name
        tensor = next(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
        constant = not tensor_keys(self.arguments) or name in ("empty", "new_empty")
        if not tensor.is_floating_point() or not tensor.numel() or constant:
            return
        view = view_shape(tensor.shape)
        if position == self.wanted:
            self.reply = work_out(name, self.arguments, tensor, self.at, {})
        for _ in range(self.numbers[name]):
            at = [int(self.rng.integers(side)) for side in view]
            reply = work_out(name, self.arguments, tensor, at, {})
            assert_right(reply)
            self.counts[name, reply["how"]] += 1


def assert_right(reply: Mapping[str, Any]) -> None:
    """Check that a reply gives torch's number, from its operands alone, and that it is well formed."""
    expected = reply["torch"]
    tolerance = 1e-4 * max(1, abs(expected)) if math.isfinite(expected) else 0
    same = np.isclose(reply["value"], expected, rtol=0, atol=tolerance, equal_nan=True)
    assert same, f"{reply['value']} is not {expected}: {reply}"
    assert np.isclose(recompute(reply), reply["value"], rtol=1e-12, atol=0, equal_nan=True)
    assert np.isclose(reply["steps"][-1]["value"], reply["value"], rtol=0, atol=0, equal_nan=True)
    assert "{" not in reply["sentence"]
    for operand in reply["operands"]:
        assert operand["from"]
        assert operand["at"] is None or np.shape(operand["at"]) == (2, 3)
        if reply["how"] != "opaque":
            assert operand["array"].dtype == np.float32
            assert operand["array"].ndim == 3
        if "mask" in operand:
            assert operand["mask"].shape == operand["array"].shape
            assert not operand["array"][operand["mask"] == 0].any()
        if "rows" in operand:
            lengths = tuple(len(operand[key]) for key in ("channels", "rows", "columns"))
            assert lengths == operand["array"].shape
    if reply["how"] == "weighted_sum":
        assert reply["operands"][0]["array"].shape == reply["operands"][1]["array"].shape


def smallest(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network of the zoo in eval mode for images of the smallest size that it takes, and such an image."""
    torch.manual_seed(0)
    for size in (28, 32, 64, 96, 128, 224):
        for channels in (1, 3):
            try:
                model = create_model(name, image_size=size, in_channels=channels).eval()
                with torch.no_grad():
                    model(numbers(1, channels, size, size))
            except (CnnlabError, RuntimeError, ValueError):
                continue
            return model, numbers(1, channels, size, size)
    raise AssertionError(f"{name} takes images of no size up to 224")


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Return normally distributed numbers."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))
