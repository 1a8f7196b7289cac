"""Forecasts from short trials: how long a whole training takes, and the accuracy to expect at its end."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from cnnlab.advisor.task import Task
from cnnlab.advisor.trial import Rates, Trial
from cnnlab.training.recipe import Recipe

# Of the odds of being right, which rise as a power of the time trained: the usual exponent, and how far it may lie
# from it. LeNet-5 on CIFAR-10 had 0.33 (48 % after 28,000 images of a trial, 71 % after the 750,000 of its recipe).
USUAL_SLOPE, SLOPE_SPREAD = 0.35, 0.15
NEAR = 0.02  # accuracy that may be given up for speed or size, besides what chance explains


@dataclass(eq=False)
class Candidate:
    """A network with its settings, and the measurements of it so far."""

    recipe: Recipe  #: settings that the network is trained with
    macs: int  #: multiply-adds of one image
    parameters: int  #: number of parameters for these classes and this image size
    rates: Rates  #: measured or estimated images per second
    start: str = ""  #: description of the weights that the training starts from; empty for random weights
    trials: list[Trial] = field(default_factory=list)  #: short trainings so far
    memory: int | None = None  #: peak memory of a training step in bytes; None when it was not measured

    @property
    def name(self) -> str:
        """The name of the network."""
        return self.recipe.model

    @property
    def label(self) -> str:
        """The name of the network, with the weights it starts from."""
        return f"{self.name} ({self.start})" if self.start else self.name

    @property
    def last(self) -> Trial:
        """The latest and longest trial."""
        return self.trials[-1]

    @property
    def is_frozen(self) -> bool:
        """Whether only the last layer is trained."""
        return self.recipe.freeze == "backbone"


class Forecast:
    """Extrapolates short trials to whole trainings for ``task``.

    Attributes:
        candidates: the networks that are tried; a network is compared with all of them.
        read_seconds: the time in seconds to read an image for the first time.
    """

    def __init__(self, task: Task, candidates: Iterable[Candidate] = ()) -> None:
        self.task, self.candidates, self.read_seconds = task, list(candidates), 0.0

    # --- Time

    def epoch_seconds(self, rates: Rates, train_limit: int | None = None) -> float:
        """Return the time in seconds of an epoch with its evaluation, on at most ``train_limit`` training images."""
        images = self.task.profile
        return (train_limit or images.train) / rates.train + images.each_epoch / rates.infer

    def passes(self, rates: Rates) -> float:
        """Return how many epochs fit into the time for the training."""
        return self.task.request.seconds / self.epoch_seconds(rates)

    def epochs(self, candidate: Candidate) -> int:
        """Return how many epochs to advise: those that fit into the time and are of use."""
        if candidate.is_frozen:
            return candidate.recipe.epochs
        most = self.task.settings.most_epochs
        if candidate.start:
            most = min(most, candidate.recipe.epochs)
        left = self.task.request.seconds - self.read_seconds * self.task.profile.train
        return max(1, min(most, int(left / self.epoch_seconds(candidate.rates, candidate.recipe.train_limit))))

    def seconds(self, candidate: Candidate) -> float:
        """Return the time in seconds of the whole training."""
        images = self.task.profile
        reading = self.read_seconds * (images.train + images.each_epoch)
        if candidate.is_frozen:
            return reading + (images.train + 2 * images.each_epoch) / candidate.rates.infer
        return reading + self.epochs(candidate) * self.epoch_seconds(candidate.rates, candidate.recipe.train_limit)

    # --- Accuracy

    def score(self, trial: Trial) -> float:
        """Return the accuracy by which networks are compared: balanced where classes differ much in size."""
        return trial.balanced_accuracy if self.task.settings.balanced else trial.accuracy

    def chance(self, trial: Trial) -> float:
        """Return the score of naming the same class every time."""
        if self.task.settings.balanced:
            return 1 / self.task.profile.classes
        return float(np.bincount(trial.labels).max() / trial.n)

    def is_guessing(self, trial: Trial) -> bool:
        """Return whether guessing would score as high, within the error of these images."""
        return self.score(trial) - (trial.accuracy - trial.interval[0]) <= self.chance(trial)

    def expected(self, candidate: Candidate) -> float:
        """Return the score to expect of ``candidate`` after its whole training.

        Training all layers of public weights is at least as good as training the last layer of the same weights, when
        there is time, which trials of seconds do not show.
        """
        expected = self.extrapolated(candidate)
        frozen = self.frozen_sibling(candidate)
        return max(expected, self.extrapolated(frozen) - 1e-3) if frozen else expected

    def frozen_sibling(self, candidate: Candidate) -> Candidate | None:
        """For a network that trains all layers of public weights, return the one that trains their last layer only."""
        if not candidate.start or candidate.is_frozen or self.epochs(candidate) < 3:
            return None
        return next((c for c in self.candidates if c.name == candidate.name and c.is_frozen and c.trials), None)

    def extrapolated(self, candidate: Candidate) -> float:
        """Return the score to expect from the candidate's own trials alone."""
        if self.is_guessing(candidate.last):
            return self.score(candidate.last)  # nothing to draw a line through
        points = [(trial.seconds, self.score(trial), trial.n) for trial in candidate.trials]
        seconds = max(self.seconds(candidate), candidate.last.seconds)
        return expected_accuracy(points, seconds, self.chance(candidate.last))

    def ranked(self, some: Iterable[Candidate]) -> list[Candidate]:
        """Return ``some`` of the candidates, the best for the goal first; each must have been tried."""
        goal = self.task.request.goal
        expected = {id(c): self.expected(c) for c in self.candidates if c.trials}
        best = max(expected.values(), default=0.0)

        def rank(candidate: Candidate) -> tuple[bool, float]:
            score = expected[id(candidate)]
            if goal == "accuracy":
                return False, -score
            low, high = candidate.last.interval
            near = score >= best - NEAR - (high - low) / 2
            cost = 1 / candidate.rates.infer if goal == "speed" else float(candidate.parameters)
            return not near, cost if near else -score

        return sorted(some, key=rank)


def expected_accuracy(points: list[tuple[float, float, int]], seconds: float, chance: float) -> float:
    """Return the accuracy to expect after training for ``seconds``, from short trainings of some lengths.

    What is better than guessing, q = (accuracy - chance) / (1 - chance), is taken to rise with time so that the odds
    q / (1 - q) grow as a power of it. The line through the logarithms is fitted by weighted least squares; a normal
    prior holds its slope near :data:`USUAL_SLOPE`, so that two noisy points do not promise the moon.

    Args:
        points: seconds, accuracy and n of each trial; n is the number of images the accuracy was measured on.
        seconds: length of the whole training.
        chance: the accuracy of guessing, 0..1.
    """
    times, accuracies, n = np.array(points, dtype=float).T
    q = np.clip((accuracies - chance) / (1 - chance), 0.5 / n, 1 - 0.5 / n)
    p = chance + q * (1 - chance)
    slope_of_logit = 1 / (q * (1 - q) * (1 - chance))
    weights = n / (p * (1 - p) * slope_of_logit**2)  # 1 / variance of the logit
    x, y = np.log(np.maximum(times, 1e-3)), np.log(q / (1 - q))
    x0, y0 = np.average(x, weights=weights), np.average(y, weights=weights)
    sxx, sxy = weights @ (x - x0) ** 2, weights @ ((x - x0) * (y - y0))
    slope = max(0.0, (USUAL_SLOPE / SLOPE_SPREAD**2 + sxy) / (1 / SLOPE_SPREAD**2 + sxx))
    logit = y0 + slope * (math.log(max(seconds, 1e-3)) - x0)
    return float(chance + (1 - chance) / (1 + math.exp(-logit)))
