"""The optimizers and the learning-rate schedules that a recipe can name: one entry each in one of two tables.

A new optimizer or schedule is a function and its line in the table below; recipe, command line, documentation and
tests find it there. A rule names the keys of the recipe that it uses; their values become its keyword arguments.

torch is imported inside the functions, so that a recipe can be read without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch takes a second to load
    from torch.optim import Optimizer

Groups = list[dict[str, Any]]
"""Parameter groups as torch's optimizers take them; each has its own weight decay."""


@dataclass(frozen=True)
class OptimizerRule:
    """An entry of the table of optimizers."""

    #: a function from parameter groups, ``lr`` and the values of ``keys`` to the optimizer
    build: Callable[..., Optimizer]
    keys: tuple[str, ...]  #: the keys of the recipe that ``build`` takes as keyword arguments
    #: whether the filters and matrices of all but the last layer have parameter groups of their own, ``"hidden": True``
    separates_hidden: bool = False


@dataclass(frozen=True)
class Schedule:
    """An entry of the table of schedules."""

    #: a function from the step (0-based), the number of steps of the run, the number of those that warm up, the
    #: recipe's ``lr`` and the values of ``keys`` to the learning rate of the step
    rate: Callable[..., float]
    keys: tuple[str, ...] = ()  #: the keys of the recipe that ``rate`` takes as keyword arguments
    #: whether the rate rises linearly for the recipe's ``warmup_epochs`` first; ``rate`` gives the steps after it
    warms_up: bool = True


# Optimizers ------------------------------------------------------------------------------------------------------
# torch's fused kernels read weights, gradients and moments once for all arithmetic, not once per operation: they update
# the weights of ResNet-18 in a fifth to a fourth of the time. They go through memory from its beginning to its end, so
# these tensors must have one memory layout: autograd gives each gradient the layout of its weights, and
# `checkpoint.unpack_optimizer` gives it to moments.


def sgd(groups: Groups, lr: float, momentum: float, nesterov: bool) -> Optimizer:
    """Gradient descent with Nesterov's or plain momentum (Sutskever et al. 2013, section 2)."""
    from torch.optim import SGD

    optimizer = SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0, fused=True)
    optimizer.register_step_pre_hook(start_momentum)
    return optimizer


def start_momentum(optimizer: Optimizer, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Give a momentum of zero to each parameter of SGD that has its first gradient, before the step.

    torch's fused kernel takes a momentum for all parameters of a group or for none; but those that were frozen before
    have none yet. From zero, the step is that of torch's other forms.
    """
    from torch import zeros_like

    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = zeros_like(parameter)


def adam(groups: Groups, lr: float, betas: tuple[float, float]) -> Optimizer:
    """Adam (Kingma and Ba 2015, algorithm 1)."""
    from torch.optim import Adam

    return Adam(groups, lr=lr, betas=betas, fused=True)


def adamw(groups: Groups, lr: float, betas: tuple[float, float]) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2)."""
    from torch.optim import AdamW

    return AdamW(groups, lr=lr, betas=betas, fused=True)


def rmsprop(groups: Groups, lr: float, momentum: float) -> Optimizer:
    """Division by a running root mean square of the gradient (Tieleman and Hinton 2012, lecture 6.5), and momentum."""
    from torch.optim import RMSprop

    return RMSprop(groups, lr=lr, momentum=momentum)


def muon(groups: Groups, lr: float, momentum: float, nesterov: bool, betas: tuple[float, float]) -> Optimizer:
    """Orthogonal steps in hidden layers, AdamW's elsewhere (Jordan et al. 2024); ``lr`` as for AdamW."""
    from cnnlab.training.muon import Muon

    return Muon(groups, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0, betas=betas)


def muon_sgd(groups: Groups, lr: float, momentum: float, nesterov: bool) -> Optimizer:
    """Orthogonal steps for filters of one norm, SGD elsewhere, as in the fastest trainings on CIFAR-10."""
    from cnnlab.training.muon import MuonSGD

    return MuonSGD(groups, lr=lr, momentum=momentum, nesterov=nesterov)


OPTIMIZERS = {
    "sgd": OptimizerRule(sgd, ("momentum", "nesterov")),
    "adam": OptimizerRule(adam, ("betas",)),
    "adamw": OptimizerRule(adamw, ("betas",)),
    "rmsprop": OptimizerRule(rmsprop, ("momentum",)),
    "muon": OptimizerRule(muon, ("momentum", "nesterov", "betas"), separates_hidden=True),
    "muon_sgd": OptimizerRule(muon_sgd, ("momentum", "nesterov"), separates_hidden=True),
}


# Schedules -------------------------------------------------------------------------------------------------------


def constant(step: int, total: float, warmup: float, lr: float) -> float:
    """Stay at ``lr``."""
    return lr


def falling_steps(
    step: int, total: float, warmup: float, lr: float, milestones: tuple[float, ...], gamma: float
) -> float:
    """Multiply the rate by ``gamma`` at each milestone, a share of the run."""
    drops = sum(step >= milestone * total for milestone in milestones)
    return lr * gamma**drops


def cosine(step: int, total: float, warmup: float, lr: float) -> float:
    """Fall to zero by half a cosine (Loshchilov and Hutter 2017, equation 5 with one period)."""
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def onecycle(step: int, total: float, warmup: float, lr: float, warmup_fraction: float) -> float:
    """Rise linearly for ``warmup_fraction`` of the run, then fall linearly to zero (Smith 2018, section 4)."""
    rise = max(1, round(total * warmup_fraction))
    if step < rise:
        return lr * (step + 1) / rise
    return lr * (total - step) / max(1, total - rise + 1)


SCHEDULES = {
    "constant": Schedule(constant),
    "step": Schedule(falling_steps, ("milestones", "gamma")),
    "cosine": Schedule(cosine),
    "onecycle": Schedule(onecycle, ("warmup_fraction",), warms_up=False),
}


def unused_keys(optimizer: str, schedule: str) -> list[tuple[str, str]]:
    """Return each key that other rules use and these two do not, with the rule that does not use it."""
    chosen, shape = OPTIMIZERS[optimizer], SCHEDULES[schedule]
    of_optimizers = {key for rule in OPTIMIZERS.values() for key in rule.keys}
    of_schedules = {key for rule in SCHEDULES.values() for key in rule.keys}
    unused = [(key, optimizer) for key in sorted(of_optimizers.difference(chosen.keys))]
    unused += [(key, schedule) for key in sorted(of_schedules.difference(shape.keys))]
    return unused if shape.warms_up else [*unused, ("warmup_epochs", schedule)]
