"""Look at what leaves a layer, and leave the model as it was found.

::

    with untouched(model), recording(model, ["layer3", "layer4"]) as seen:
        model(images)
    seen["layer4"]          # what left the layer, also where a later layer works in place
    seen.calls["layer4"]    # every time it ran
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from cnnlab.errors import ModelError, UnknownNameError, UsageError


class Recording(Mapping[str, Tensor]):
    """What left the named layers: a mapping from the name to the output of the layer's last call.

    Attributes:
        calls: the name to the outputs of all calls, in order; empty for a layer that did not run.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.calls: dict[str, list[Tensor]] = {name: [] for name in names}

    def __getitem__(self, name: str) -> Tensor:
        calls = self.calls[name]
        if not calls:
            raise ModelError(
                f'The layer "{name}" did not run, or what it returns is no tensor of floating-point numbers. '
                "`cnnlab.tracing.layers(model, image)` lists those that do."
            )
        return calls[-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self.calls)

    def __len__(self) -> int:
        return len(self.calls)


@contextmanager
def recording(model: nn.Module, names: Iterable[str]) -> Iterator[Recording]:
    """While open, keep what leaves the layers ``names``; their hooks are gone afterwards, also after an error.

    A layer hands a copy on and the original is kept, so that a ReLU in place behind it changes neither the values nor
    the gradient that belongs to them. Of a layer that returns several tensors the first is kept.

    Args:
        model: any module; its mode and gradients are left as they are.
        names: dotted names of submodules.

    Raises:
        UnknownNameError: a layer that the model does not have; the nearest ones are listed.
        ModelError: when an output is asked for of a layer that did not run.
    """
    names = list(names)
    kept = Recording(names)
    layers = [(name, find_layer(model, name)) for name in names]
    handles = []
    try:
        for name, layer in layers:
            handles.append(layer.register_forward_hook(_keeper(kept.calls[name])))
        yield kept
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def recording_inputs(model: nn.Module, names: Iterable[str]) -> Iterator[Recording]:
    """Like :func:`recording`, for the first tensor that goes into each layer; it is a copy, without a graph."""
    names = list(names)
    kept = Recording(names)
    layers = [(name, find_layer(model, name)) for name in names]
    handles = []
    try:
        for name, layer in layers:
            handles.append(layer.register_forward_pre_hook(_input_keeper(kept.calls[name]), with_kwargs=True))
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _input_keeper(calls: list[Tensor]) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
        leaves = (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.is_floating_point())
        calls.extend(leaf.detach().clone() for leaf in itertools.islice(leaves, 1))

    return hook


def _keeper(calls: list[Tensor]) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        leaves, form = tree_flatten(output)
        for position, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                calls.append(leaf)
                leaves[position] = leaf.clone()
                return tree_unflatten(leaves, form)
        return None

    return hook


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the submodule called ``name``.

    Raises:
        UnknownNameError: there is none; the nearest ones are listed.
    """
    known = {path: module for path, module in model.named_modules(remove_duplicate=False) if path}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), known, n=5, cutoff=0.3)
    hint = f"The nearest ones: {', '.join(near)}. " if len(near) > 1 and len(known) > 12 else ""
    raise UnknownNameError(
        f"layer of {type(model).__name__} called",
        str(name),
        known,
        f"{hint}`cnnlab.tracing.layers(model, image)` lists them all.",
    )


def uncompiled(model: nn.Module) -> nn.Module:
    """Return the module that ``torch.compile`` has wrapped, or ``model`` itself: hooks and names are those of the user.

    Raises:
        UsageError: it is no module.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"A model must be a torch.nn.Module, not {type(model).__name__}.")
    return getattr(model, "_orig_mod", model)


@contextmanager
def untouched(model: nn.Module) -> Iterator[nn.Module]:
    """While open, the model computes as at evaluation; afterwards it is as it was, also after an error.

    Every module is put into eval mode and gets its own mode back; parameters take no part in gradients (whose memory
    and time is saved) and get their ``requires_grad`` and ``grad`` back, buffers their values, torch's random
    generators their states. Inside, gradients can be taken even where the caller has switched them off by
    ``torch.no_grad`` or ``torch.inference_mode``, and the caller's autocast is off.
    """
    uncompiled(model)  # raises when it is no module
    modes = [(module, module.training) for module in model.modules()]
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
    with torch.random.fork_rng(cuda), torch.inference_mode(False), torch.enable_grad(), _no_autocast(kinds):
        try:
            for module, _ in modes:
                module.training = False
            for parameter, _, _ in parameters:
                parameter.grad = None
                parameter.requires_grad_(False)
            yield model
        finally:
            for module, mode in modes:
                module.training = mode
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
