"""Instruments: what happens inside a forward pass, and inside a training step that is somebody else's code.

Both watch the calls of torch's functions (``torch.overrides.TorchFunctionMode``), so that ``F.relu`` and ``nn.ReLU``,
``nn.CrossEntropyLoss`` and ``F.cross_entropy`` are seen alike, whatever the script calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

WEIGHTED = {"linear", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "bilinear"}
RECTIFIERS = {"relu", "relu_", "relu6"}
SATURATING = {"sigmoid", "sigmoid_", "tanh", "tanh_"}
OTHER_ACTIVATIONS = {
    "leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardtanh",
    "hardswish", "hardsigmoid", "prelu", "rrelu", "glu", "logsigmoid", "softsign", "tanhshrink", "softshrink",
    "hardshrink", "threshold", "scaled_dot_product_attention", "multi_head_attention_forward",
}  # fmt: skip
NONLINEAR = {
    "abs", "exp", "log", "pow", "sqrt", "square", "clamp", "clamp_", "clamp_min", "clip", "maximum", "minimum", "where",
    "sin", "cos", "softmax", "log_softmax", "__pow__", "mul", "__mul__", "matmul", "bmm", "norm", "normalize",
}  # fmt: skip
LOSSES = {
    "cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "multi_margin_loss", "kl_div", "multilabel_soft_margin_loss",
}  # fmt: skip
SOFTMAXES = {"softmax", "log_softmax", "softmin"}


@dataclass
class Call:
    """A call of one of torch's functions inside the network or the loss.

    Attributes:
        name: name of the function.
        module: dotted name of the innermost module that made the call; ``""`` for the network itself, None outside.
        inputs: the tensors it was given, without their graph.
        output: its output, without its graph; None if that is no tensor.
        options: its arguments that are no tensors, by keyword, or by position as ``arg0``, ``arg1``.
    """

    name: str
    module: str | None
    inputs: list[Tensor]
    output: Tensor | None
    options: dict[str, Any]


class Calls(TorchFunctionMode):
    """While open, record the calls of the functions in ``names``.

    Args:
        names: the names of the functions.
        model: the network, whose modules are followed.
    """

    def __init__(self, names: set[str], model: nn.Module) -> None:
        super().__init__()
        self.names, self.model = names, model
        self.calls: list[Call] = []
        self._inside: list[str] = []
        self._hooks = ExitStack()

    def __enter__(self) -> Calls:
        for name, module in self.model.named_modules():
            self._hooks.enter_context(module.register_forward_pre_hook(self._enter(name)))
            self._hooks.enter_context(module.register_forward_hook(self._leave, always_call=True))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._hooks.close()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in self.names:
            return func(*args, **kwargs)
        inputs = [one.detach() for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
        if name in LOSSES or name.endswith("_"):
            inputs = [one.clone() for one in inputs]
        options = {f"arg{i}": one for i, one in enumerate(args) if not isinstance(one, Tensor)}
        options |= {key: one for key, one in kwargs.items() if not isinstance(one, Tensor)}
        output = func(*args, **kwargs)
        result = output.detach() if isinstance(output, Tensor) else None
        self.calls.append(Call(name, self._inside[-1] if self._inside else None, inputs, result, options))
        return output

    def _enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            self._inside.append(name)

        return hook

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._inside:
            self._inside.pop()


# A step of somebody else ------------------------------------------------------------------------------------------


@dataclass
class Backward:
    """A call of ``loss.backward()``.

    Attributes:
        leaves: the tensors that the loss depends on and that get a gradient.
        at_outputs: gradient of the loss with respect to the network's outputs; None when it does not depend on them.
        before: norm of the gradient that was there already.
        fresh: norm of the gradient that this call computed.
        loss: value of the loss.
    """

    leaves: list[Tensor]
    at_outputs: Tensor | None
    before: float
    fresh: float
    loss: float


@dataclass
class Step:
    """What happened in one call of a training step.

    Attributes:
        events: ``forward``, ``backward``, ``update`` in the order in which they happened.
        training: for each forward pass whether the network was in train mode.
        sleeping: dotted names of the BatchNorm and dropout modules that were in eval mode while it ran.
        outputs: outputs of the last forward pass.
        backwards: the backward passes.
        used: norm of the gradient when the optimizer used it; None without an update.
        rates: learning rate of each group of the optimizer after the step.
        moved: name of each parameter -> norm of its change.
        calls: calls of losses and softmax functions.
        value: what the step returned.
        seconds: processor time that the step took.
        labels: labels of the batch.
        parameters: the network's parameters.
        own_parameters: whether the optimizer that made the update holds parameters of the network.
    """

    events: list[str] = field(default_factory=list)
    training: list[bool] = field(default_factory=list)
    sleeping: list[str] = field(default_factory=list)
    outputs: Tensor | None = None
    backwards: list[Backward] = field(default_factory=list)
    used: float | None = None
    rates: list[float] = field(default_factory=list)
    moved: dict[str, float] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    value: Any = None
    seconds: float = 0.0
    labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    parameters: list[Tensor] = field(default_factory=list)
    own_parameters: bool = True


class _Watcher(Calls):
    """Records what a training step does; see :class:`Step`."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: Step) -> None:
        super().__init__(LOSSES | SOFTMAXES | {"dropout"}, model)
        self.step, self.optimizer = step, optimizer
        self._outputs: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.backward:
            return self._backward(func, args, kwargs or {})
        return super().__torch_function__(func, types, args, kwargs)

    def saw_outputs(self, module: nn.Module, args: Any, output: Any) -> None:
        outputs = first_tensor(output)
        self.step.outputs, self._outputs = None if outputs is None else outputs.detach().clone(), outputs
        self.step.events.append("forward")
        self.step.training.append(module.training)
        self.step.sleeping = [name for name, one in module.named_modules() if _sleeps(one)]

    def _backward(self, func: Any, args: Any, kwargs: Any) -> Any:
        # What the optimizer does not hold it cannot zero.
        held = {id(one) for group in self.optimizer.param_groups for one in group["params"]}
        own = list(self.model.parameters())
        loss, parameters = args[0], [one for one in own if id(one) in held] or own
        at_outputs = None
        outputs = self._outputs
        if loss.requires_grad and loss.numel() == 1 and outputs is not None and outputs.requires_grad:
            at_outputs = torch.autograd.grad(loss, outputs, retain_graph=True, allow_unused=True)[0]
        leaves = graph_leaves(loss)
        before = [None if one.grad is None else one.grad.detach().clone() for one in parameters]
        result = func(*args, **kwargs)
        fresh = [
            one.grad.detach() if old is None else one.grad.detach() - old
            for one, old in zip(parameters, before, strict=True)
            if one.grad is not None
        ]
        self.step.events.append("backward")
        self.step.backwards.append(
            Backward(leaves, at_outputs, norm_of(before), norm_of(fresh), float(loss.detach().float().mean()))
        )
        return result


@contextmanager
def watching(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Step]:
    """Record what happens to a network while the context is open.

    Args:
        model: the network.
        optimizer: the optimizer of the training.
    """
    step = Step(parameters=list(model.parameters()))
    watcher = _Watcher(model, optimizer, step)
    before = {name: one.detach().clone() for name, one in model.named_parameters()}

    def updated(updater: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        step.events.append("update")
        held = [one for group in updater.param_groups for one in group["params"]]
        step.used = norm_of([one.grad for one in held])
        own = {id(one) for one in model.parameters()}
        step.own_parameters = any(id(one) in own for one in held)

    hook = register_optimizer_step_pre_hook(updated)
    outputs = model.register_forward_hook(watcher.saw_outputs)
    try:
        with watcher:
            yield step
    finally:
        hook.remove()
        outputs.remove()
    step.calls = watcher.calls
    step.rates = [float(group["lr"]) for group in optimizer.param_groups]
    step.moved = {
        name: float((one.detach() - before[name]).norm()) for name, one in model.named_parameters() if name in before
    }


def graph_leaves(loss: Tensor) -> list[Tensor]:
    """Return the tensors that the graph of a loss ends at, which get a gradient from ``loss.backward()``."""
    if loss.grad_fn is None:
        return [loss] if loss.requires_grad else []
    leaves, todo, passed = list[Tensor](), [loss.grad_fn], set[Any]()
    while todo:
        node = todo.pop()
        if node in passed:
            continue
        passed.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        todo += [following for following, _ in node.next_functions if following is not None]
    return leaves


def norm_of(tensors: Any) -> float:
    """Return the norm of all tensors together; those that are None count as zero."""
    squares = [float(one.detach().double().square().sum()) for one in tensors if one is not None]
    return sum(squares) ** 0.5


def first_tensor(output: Any) -> Tensor | None:
    """Return the logits among the outputs of a network: the tensor itself, or the first of several."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, tuple | list):
        return next((one for one in map(first_tensor, output) if one is not None), None)
    return None


def gives_classes(outputs: Tensor, labels: Tensor) -> bool:
    """Whether outputs (n, K) are scores of K classes, and the labels say which."""
    whole = labels.ndim == 1 and not labels.is_floating_point()
    return (
        whole
        and outputs.ndim == 2
        and outputs.shape[1] > 1
        and 0 <= int(labels.min()) <= int(labels.max()) < outputs.shape[1]
    )


_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


def _sleeps(module: nn.Module) -> bool:
    """Whether a module does something else in train mode, and is in eval mode."""
    if module.training:
        return False
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return module.weight is None or module.weight.requires_grad
    return isinstance(module, _DROPOUTS) and module.p > 0
