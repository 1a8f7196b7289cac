"""The record of a forward pass: values, operations, and calls of modules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


@dataclass(eq=False, repr=False)
class Value:
    """A tensor of the pass at one moment: after an in-place operation it is another value.

    Attributes:
        shape, dtype: shape and number type of the tensor.
        storage: identifier of the memory behind it, which views and in-place results share with their sources.
        made_by: the operation that made it; None for an input or a parameter.
        parameter: the parameter of the network that it is, where it is one.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    storage: int
    made_by: Op | None = None
    parameter: Tensor | None = None


@dataclass(eq=False, repr=False)
class Op:
    """An operation of torch's ATen library.

    Attributes:
        func: the ATen operator; a string for ``"write"``, which the recorder adds where a view changes with its base.
        args, kwargs: arguments of the operation, with values instead of tensors.
        outputs, inputs: the values that it returns and takes.
        call: the call of the module in whose ``forward`` it runs.
        macs: multiply-adds of the operation.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Value]
    call: Call
    macs: int = 0
    inputs: list[Value] = field(init=False)

    def __post_init__(self) -> None:
        self.inputs = [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Value)]

    @property
    def name(self) -> str:
        """The name without namespace and overload, such as ``convolution``."""
        return str(self.func).split(".")[1] if not isinstance(self.func, str) else self.func

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name, with defaults."""
        if isinstance(self.func, str):
            return {}
        schema = self.func._schema.arguments
        by_position = dict(zip((argument.name for argument in schema), self.args, strict=False))
        return {argument.name: argument.default_value for argument in schema} | by_position | self.kwargs


@dataclass(eq=False, repr=False)
class Call:
    """A call of a module.

    Attributes:
        path: dotted name of the module; empty for the network.
        module: the module, as a copy.
        parent: the call inside which it happened.
        inputs, outputs: the values that go in and come out.
        steps: the operations of its own ``forward`` and the calls inside it, in order.
        end: number of operations of the whole pass that had run when the module returned.
    """

    path: str
    module: nn.Module
    parent: Call | None
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    steps: list[Op | Call] = field(default_factory=list)
    end: int = 0

    @property
    def own_macs(self) -> int:
        """The multiply-adds of the module's own ``forward``, without those of modules inside it."""
        return sum(step.macs for step in self.steps if isinstance(step, Op))

    def finished(self) -> Iterator[Call]:
        """Yield the calls inside this one, each after those inside it, and at last this one."""
        for step in self.steps:
            if isinstance(step, Call):
                yield from step.finished()
        yield self


@dataclass(eq=False, repr=False)
class Trace:
    """The record of a forward pass.

    Attributes:
        root: the call of the network itself.
        inputs, outputs: the values that go in and come out.
        ops, calls: all operations, and all calls of modules, in the order in which they began.
    """

    root: Call
    inputs: list[Value]
    outputs: list[Value]
    ops: list[Op]
    calls: list[Call]
