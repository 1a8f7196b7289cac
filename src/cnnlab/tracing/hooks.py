"""Record the outputs of layers, change them, and run a model in eval mode; afterwards the model is as it was before.

::

    with untouched(model), recording(model, ["layer3", "layer4"]) as outputs:
        model(images)
    outputs["layer4"]          # the output of the layer, also where the next layer works in place
    outputs.calls["layer4"]    # an output for every time that the layer ran
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from cnnlab.errors import ModelError, UnknownNameError, UsageError


class Recording(Mapping[str, Tensor]):
    """The recorded tensors: a mapping from the name of a layer to the tensor of the layer's last call.

    Attributes:
        calls: a mapping from the name of a layer to the tensors of all its calls; empty for a layer that did not run.
        order: the names of the layers in the order in which the calls finished; a layer that ran twice stands twice.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.calls: dict[str, list[Tensor]] = {name: [] for name in names}
        self.order: list[str] = []

    def __getitem__(self, name: str) -> Tensor:
        calls = self.calls[name]
        if not calls:
            raise ModelError(
                f'The layer "{name}" did not run, or what it returns is no tensor of floating-point numbers. '
                "`cnnlab.tracing.list_layers(model, image)` lists those that do."
            )
        return calls[-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self.calls)

    def __len__(self) -> int:
        return len(self.calls)

    def add(self, name: str, tensor: Tensor) -> None:
        """Record the tensor of one call."""
        self.calls[name].append(tensor)
        self.order.append(name)


@contextmanager
def recording(model: nn.Module, names: Iterable[str]) -> Iterator[Recording]:
    """Record the outputs of layers while the context is open; the hooks are removed afterwards, also after an error.

    The recorded tensor is the layer's own output, and the layer passes a copy on. So a ReLU that works in place behind
    the layer changes neither the recorded values nor the gradient with respect to them. Of a layer that returns several
    tensors the first one of floating-point numbers is recorded.

    Args:
        model: any module; its mode and gradients are left as they are.
        names: the dotted names of the submodules to record.

    Raises:
        UnknownNameError: the model has no layer of such a name; the nearest names are listed.
        ModelError: the output of a layer is asked for that did not run.
    """
    record = Recording(names)
    with ExitStack() as stack:
        for name in record:
            stack.enter_context(find_layer(model, name).register_forward_hook(_output_hook(record, name)))
        yield record


@contextmanager
def recording_inputs(model: nn.Module, names: Iterable[str]) -> Iterator[Recording]:
    """Record the first input tensor of each layer, as a copy without a graph; see :func:`recording`."""
    record = Recording(names)
    with ExitStack() as stack:
        for name in record:
            hook = _input_hook(record, name)
            stack.enter_context(find_layer(model, name).register_forward_pre_hook(hook, with_kwargs=True))
        yield record


@contextmanager
def replacing_output(model: nn.Module, name: str, replace: Callable[[tuple[Any, ...], Any], Any]) -> Iterator[None]:
    """Let a layer hand on ``replace(inputs, output)`` instead of its output while the context is open.

    Args:
        model: any module.
        name: the dotted name of the layer.
        replace: a function from the layer's positional inputs and its output to what is handed on instead.

    Raises:
        UnknownNameError: the model has no such layer.
    """
    with find_layer(model, name).register_forward_hook(lambda module, inputs, output: replace(inputs, output)):
        yield


@contextmanager
def calling_before_modules(model: nn.Module, call: Callable[[], None]) -> Iterator[None]:
    """Call a function before every module of a network runs while the context is open; its exception ends the pass.

    Args:
        model: any module.
        call: the function.
    """
    with ExitStack() as stack:
        for module in model.modules():
            stack.enter_context(module.register_forward_pre_hook(lambda module, inputs: call()))
        yield


def _output_hook(record: Recording, name: str) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        leaves, structure = tree_flatten(output)
        position = next((i for i, leaf in enumerate(leaves) if _is_float(leaf)), None)
        if position is None:
            return None
        record.add(name, leaves[position])
        leaves[position] = leaves[position].clone()
        return tree_unflatten(leaves, structure)

    return hook


def _input_hook(record: Recording, name: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
        tensor = next((leaf for leaf in tree_leaves((args, kwargs)) if _is_float(leaf)), None)
        if tensor is not None:
            record.add(name, tensor.detach().clone())

    return hook


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the submodule called ``name``.

    Raises:
        UnknownNameError: there is no such submodule; the nearest names are listed.
    """
    modules = {path: module for path, module in model.named_modules(remove_duplicate=False) if path}
    if name in modules:
        return modules[name]
    near = difflib.get_close_matches(str(name), modules, n=5, cutoff=0.3)
    hint = f"The nearest ones: {', '.join(near)}. " if len(near) > 1 and len(modules) > 12 else ""
    raise UnknownNameError(
        f"layer of {type(model).__name__} called",
        str(name),
        modules,
        f"{hint}`cnnlab.tracing.list_layers(model, image)` lists them all.",
    )


def uncompiled(model: nn.Module) -> nn.Module:
    """Return the module that ``torch.compile`` has wrapped, or ``model`` itself, whose hooks and names the user knows.

    Raises:
        UsageError: the model is not a module.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"A model must be a torch.nn.Module, not {type(model).__name__}.")
    return getattr(model, "_orig_mod", model)


@contextmanager
def keeping_modes(model: nn.Module) -> Iterator[nn.Module]:
    """Give every module the mode back, train or eval, that it had before the context; also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield model
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Put every module into eval mode while the context is open; each gets its own mode back, also after an error."""
    with keeping_modes(model):
        for module in model.modules():
            module.training = False
        yield model


@contextmanager
def untouched(model: nn.Module, *, evaluate: bool = True) -> Iterator[nn.Module]:
    """Run the model in eval mode while the context is open; afterwards all of it is as before, also after an error.

    Every module gets its own mode back. Parameters take no part in gradients, which saves their memory and time; they
    get their ``requires_grad`` and ``grad`` back. Buffers get their values back, and torch's random generators their
    states. Inside the context gradients can be taken even where the caller has switched them off by ``torch.no_grad``
    or ``torch.inference_mode``, and the caller's autocast is off.

    Args:
        model: any module.
        evaluate: whether the modules run in eval mode; else each runs in the mode that it is in.

    Raises:
        UsageError: the model is not a module.
    """
    uncompiled(model)  # raises an error unless it is a module
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    buffers = [
        (module, key, buffer, buffer.detach().clone())
        for module in model.modules()
        for key, buffer in module._buffers.items()
        if buffer is not None
    ]
    devices = {parameter.device for parameter, _, _ in parameters} | {buffer.device for _, _, buffer, _ in buffers}
    cuda = [device for device in devices if device.type == "cuda"]
    kinds = {device.type for device in devices} - {"meta"} or {"cpu"}
    with (
        (evaluating if evaluate else keeping_modes)(model),
        torch.random.fork_rng(cuda),
        torch.inference_mode(False),
        torch.enable_grad(),
        _no_autocast(kinds),
    ):
        try:
            for parameter, _, _ in parameters:
                parameter.grad = None
                parameter.requires_grad_(False)
            yield model
        finally:
            for parameter, requires_grad, grad in parameters:
                parameter.requires_grad_(requires_grad)
                parameter.grad = grad
            with torch.no_grad():
                for module, key, buffer, values in buffers:
                    if not torch.equal(buffer, values):
                        buffer.copy_(values)
                    module._buffers[key] = buffer


@contextmanager
def _no_autocast(kinds: Iterable[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for kind in sorted(kinds):
            if torch.amp.is_autocast_available(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
