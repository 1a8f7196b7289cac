"""The optimizer and the learning rate of a recipe, and the exponential moving average (EMA) of the weights.

The table of optimizers and schedules is in :mod:`cnnlab.training.rules`. The learning rate is a pure function of the
step, so there is no scheduler state to save or to lose when a run resumes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from cnnlab.training.recipe import Recipe
from cnnlab.training.rules import OPTIMIZERS, SCHEDULES, cosine
from cnnlab.zoo import Network

Model = TypeVar("Model", bound=nn.Module)


def make_optimizer(
    recipe: Recipe, model: nn.Module, factors: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """Build the recipe's optimizer; weight decay spares biases and normalisation parameters unless ``decay_all``.

    Frozen parameters are in it too: they have no gradient and are left alone until they are unfrozen.

    Args:
        recipe: the recipe, which names the optimizer, its settings, the learning rate and the weight decay.
        model: the network whose parameters are to be trained.
        factors: a factor of the learning rate for each parameter's name; 1 for those that are not in it.

    One-dimensional parameters are exactly the biases and the scales and shifts of normalisation layers; decaying them
    brings nothing and hurts short trainings (Goyal et al. 2017, section 5.3; He et al. 2019, section 3.1).
    """
    rule = OPTIMIZERS[recipe.optimizer]
    hidden_names = hidden_matrices(model) if rule.separates_hidden else set()
    members: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decayed = recipe.decay_all or parameter.ndim > 1
        key = ((factors or {}).get(name, 1.0), decayed, name in hidden_names)
        members.setdefault(key, []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": recipe.weight_decay if decayed else 0.0, "factor": factor}
        | ({"hidden": hidden} if rule.separates_hidden else {})
        for (factor, decayed, hidden), parameters in sorted(members.items(), key=lambda item: item[0], reverse=True)
    ]
    return rule.build(groups, lr=recipe.lr, **{key: getattr(recipe, key) for key in rule.keys})


def hidden_matrices(model: nn.Module) -> set[str]:
    """Return the names of the weights that act as one matrix on all channels, without those that give the classes.

    Those are the weights of dense layers and of convolutions that are not grouped; in a depthwise convolution each
    channel has filters of its own, and there is no matrix.
    """
    matrices = [
        f"{name}.weight".lstrip(".")
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.modules.conv._ConvNd) and module.groups == 1)
    ]
    last = [f"{name}.weight" for name in model.class_layers] if isinstance(model, Network) else matrices[-1:]
    return set(matrices).difference(last)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, total: float | None = None) -> float:
    """Return the learning rate of ``step`` (0-based, counted over the whole run) on the recipe's schedule.

    Most schedules start with ``warmup_epochs`` of linear rise, at most half of the run. Epochs added by an extension
    start at its own rate and fall to zero by half a cosine.

    Args:
        recipe: the recipe of the training.
        step: number of the step, from 0.
        steps_per_epoch: number of steps of an epoch.
        total: number of steps of the run where the clock decides it, by what is known so far; not always whole.
    """
    trained = (recipe.stopped_at or recipe.epochs) * steps_per_epoch
    if not total and step >= trained:
        return _extended_rate(recipe, step - trained, steps_per_epoch)
    total = total or recipe.epochs * steps_per_epoch
    schedule = SCHEDULES[recipe.schedule]
    warmup = min(total // 2, round(recipe.warmup_epochs * steps_per_epoch)) if schedule.warms_up else 0
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    return schedule.rate(step, total, warmup, recipe.lr, **{key: getattr(recipe, key) for key in schedule.keys})


def _extended_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    for extension in recipe.extensions:
        length = extension.epochs * steps_per_epoch
        if step < length:
            return cosine(step, length, 0, extension.lr)
        step -= length
    return 0.0


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the rate ``lr``, times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("factor", 1.0)  # none in states saved before there were factors


class EMA(Generic[Model]):
    """Exponential moving average of the weights (Polyak and Juditsky 1992), held as a second network.

    The decay rises as ``min(decay, (1 + t) / (10 + t))``, so that the random start is forgotten at once. Buffers
    (BatchNorm's running statistics) are copied: they are averages already.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: Model, step: int) -> None:
        """Move the average towards ``model`` after optimizer step number ``step`` (0-based)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, current in zip(self.model.parameters(), model.parameters(), strict=True):
            if current.requires_grad:  # frozen ones are equal already, and may be most of a large network
                average.lerp_(current, 1 - decay)
        for copied, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            copied.copy_(buffer)
