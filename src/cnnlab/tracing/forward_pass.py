"""Recording a forward pass: which modules were called, and which operation made which tensor from which.

The pass runs on a copy whose parameters live on the ``meta`` device: shapes are exact, nothing is allocated or
computed, and the model itself is not touched. Multiply-adds, receptive fields, memory and the drawing of a network are
all read from such a record. :class:`Passes` runs a copy with its values, again and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from cnnlab.errors import ModelError, UsageError
from cnnlab.tracing.record import Trace
from cnnlab.tracing.recorder import Observer, Recorder, copy_of, no_fast_path, uncompiled_run

Inputs = Tensor | Sequence[Any] | Mapping[str, Any] | None
"""Tensors or shapes: one, a sequence of them for several arguments, or a mapping for arguments by keyword."""


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
    _refuse_lazy(model)
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
    originals: dict[int, Tensor] = {}
    twin = copy_of(model, device, originals)
    return _record(twin, arguments, device, Recorder(twin, originals))


def _record(
    twin: nn.Module,
    arguments: tuple[tuple[Tensor, ...], dict[str, Tensor]],
    device: torch.device,
    recorder: Recorder,
    seed: int | None = None,
) -> Trace:
    """Run a copy under a recorder and return what it recorded; with a seed what it draws at random is the same."""
    args, kwargs = arguments
    generators = [device] if device.type == "cuda" else []
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.random.fork_rng(generators),
        torch.autocast(device.type if device.type != "meta" else "cpu", enabled=False),
        no_fast_path(),
        uncompiled_run(),
    ):
        if seed is not None:
            torch.manual_seed(seed)
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


class Passes:
    """Forward passes of a copy of a network with values, each of them recorded and observed.

    What the network draws at random, as a dropout that stays on, is the same in every pass.

    Args:
        model: any module; it is copied once, with its weights, and stays as it is.

    Raises:
        ModelError: the network has lazy parameters whose shapes are not known yet.
    """

    def __init__(self, model: nn.Module) -> None:
        _refuse_lazy(model)
        self.device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        self.originals: dict[int, Tensor] = {}
        self.model = copy_of(model, self.device, self.originals)

    def run(self, image: Tensor, observer: Observer) -> Trace:
        """Run the network on an image (1, C, H, W) and return the record of the pass.

        Raises:
            ModelError: the network cannot take the image.
        """
        recorder = Recorder(self.model, self.originals, observer)
        try:
            return _record(
                self.model, ((image.detach().to(self.device, copy=True),), {}), self.device, recorder, seed=0
            )
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            name, shape = type(self.model).__name__, tuple(image.shape)
            raise ModelError(f"{name} cannot run on an image of shape {shape}: {error}") from error
        finally:
            for hook in recorder.hooks:
                hook.remove()


def _refuse_lazy(model: nn.Module) -> None:
    """Refuse a network whose shapes are not known yet.

    Raises:
        ModelError: it has lazy parameters.
    """
    if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        raise ModelError(f"{type(model).__name__} has lazy layers without shapes yet. Run it once on images first.")
