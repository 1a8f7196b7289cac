"""The record of a forward pass: which modules were called, and which operation made which tensor from which.

The pass runs on a copy whose parameters live on the ``meta`` device: shapes are exact, nothing is allocated or
computed, and the model itself is not touched. Multiply-adds, receptive fields, memory and the drawing of a network are
all read from such a record.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

from cnnlab.errors import ModelError, UsageError

Inputs = Tensor | Sequence[Any] | Mapping[str, Any] | None
"""Tensors or shapes: one, a sequence of them for several arguments, or a mapping for arguments by keyword."""


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


def trace(model: nn.Module, inputs: Inputs) -> Trace:
    """Record a forward pass of a model in eval mode, without gradients.

    Weights, buffers, mode, hooks and gradients of ``model`` and the states of random generators stay as they are; its
    own forward hooks do not fire. A network that cannot run without values, because what it does depends on them, is
    run with them, on a copy.

    Args:
        model: any module.
        inputs: tensors or shapes such as ``(1, 3, 224, 224)``: one, a sequence for several arguments, or a mapping for
            arguments by keyword.

    Raises:
        UsageError: the inputs are neither tensors nor shapes.
        ModelError: the network cannot take these inputs, or has lazy parameters whose shapes are not known yet.
    """
    if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        raise ModelError(f"{type(model).__name__} has lazy layers without shapes yet. Run it once on images first.")
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    devices = {parameter.device for parameter in model.parameters()} - {torch.device("meta")}
    try:
        return _run(model, _as_arguments(inputs, dtype, torch.device("meta")), torch.device("meta"))
    except UsageError:
        raise
    except Exception as error:
        failure = error
    if devices or not list(model.parameters()):  # a network on meta alone has no values to run with
        device = next(iter(devices), torch.device("cpu"))
        try:
            return _run(model, _as_arguments(inputs, dtype, device), device)
        except Exception as error:
            failure = error
    shapes = ", ".join(str(tuple(t.shape)) for t in tree_leaves(_as_arguments(inputs, dtype, torch.device("meta"))))
    raise ModelError(
        f"{type(model).__name__} cannot run on inputs of shape {shapes}: {failure} "
        "Give the shape it takes, batch first, or the inputs themselves."
    ) from failure


def _as_arguments(
    inputs: Inputs, dtype: torch.dtype, device: torch.device
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Return positional and keyword arguments for a forward pass on ``device``; zeros where a shape stands.

    Raises:
        UsageError: the inputs are neither tensors nor shapes.
    """

    def tensor(value: Any) -> Tensor:
        if isinstance(value, Tensor):
            return torch.empty_like(value, device=device) if device.type == "meta" else value.detach().to(device)
        if _is_shape(value):
            return torch.zeros(tuple(value), dtype=dtype, device=device)
        raise UsageError(f"An input must be a tensor or a shape such as (1, 3, 224, 224), not {value!r}.")

    if isinstance(inputs, Mapping):
        return (), {key: tensor(value) for key, value in inputs.items()}
    if isinstance(inputs, Tensor) or _is_shape(inputs):
        return (tensor(inputs),), {}
    if isinstance(inputs, Sequence) and not isinstance(inputs, str) and inputs:
        return tuple(tensor(value) for value in inputs), {}
    raise UsageError(f"Give the inputs as tensors or shapes such as (1, 3, 224, 224), not {inputs!r}.")


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in value)
    )


def _run(model: nn.Module, arguments: tuple[tuple[Tensor, ...], dict[str, Tensor]], device: torch.device) -> Trace:
    args, kwargs = arguments
    originals: dict[int, Tensor] = {}
    twin = _twin(model, device, originals)
    recorder = _Recorder(twin, originals)
    generators = [device] if device.type == "cuda" else []
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.random.fork_rng(generators),
        torch.autocast(device.type if device.type != "meta" else "cpu", enabled=False),
        _no_fast_path(),
    ):
        inputs = [recorder.value(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        with recorder, device:
            outputs = twin(*args, **kwargs)
    return Trace(
        recorder.calls[0],
        inputs,
        [recorder.value(leaf) for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)],
        recorder.ops,
        recorder.calls,
    )


def _twin(model: nn.Module, device: torch.device, originals: dict[int, Tensor]) -> nn.Module:
    """Return a copy of ``model`` in eval mode on ``device``, without hooks; on meta it takes no memory.

    Args:
        model: the model.
        device: the device of the copy.
        originals: a mapping that is filled: id of a parameter of the copy -> that parameter of the model.
    """
    memo: dict[int, Any] = {}

    def copied(tensor: Tensor) -> None:
        if id(tensor) in memo:
            return
        twin = tensor.detach().to(device) if device.type == "meta" else tensor.detach().to(device).clone()
        if isinstance(tensor, nn.Parameter):
            twin = nn.Parameter(twin, tensor.requires_grad)
            originals[id(twin)] = tensor
        memo[id(tensor)] = twin

    for module in model.modules():
        # Beside parameters and buffers some modules hold tensors as plain attributes, also in lists.
        plain = [value for value in vars(module).values() if isinstance(value, (Tensor, list, tuple, dict))]
        for leaf in tree_leaves([module._parameters, module._buffers, plain]):
            if isinstance(leaf, Tensor):
                copied(leaf)
    twin = copy.deepcopy(model, memo).eval()
    for module in twin.modules():
        module._forward_hooks.clear()
        for key, hook in list(module._forward_pre_hooks.items()):
            # Those of torch.nn.utils (pruning, spectral norm) compute the weight; others are the owner's.
            if not type(hook).__module__.startswith("torch.nn.utils"):
                del module._forward_pre_hooks[key]
    return twin


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """Run attention as its matrix products while open, not as one fused operation whose cost is not counted."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


class _Recorder(TorchDispatchMode):
    """Records every operation below autograd, and through hooks every call of a module.

    Args:
        model: the copy that runs.
        originals: id of a parameter of the copy -> that parameter of the user's model.

    Attributes:
        ops, calls: the operations and calls so far.
        stack: the calls that are running, the innermost last.
        values: id of a tensor -> its present value.
        alive: the tensors behind ``values``: an id names a tensor only as long as that lives.
        aliases: storage -> the tensors on it.
        paths: id of a module -> its dotted names, several for a shared module.
    """

    def __init__(self, model: nn.Module, originals: Mapping[int, Tensor]) -> None:
        super().__init__()
        self.originals = originals
        self.ops: list[Op] = []
        self.calls: list[Call] = []
        self.stack: list[Call] = []
        self.values: dict[int, Value] = {}
        self.alive: list[Tensor] = []
        self.aliases: dict[int, list[Tensor]] = {}
        self.paths: dict[int, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            paths = self.paths.setdefault(id(module), [])
            if not paths:
                module.register_forward_pre_hook(self._enter, with_kwargs=True)
                module.register_forward_hook(self._leave, with_kwargs=True)
            paths.append(path)

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        parent = self.stack[-1] if self.stack else None
        paths = self.paths[id(module)]
        # A shared module goes by the name that it has under the nearest module that is running.
        above = next(
            (c.path + "." for c in reversed(self.stack) if any(p.startswith(c.path + ".") for p in paths if c.path)), ""
        )
        path = next((path for path in paths if path.startswith(above)), paths[0])
        call = Call(path, module, parent, inputs=self._values((args, kwargs)))
        if parent is not None:
            parent.steps.append(call)
        self.calls.append(call)
        self.stack.append(call)

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        call = self.stack.pop()
        call.outputs = self._values(output)
        call.end = len(self.ops)

    def _values(self, tree: Any) -> list[Value]:
        return [self.value(leaf) for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]

    def value(self, tensor: Tensor) -> Value:
        """Return the present value of a tensor."""
        value = self.values.get(id(tensor))
        return value if value is not None else self._new(tensor, None)

    def _new(self, tensor: Tensor, op: Op | None) -> Value:
        storage = tensor.untyped_storage()._cdata
        value = Value(tuple(tensor.shape), tensor.dtype, storage, op, self.originals.get(id(tensor)))
        if id(tensor) not in self.values:
            self.alive.append(tensor)
            self.aliases.setdefault(storage, []).append(tensor)
        self.values[id(tensor)] = value
        return value

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.stack or func.namespace == "prim":
            return func(*args, **kwargs)
        if func._overloadpacket not in flop_registry and not func.name().startswith("aten::upsample"):
            with self:  # as torch's counter does: an operation that consists of others is recorded as those
                decomposed = func.decompose(*args, **kwargs)
            if decomposed is not NotImplemented:
                return decomposed

        def as_value(leaf: Any) -> Any:
            return self.value(leaf) if isinstance(leaf, Tensor) else leaf

        value_args, value_kwargs = tree_map(as_value, (tuple(args), kwargs))
        out = func(*args, **kwargs)
        op = Op(func, value_args, value_kwargs, [], self.stack[-1])
        if func._overloadpacket in flop_registry:
            op.macs = flop_registry[func._overloadpacket](*args, **kwargs, out_val=out) // 2
        op.outputs = [self._new(leaf, op) for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self._append(op)
        for argument, tensor in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write and isinstance(tensor, Tensor):
                self._renew_views(tensor, op)
        return out

    def _append(self, op: Op) -> None:
        self.ops.append(op)
        op.call.steps.append(op)

    def _renew_views(self, tensor: Tensor, op: Op) -> None:
        """Give the views that share memory with ``tensor`` a new value: they changed when ``op`` wrote to it."""
        if self.values[id(tensor)].made_by is not op:
            self._new(tensor, op)
        if len(op.inputs) == 1:
            return  # as after an in-place ReLU: each number depends on itself alone, in every view of it
        for other in self.aliases[tensor.untyped_storage()._cdata]:
            if other is not tensor:
                write = Op("write", (self.value(other), self.value(tensor)), {}, [], op.call)
                write.outputs = [self._new(other, write)]
                self._append(write)
