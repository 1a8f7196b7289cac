"""One forward and backward pass of a network, watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import ModelError
from cnnlab.why import observe
from cnnlab.why.observe import Calls, first_tensor
from cnnlab.why.trials import outputs_of

Loss = Callable[[Any, Tensor], Tensor]
"""A function from the outputs and the labels of a batch to the scalar loss."""


@dataclass
class Pass:
    """One forward and backward pass of the network as the training begins with it.

    Attributes:
        outputs: outputs in train mode (n, ...).
        evaluated: outputs in eval mode for the same images.
        loss: value of the loss; NaN if it cannot be computed.
        calls: calls of layers and activations, in their order.
        gradients: gradient of each parameter by its dotted name; None where the loss does not depend on it.
        parameters: the parameters of the network that made this pass.
        leaves: the tensors that the loss depends on.
        at_outputs: gradient of the loss for the outputs.
        loss_calls: calls of losses and softmax functions within the loss.
    """

    outputs: Tensor
    evaluated: Tensor
    loss: float
    calls: list[observe.Call]
    gradients: dict[str, Tensor | None]
    parameters: list[Tensor]
    leaves: list[Tensor]
    at_outputs: Tensor | None
    loss_calls: list[observe.Call]


def pass_through(model: nn.Module, images: Tensor, labels: Tensor, compute_loss: Loss) -> Pass:
    """Pass images forward and back through a network in train mode.

    Args:
        model: the network; its gradients are replaced.
        images: images (n, C, H, W).
        labels: labels (n,).
        compute_loss: a function from outputs and labels to the loss.

    Raises:
        ModelError: the network returns no tensor.
    """
    evaluated = outputs_of(model, images)
    model.train()
    model.zero_grad()
    wanted = observe.WEIGHTED | observe.RECTIFIERS | observe.SATURATING | observe.OTHER_ACTIVATIONS
    with Calls(wanted | observe.NONLINEAR | {"dropout"}, model) as forward:
        returned = model(images)
    outputs = first_tensor(returned)
    if outputs is None or evaluated is None:
        raise ModelError(f"The network returns {type(returned).__name__}; expected a tensor of scores (N, classes).")
    with Calls(observe.LOSSES | observe.SOFTMAXES, model) as in_loss:
        loss = compute_loss(returned, labels)
    at_outputs, leaves = None, observe.graph_leaves(loss)
    if loss.requires_grad:
        total = loss if loss.numel() == 1 else loss.sum()
        if outputs.requires_grad:
            at_outputs = torch.autograd.grad(total, outputs, retain_graph=True, allow_unused=True)[0]
        total.backward()
    gradients = {name: one.grad for name, one in model.named_parameters()}
    value = float(loss.detach().float().mean())
    return Pass(
        outputs.detach(),
        evaluated,
        value,
        forward.calls,
        gradients,
        list(model.parameters()),
        leaves,
        at_outputs,
        in_loss.calls,
    )
