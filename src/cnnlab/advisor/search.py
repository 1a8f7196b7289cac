"""The search for networks that suit the data, the machine and the time, by short trials.

1. Profile the data: how many images, classes and channels, how large, how imbalanced. That decides the settings
   (:mod:`cnnlab.advisor.task`).
2. Screen: time a moment of training of a network of each paper, and leave out those too slow for the time given. Where
   there is room, the paper's larger networks are taken (:mod:`cnnlab.advisor.screening`).
3. Spread: of those that fit, keep some from the cheapest to the most expensive per image.
4. Halve: train each of them for a few seconds on a stratified sample and evaluate it on held-out images; go on with the
   better half for longer (successive halving: Jamieson and Talwalkar 2016, https://arxiv.org/abs/1502.07943). The most
   expensive one stays to the end, since what learns slowly in seconds may win in minutes.
5. Rank by the accuracy that the trials lead one to expect at the end of the whole training
   (:mod:`cnnlab.advisor.forecast`).

The test split is never used.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any, get_args

import torch

from cnnlab.advisor.advice import Advice, write_advice
from cnnlab.advisor.benchmark import measure_memory
from cnnlab.advisor.forecast import Candidate, Forecast
from cnnlab.advisor.screening import Screening
from cnnlab.advisor.task import AdviceStep, Goal, Request, Task
from cnnlab.advisor.trial import Trial, try_out
from cnnlab.data import Augment, FileSplit, Loader, Preprocess, Split
from cnnlab.errors import CnnlabError, TrainingError, UsageError, did_you_mean
from cnnlab.hardware import busy_note
from cnnlab.training.precision import choose_precision
from cnnlab.training.recipe import Recipe
from cnnlab.training.seeding import seeded
from cnnlab.zoo import create_model

ROUNDS = (0.2, 0.3, 0.5)  # shares of the time for trials
LEAST_HELD_OUT = 64  # images in the first rounds, which only leave out the worst
FROZEN_SHARE = 0.1  # of the budget, for a trial in which the backbone runs over the images only once
MEMORY_SECONDS = 5.0  # to measure the memory of one network


def advise(
    data: str | os.PathLike[str],
    *,
    minutes: float = 10.0,
    goal: Goal = "accuracy",
    budget: float = 120.0,
    **options: Any,
) -> Iterator[AdviceStep | Advice]:
    """Find three networks for ``data``; yields each step that it does, and finally the :class:`Advice`.

    Args:
        data: a name, a folder of photos or a CSV file, as for :func:`cnnlab.load_data`.
        minutes: longest time that the training may take, in minutes.
        goal: ``accuracy``; or ``speed`` (of inference) or ``small`` (few parameters) among those nearly as accurate.
        budget: seconds for the advice itself, about.
        options: settings of every recipe that is tried: ``seed``, ``device``, and how the data are read (``data_dir``,
            ``layout``, ``label_column``, ``file_column``). How much is trained in a trial depends on the speed, so that
            with the same seed the advice is the same again only as far as the machine is as fast again.

    Raises:
        UsageError: minutes, budget or goal make no sense.
        RecipeError: an option is no setting of a recipe, or is wrong.
        DataError: the data cannot be used, or no part of them can be held out.
        TrainingError: no network can be trained on them here.
    """
    if minutes <= 0 or budget < 10:
        raise UsageError(f"minutes={minutes:g}, budget={budget:g}: minutes must be above 0, the budget at least 10 s.")
    if goal not in get_args(Goal):
        near = did_you_mean(goal, get_args(Goal))
        raise UsageError(f'goal="{goal}": {near or "choose accuracy, speed or small."}')
    return _advise(Request(os.fspath(data), 60 * minutes, goal, budget, options))


def _advise(request: Request) -> Generator[AdviceStep | Advice, None, None]:
    task = Task.of(request)
    notes = [*task.settings.notes]
    yield request.step(f"{task.profile.name}: {task.profile.describe()}")
    for note in notes:
        yield request.step(note)
    if busy := busy_note():
        notes.append(busy)
        yield request.step(f"note: {busy}")
    forecast = Forecast(task)
    screening = Screening(forecast)
    forecast.candidates += yield from screening.choose()
    if not forecast.candidates:
        raise TrainingError(f"No network could be timed on {task.profile.name} here. Try device=cpu, or fewer classes.")
    forecast.candidates += screening.pretrained()
    yield from read_once(forecast)
    chosen = yield from Halving(forecast).run()
    yield from measure_candidates(chosen, task)
    yield write_advice(forecast, chosen, [*notes, *screening.notes], screening.summary)


def read_once(forecast: Forecast) -> Iterator[AdviceStep]:
    """Read the photos once, so that the first network tried does not pay for the others, and note how long it took."""
    task = forecast.task
    if not isinstance(task.data.train, FileSplit):
        return
    grey = (0.5,) * task.profile.channels
    preprocess = Preprocess(
        task.settings.image_size, task.profile.channels, grey, grey, resize="crop", crop_fraction=0.875
    )
    count = 0
    start = time.perf_counter()
    for split, augment in ((task.data.train, Augment(**task.settings.augment)), (task.held_out, None)):
        for batch in Loader(split, preprocess, 64, augment=augment).epoch(0):
            count += len(batch)
    forecast.read_seconds = (time.perf_counter() - start) / count
    yield task.request.step(f"{count} photos read, {1 / forecast.read_seconds:,.0f} per second")


class Halving:
    """Tries all candidates of a forecast briefly, the better half for longer, and the best for longest."""

    def __init__(self, forecast: Forecast) -> None:
        self.forecast, self.task, self.request = forecast, forecast.task, forecast.task.request

    def run(self) -> Generator[AdviceStep, None, list[Candidate]]:
        """Make the rounds; return up to three candidates, the best first.

        Raises:
            TrainingError: none of them could be trained.
        """
        budget = self.request.budget
        remaining = self.forecast.candidates
        for number, share in enumerate(ROUNDS):
            seconds = max(0.3 * budget if number == 0 else 0.0, budget - self.request.elapsed - reserve(budget))
            seconds *= share / sum(ROUNDS[number:])
            if number and seconds < len(remaining):
                break  # the rounds before took long: there is no second for each
            remaining = yield from self._round(remaining, seconds, last=number + 1 == len(ROUNDS))
            if not remaining:
                raise TrainingError("No network could be trained on these data; the lines above say why.")
            if number + 1 < len(ROUNDS):
                remaining = survivors(remaining, max(3, math.ceil(len(remaining) / 2)) if number == 0 else 4)
                yield self.request.step(f"round {number + 1}: go on with {', '.join(c.label for c in remaining)}")
        # Those that stayed in as the most expensive or the smallest need not be better than those that went.
        return self.forecast.ranked(c for c in self.forecast.candidates if c.trials)[:3]

    def _round(
        self, candidates: list[Candidate], seconds: float, last: bool
    ) -> Generator[AdviceStep, None, list[Candidate]]:
        """Try each candidate for its share of ``seconds``; return those that could be trained, the best first."""
        complete = [c for c in candidates if c.is_frozen and c.trials and c.last.images == len(self.task.data.train)]
        slot = max(1.0, seconds / max(1, len(candidates) - len(complete)))
        held_out = self.task.held_out if last else self._part_of_held_out(candidates, slot)
        tried = []
        for candidate in candidates:
            if candidate not in complete:  # a complete one was trained on all images, to the end
                yield self.request.step(f"trying {candidate.label}", passing=True)
                try:
                    trial = self._try(candidate, held_out, slot)
                except (CnnlabError, torch.OutOfMemoryError) as error:
                    yield self.request.step(f"  {candidate.label} is left out: {error}")
                    continue
                candidate.trials.append(trial)
                candidate.rates = trial.rates
                yield self.request.step(
                    f"  {candidate.label}: {self.forecast.score(trial):.1%} of {trial.n} after {trial.seconds:.1f} s, "
                    f"{trial.rates.train:,.0f} images/s"
                )
            tried.append(candidate)
        return self.forecast.ranked(tried)

    def _part_of_held_out(self, candidates: list[Candidate], slot: float) -> Split:
        """Return as many held-out images as the slowest network evaluates in a third of its time."""
        slowest = min((c.rates.infer for c in candidates if not c.is_frozen), default=math.inf)
        count = max(LEAST_HELD_OUT, slowest * slot / 3)
        if count >= len(self.task.held_out):
            return self.task.held_out
        seed = self.request.recipe.seed
        part = replace(self.task.data, val=self.task.held_out).limited(val=int(count), seed=seed).val
        assert part is not None
        return part

    def _try(self, candidate: Candidate, held_out: Split, slot: float) -> Trial:
        """Train ``candidate`` for about ``slot`` seconds and evaluate it on ``held_out``."""
        if candidate.is_frozen:
            held_out, slot = self.task.held_out, max(slot, FROZEN_SHARE * self.request.budget)
        start = time.perf_counter()
        if candidate.trials:
            settings = {key: getattr(candidate.last.resolved, key) for key in ("precision", "channels_last")}
            overhead = 0.2
        else:
            settings, overhead = self._settings(candidate.recipe, slot)
        recipe = candidate.recipe.model_copy(update=settings | {"device": str(self.task.device)})
        left = slot - (time.perf_counter() - start)
        return try_out(recipe, self.task.data, held_out, candidate.rates, left, overhead=overhead)

    def _settings(self, recipe: Recipe, slot: float) -> tuple[dict[str, str | bool], float]:
        """Return precision and memory layout as keys of a recipe, and the seconds that building the network took."""
        images, size, device = self.task.profile, self.task.image_size(recipe), self.task.device
        start = time.perf_counter()
        with seeded(device, recipe.seed):
            model = create_model(recipe.model, images.classes, images.channels, size, options=recipe.model_options)
            model = model.to(device)
        built = time.perf_counter() - start
        shape = (images.channels, size, size)
        precision = choose_precision(recipe, model, shape, images.classes, device, budget=min(0.6, 0.2 * slot))
        return precision.keys, built


def survivors(ranked: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return the best ``count`` candidates, with the most expensive one and a small one in the last two positions.

    The most expensive one may need more time than it had; a small one has at most a third of the best one's parameters.
    """
    remaining = list(ranked[:count])
    expensive = min(ranked, key=lambda candidate: candidate.rates.train)
    small = [candidate for candidate in ranked[1:] if 3 * candidate.parameters <= ranked[0].parameters]
    for extra, position in ((expensive, -1), (small[0] if small else expensive, -2)):
        if extra not in remaining and len(remaining) >= 3:
            remaining[position] = extra
    return remaining


def reserve(budget: float) -> float:
    """Return the seconds of the budget that are kept for measuring memory."""
    return 3 * MEMORY_SECONDS if budget >= 60 else 0.0


def measure_candidates(chosen: list[Candidate], task: Task) -> Iterator[AdviceStep]:
    """Measure the memory of the chosen networks' training steps, as far as the time suffices."""
    request = task.request
    for candidate in chosen:
        yield request.step(f"measuring the memory of {candidate.label}", passing=True)
        if not reserve(request.budget) or request.elapsed > request.budget - MEMORY_SECONDS:
            return
        recipe = candidate.last.resolved.model_copy(update={"batch_size": candidate.recipe.batch_size})
        try:
            candidate.memory = measure_memory(recipe, task.profile.classes, time_limit=4 * MEMORY_SECONDS)
        except TrainingError as error:
            yield request.step(f"  memory was not measured: {error}")
