"""A training step and a forward pass: all that trains or evaluates, and all that times it, calls these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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
    criterion: nn.CrossEntropyLoss  #: the cross entropy, summed over the images
    optimizer: torch.optim.Optimizer | None  #: the update rule; None only computes the gradients
    precision: Precision  #: the number format and memory layout of the forward pass
    clip_norm: float  #: the largest norm of the gradient; 0 does not clip


class StepResult(NamedTuple):
    """The numbers of a training step, on the device."""

    loss: Tensor  #: the mean loss, with that of auxiliary heads, a scalar
    #: the number of correct answers, a scalar; of mixed images the class with the larger share is the correct answer
    correct: Tensor
    losses: Tensor | None  #: the losses of the images one by one (N,), where they have weights


def train_step(
    learner: Learner,
    images: Tensor,
    targets: Tensor,
    share: float = 1.0,
    parts: int = 1,
    weights: Tensor | None = None,
) -> StepResult:
    """Make one step: forward, backward, clip, update. The modes (train or eval) of the modules are left as they are.

    Args:
        learner: the network and its optimizer, which change.
        images: (N, C, H, W) float32, normalised.
        targets: (N,) class indices, or (N, K) probabilities when images were mixed.
        share: the weight of these images in the gradient, 1 unless several processes have unequal parts of a batch.
        parts: the number of parts that the batch is split into to save memory; their gradients are added.
        weights: how much each image counts in the loss and in the number of correct answers, float32 (N,) on the
            device; only their ratios matter. All count the same when ``None``.
    """
    model, optimizer = learner.model, learner.optimizer
    (optimizer or model).zero_grad(set_to_none=True)
    sums, correct, each = [], [], []
    chunks = [(images, targets)]
    if parts > 1:
        chunks = list(zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True))
    criterion, factors = learner.criterion, None
    if weights is not None:
        criterion, factors = _one_by_one(criterion), (weights / weights.mean()).tensor_split(parts)
    for number, (part, target) in enumerate(chunks):
        with learner.precision.autocast(images.device):
            outputs = learner.network(part)
        loss = loss_with_auxiliary(model, outputs, target, criterion)
        truth = target if target.ndim == 1 else target.argmax(1)
        right = split_outputs(outputs)[0].detach().argmax(1) == truth
        if factors:
            each.append(loss.detach())
            loss, right = (loss * factors[number]).sum(), right * factors[number]
        loss = loss / len(images)
        (loss if share == 1 else loss * share).backward()
        sums.append(loss.detach())
        correct.append(right.sum())
    if learner.clip_norm:
        nn.utils.clip_grad_norm_(model.parameters(), learner.clip_norm)
    if optimizer:
        optimizer.step()
    losses = torch.cat(each) if each else None
    if parts == 1:  # for a small network, each operation of the size of a scalar counts
        return StepResult(sums[0], correct[0], losses)
    return StepResult(torch.stack(sums).sum(), torch.stack(correct).sum(), losses)


def _one_by_one(criterion: nn.CrossEntropyLoss) -> nn.CrossEntropyLoss:
    """Return the same criterion with the losses of the images one by one, instead of their sum."""
    return nn.CrossEntropyLoss(criterion.weight, label_smoothing=criterion.label_smoothing, reduction="none")


def infer(model: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    """Return the outputs of ``model`` for ``images`` (N, C, H, W), without a graph and in the mode that it is in."""
    with torch.inference_mode(), precision.autocast(images.device):
        outputs: Tensor = model(images)
    return outputs


def sum_type(device: torch.device) -> torch.dtype:
    """Return the type in which sums over an epoch are kept: double precision where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64
