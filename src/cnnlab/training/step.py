"""A training step and a forward pass: all that trains or evaluates, and all that times it, calls these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnlab.hardware import Precision
from cnnlab.zoo import loss_with_auxiliary, split_outputs


@dataclass
class Learner:
    """What a training step works on."""

    model: nn.Module  #: the network whose parameters are trained
    #: the module that a step calls: the model itself, compiled, wrapped for several processes, or only its last part
    #: where the features before it are cached
    network: nn.Module
    #: a function from logits (N, K) and targets to the mean of the losses of the N images
    criterion: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer | None  #: the update rule; None only computes the gradients
    precision: Precision  #: the number format and memory layout of the forward pass
    clip_norm: float  #: the largest norm of the gradient; 0 does not clip


def train_step(
    learner: Learner, images: Tensor, targets: Tensor, share: float = 1.0, parts: int = 1
) -> tuple[Tensor, Tensor]:
    """Make one step: forward, backward, clip, update. The modes (train or eval) of the modules are left as they are.

    Args:
        learner: the network and its optimizer, which change.
        images: (N, C, H, W) float32, normalised.
        targets: (N,) class indices, or (N, K) probabilities when images were mixed.
        share: the weight of these images in the gradient, 1 unless several processes have unequal parts of a batch.
        parts: the number of parts that the batch is split into to save memory; their gradients are added.

    Returns:
        The mean loss, with that of auxiliary heads, a scalar on the device, and the logits (N, K), without a graph.
    """
    model, optimizer = learner.model, learner.optimizer
    (optimizer or model).zero_grad(set_to_none=True)
    losses, answers = [], []
    chunks = [(images, targets)]
    if parts > 1:
        chunks = list(zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True))
    for part, target in chunks:
        with learner.precision.autocast(images.device):
            outputs = learner.network(part)
        loss = loss_with_auxiliary(model, outputs, target, learner.criterion)
        if parts > 1:
            loss = loss * (len(part) / len(images))
        (loss if share == 1 else loss * share).backward()
        losses.append(loss.detach())
        answers.append(split_outputs(outputs)[0].detach())
    if learner.clip_norm:
        nn.utils.clip_grad_norm_(model.parameters(), learner.clip_norm)
    if optimizer:
        optimizer.step()
    if parts == 1:  # for a small network, each operation of the size of a scalar counts
        return losses[0], answers[0]
    return torch.stack(losses).sum(), torch.cat(answers)


def infer(model: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    """Return the outputs of ``model`` for ``images`` (N, C, H, W), without a graph and in the mode that it is in."""
    with torch.inference_mode(), precision.autocast(images.device):
        outputs: Tensor = model(images)
    return outputs


def sum_type(device: torch.device) -> torch.dtype:
    """Return the type in which sums over an epoch are kept: double precision where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64
