"""Learning-rate range test: raise the rate a little every step and watch the loss.

Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cnnlab.data import Batch, ImageData, Loader
from cnnlab.errors import TrainingError, UsageError
from cnnlab.training import distributed
from cnnlab.training.build import prepare
from cnnlab.training.optim import set_learning_rate
from cnnlab.training.recipe import Recipe
from cnnlab.training.seeding import seeded
from cnnlab.training.step import train_step


@dataclass(frozen=True)
class RangeTest:
    """The result of a learning-rate range test."""

    lrs: np.ndarray  #: the rates that were tried, rising geometrically, (n,)
    losses: np.ndarray  #: the loss of each step, (n,)
    smoothed: np.ndarray  #: the bias-corrected exponential average of the losses, (n,)
    suggestion: float  #: a peak rate to train with


def find_lr(
    recipe: Recipe,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 120,
    data: ImageData | None = None,
) -> RangeTest:
    """Train for up to ``steps`` steps with a rate that rises geometrically from ``lowest`` to ``highest``.

    The test ends when the smoothed loss is four times its best, or not a number. Suggested is a tenth of the rate
    at which the smoothed loss is lowest: there the loss still falls quickly and the edge of divergence is far.

    Raises:
        UsageError: several processes were started for it.
        TrainingError: the loss was not a number from the first step, or it never fell.
    """
    if distributed.world() > 1:  # each would see the losses of its own images, and end at a step of its own
        raise UsageError("The learning-rate range test runs in one process: start it without torchrun.")
    session = prepare(recipe, data)
    lrs: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    rate = (highest / lowest) ** (1 / (steps - 1))
    for step, batch in zip(range(steps), _endless(session.train_loader), strict=False):
        lr = lowest * rate**step
        set_learning_rate(session.optimizer, lr)
        with seeded(session.device, recipe.seed, step):
            session.set_modes()
            loss = float(train_step(session, batch.images, batch.targets, parts=recipe.parts(len(batch)))[0])
        if not math.isfinite(loss):
            break
        average = 0.9 * average + 0.1 * loss
        lrs.append(lr)
        losses.append(loss)
        smoothed.append(average / (1 - 0.9 ** (step + 1)))
        if step > 10 and smoothed[-1] > 4 * min(smoothed):
            break
    if len(lrs) < 10:
        raise TrainingError(
            f"The loss was not a number after {len(lrs)} steps at rates up to {lrs[-1] if lrs else lowest:.1e}. "
            "Check the data, or try precision=fp32."
        )
    best = int(np.argmin(smoothed))
    if best == 0 or smoothed[best] > 0.99 * smoothed[0]:
        raise TrainingError(f"The loss never fell at rates from {lowest:g} to {lrs[-1]:.2g}. Are the labels right?")
    return RangeTest(np.array(lrs), np.array(losses), np.array(smoothed), round_to_1_2_5(lrs[best] / 10))


def _endless(loader: Loader) -> Iterator[Batch]:
    for epoch in itertools.count():
        yield from loader.epoch(epoch)


def round_to_1_2_5(value: float) -> float:
    """Return the nearest of ..., 0.1, 0.2, 0.5, 1, 2, 5, ... on a logarithmic scale: a rate is not known better."""
    exponent = math.floor(math.log10(value))
    candidates = [digit * 10.0**e for e in (exponent, exponent + 1) for digit in (1, 2, 5)]
    return float(f"{min(candidates, key=lambda c: abs(math.log(c / value))):.1g}")
