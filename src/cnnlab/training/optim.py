"""Optimizers, learning-rate schedules and the weight average.

The schedule is a pure function of the step, so there is no scheduler state to save or to lose when a run resumes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cnnlab.training.recipe import Recipe


def make_optimizer(
    recipe: Recipe, model: nn.Module, factors: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """Build the recipe's optimizer; weight decay spares biases and normalisation parameters unless ``decay_all``.

    Frozen parameters are in it too: they have no gradient and are left alone until they are unfrozen.

    Args:
        recipe: optimizer, rate and decay.
        model: whose parameters are to be trained.
        factors: name of a parameter -> factor of its learning rate; 1 for those that are not in it.

    One-dimensional parameters are exactly the biases and the scales and shifts of normalisation layers; decaying them
    brings nothing and hurts short trainings (Goyal et al. 2017, section 5.3; He et al. 2019, section 3.1).
    """
    sorted_in: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        key = ((factors or {}).get(name, 1.0), recipe.decay_all or parameter.ndim > 1)
        sorted_in.setdefault(key, []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": recipe.weight_decay if decayed else 0.0, "factor": factor}
        for (factor, decayed), parameters in sorted(sorted_in.items(), key=lambda item: item[0], reverse=True)
    ]
    if recipe.optimizer == "sgd":
        nesterov = recipe.nesterov and recipe.momentum > 0
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.lr, betas=recipe.betas)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)
    return torch.optim.RMSprop(groups, lr=recipe.lr, momentum=recipe.momentum)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of ``step`` (0-based, counted over the whole run).

    - ``constant``, ``step``, ``cosine`` start with ``warmup_epochs`` of linear rise, at most half of the run;
    - ``cosine`` falls to zero by half a cosine (Loshchilov and Hutter 2017, equation 5 with one period);
    - ``onecycle`` rises linearly for ``warmup_fraction`` of the run, then falls linearly to zero
      (Smith 2018, section 4);
    - epochs added by an extension start at its own rate and fall to zero by half a cosine.
    """
    total = recipe.epochs * steps_per_epoch
    trained = (recipe.stopped_at or recipe.epochs) * steps_per_epoch
    if step >= trained:
        return _extended_rate(recipe, step - trained, steps_per_epoch)
    if recipe.schedule == "onecycle":
        rise = max(1, round(total * recipe.warmup_fraction))
        if step < rise:
            return recipe.lr * (step + 1) / rise
        return recipe.lr * (total - step) / max(1, total - rise + 1)
    warmup = min(total // 2, round(recipe.warmup_epochs * steps_per_epoch))
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
    if recipe.schedule == "step":
        drops = sum(step >= milestone * total for milestone in recipe.milestones)
        return recipe.lr * recipe.gamma**drops
    return recipe.lr


def _extended_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    for extension in recipe.extensions:
        length = extension.epochs * steps_per_epoch
        if step < length:
            return extension.lr * 0.5 * (1 + math.cos(math.pi * step / length))
        step -= length
    return 0.0


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the rate ``lr``, times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("factor", 1.0)  # none in states saved before there were factors


class WeightAverage:
    """Exponential moving average of the weights (Polyak and Juditsky 1992), held as a second network.

    The decay rises as ``min(decay, (1 + t) / (10 + t))``, so that the random start is forgotten at once. Buffers
    (BatchNorm's running statistics) are copied: they are averages already.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards ``model`` after optimizer step number ``step`` (0-based)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, current in zip(self.model.parameters(), model.parameters(), strict=True):
            if current.requires_grad:  # frozen ones are equal already, and may be most of a large network
                average.lerp_(current, 1 - decay)
        for kept, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(buffer)
