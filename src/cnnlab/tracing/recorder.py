"""The recorder of a forward pass: a dispatch mode below autograd, and hooks on every module of a copy."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry
from torch.utils.hooks import RemovableHandle

from cnnlab.tracing.meta_outputs import meta_output
from cnnlab.tracing.record import Call, Op, Value


def copy_of(model: nn.Module, device: torch.device, originals: dict[int, Tensor]) -> nn.Module:
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


def uncompiled_run() -> AbstractContextManager[Any]:
    """Return a context in which compiled parts of a network run as they were written, so that they can be recorded."""
    # Whoever has compiled something has loaded torch._dynamo; the others are spared two seconds.
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


@contextmanager
def no_fast_path() -> Iterator[None]:
    """Run attention as its matrix products while open, not as one fused operation whose cost is not counted."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


class Observer:
    """A witness of a pass with values, who may change them: its methods are called around every operation."""

    def before(self, position: int, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        """Look at the arguments of an operation before it runs.

        Args:
            position: the number of operations that have run.
            arguments, keywords: what the operation is called with, with tensors; an in-place one changes them.
        """

    def writing(self, tensor: Tensor) -> None:
        """Look at a tensor into which an operation writes next; others may share its memory."""

    def after(self, position: int, output: Any) -> Any:
        """Look at what an operation returned; what is written into its tensors is what the network goes on with.

        Args:
            position: position of the operation in the pass.
            output: a tensor, or a tuple with tensors. That of a view shares its memory with what it is a view of.

        Returns:
            What the network goes on with instead, of the same form; None for the output itself.
        """
        return None


class Recorder(TorchDispatchMode):
    """Records every operation below autograd, and through hooks every call of a module.

    Args:
        model: the copy that runs.
        originals: id of a parameter of the copy -> that parameter of the user's model.
        observer: a witness of the values.

    Attributes:
        hooks: the hooks on the modules, to be removed where the copy runs again.
        ops, calls: the operations and calls so far.
        stack: the calls that are running, the innermost last.
        values: id of a tensor -> its present value.
        alive: the tensors behind ``values``: an id names a tensor only as long as that lives.
        aliases: storage -> the tensors on it.
        paths: id of a module -> its dotted names, several for a shared module.
    """

    def __init__(self, model: nn.Module, originals: Mapping[int, Tensor], observer: Observer | None = None) -> None:
        super().__init__()
        self.originals, self.observer = originals, observer
        self.hooks: list[RemovableHandle] = []
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
                self.hooks.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
                self.hooks.append(module.register_forward_hook(self._leave, with_kwargs=True))
            paths.append(path)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise torch wraps __torch_dispatch__ for its compiler, whose import takes two seconds. The compiler is off
        # while a pass is recorded, see uncompiled_run.
        return False

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
        if self.observer is not None:
            self.observer.before(len(self.ops), args, kwargs)
            for tensor in _written(func, args, kwargs):
                self.observer.writing(tensor)
        out = meta_output(func, args, kwargs)
        out = func(*args, **kwargs) if out is None else out
        if self.observer is not None:
            replacement = self.observer.after(len(self.ops), out)
            out = out if replacement is None else replacement
        op = Op(func, value_args, value_kwargs, [], self.stack[-1])
        if func._overloadpacket in flop_registry:
            op.macs = flop_registry[func._overloadpacket](*args, **kwargs, out_val=out) // 2
        op.outputs = [self._new(leaf, op) for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self._append(op)
        for tensor in _written(func, args, kwargs):
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


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the tensors into which an operation writes."""
    if not func._schema.is_mutable:
        return []
    given = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)} | dict(kwargs)
    written = [
        given.get(argument.name)
        for argument in func._schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return [leaf for leaf in tree_leaves(written) if isinstance(leaf, Tensor)]
