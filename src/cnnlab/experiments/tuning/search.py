"""The search itself: trial after trial is proposed, trained, reported and, if worse than the median, stopped early.

All trials share the data, the division into training and validation images, the seed and so the initial weights and
the order of the images: they differ in the tuned settings alone. The test split is taken away before the first trial.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.data import ImageData
from cnnlab.errors import ModelError, RecipeError, TrainingError, UsageError, did_you_mean
from cnnlab.experiments.tuning import trials as records
from cnnlab.experiments.tuning.space import SearchSpace
from cnnlab.experiments.tuning.storage import (
    begun_with,
    connect,
    load_study,
    no_experimental_warnings,
    open_study,
    plain_storage_errors,
    require_optuna,
)
from cnnlab.experiments.tuning.trials import TrialRow, best_of, read_trials
from cnnlab.training import EpochDone, Event, Finished, distributed, fit
from cnnlab.training.build import load_recipe_data
from cnnlab.training.recipe import Recipe

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler

SAMPLERS = ("tpe", "random", "grid")
VAL_FRACTION = 0.1  # where the data have no validation split and the recipe holds nothing out
# The median of fewer trials says little, and the first epochs of a warm-up say nothing about the last.
PRUNE_AFTER_TRIALS = 5
PRUNE_AFTER_SHARE = 1 / 3
_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Tuning:
    """What is to be tuned and how.

    Attributes:
        recipe: the recipe that all trials start from.
        space: the keys that are varied.
        trials: number of trials in total, with those that were done before.
        name: name of the study in the database.
        storage: address of the database.
        sampler: tpe (Bergstra et al. 2011), random, or grid: all combinations.
        prune: whether trials that are worse than the median are stopped early; None: yes, except on a grid.

    Raises:
        UsageError: fewer trials than one, an unknown sampler, or a grid over a range without steps.
    """

    recipe: Recipe
    space: SearchSpace
    trials: int
    name: str
    storage: str
    sampler: str = "tpe"
    prune: bool | None = None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UsageError(f"trials={self.trials}: at least one trial is needed.")
        if self.sampler not in SAMPLERS:
            near = did_you_mean(self.sampler, SAMPLERS)
            raise UsageError(f'There is no sampler "{self.sampler}"; choose {", ".join(SAMPLERS)}. {near}'.strip())
        if self.sampler == "grid":
            self.space.combinations()

    @property
    def total(self) -> int:
        """The number of trials that there can be: no more than combinations, on a grid."""
        return min(self.trials, len(self.space.combinations())) if self.sampler == "grid" else self.trials

    @property
    def prunes(self) -> bool:
        """Whether trials are stopped early."""
        return self.sampler != "grid" if self.prune is None else self.prune


@dataclass(frozen=True)
class Opened:
    """The database is open and the data are loaded.

    Attributes:
        done: number of trials that were done before.
        repeated: numbers of trials whose process was killed; they are done again.
        notes: what the reader should know, a line each.
    """

    done: int
    repeated: tuple[int, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TrialBegun:
    """A trial begins, with its number in the study and its values."""

    number: int
    values: dict[str, Any]


@dataclass(frozen=True)
class TrialEvent:
    """An event of the training of a trial."""

    number: int
    event: Event = field(repr=False)


@dataclass(frozen=True)
class TrialDone:
    """A trial is over.

    Attributes:
        row: the trial.
        best: the best trial of the study so far, also of other processes.
        done: number of trials of the study that are done.
    """

    row: TrialRow
    best: TrialRow | None
    done: int


@dataclass(frozen=True)
class Waiting:
    """All trials that were asked for are begun; other processes are still at ``running`` of them."""

    running: int


@dataclass(frozen=True)
class Tuned:
    """The search is over.

    Attributes:
        rows: all trials of the study.
        best: the best of them; None where none could be trained.
        recipe: the recipe of the best trial.
    """

    rows: list[TrialRow]
    best: TrialRow | None
    recipe: Recipe | None


Step = Opened | TrialBegun | TrialEvent | TrialDone | Waiting | Tuned


def tune(tuning: Tuning) -> Generator[Step, None, None]:
    """Search until the study has as many trials as were asked for; yields what happens, and finally :class:`Tuned`.

    Closing the generator interrupts the running trial, which is repeated when the search goes on.

    Raises:
        UsageError: Optuna is not installed, the address of the storage is wrong, or the study tunes something else.
        RunError: the storage cannot be reached.
        DataError: the data cannot be used.
    """
    require_optuna()
    if distributed.launched():
        raise UsageError(
            "A trial is trained by one process. To use several, start the same command several times on one --storage."
        )
    database = connect(tuning.storage)  # before the data, which may take long
    recipe, data, notes = _held_out(tuning.recipe)
    tuning = replace(tuning, recipe=recipe)
    with plain_storage_errors(tuning.storage):
        study = open_study(database, tuning.name, _identity(tuning, data))
        yield from _Search(tuning, study, data).run(notes)


def state_of(tuning: Tuning) -> Tuned:
    """Return how far a study that exists has come.

    Raises:
        RunError: the storage cannot be reached.
    """
    with plain_storage_errors(tuning.storage):
        return _result(tuning, load_study(tuning.storage, tuning.name))


def _result(tuning: Tuning, study: Study) -> Tuned:
    rows = read_trials(study, tuning.space)
    best = best_of(rows)
    if best is None:
        return Tuned(rows, None, None)
    recipe = tuning.recipe.with_overrides(val_fraction=begun_with(study)["recipe"]["val_fraction"])
    return Tuned(rows, best, tuning.space.apply(recipe, best.values))


def _held_out(recipe: Recipe) -> tuple[Recipe, ImageData, tuple[str, ...]]:
    """Return the recipe, its data with a validation and without a test split, and what there is to say about them."""
    data = load_recipe_data(recipe)
    notes: tuple[str, ...] = ()
    if data.val is None:
        if not recipe.val_fraction:
            recipe = recipe.with_overrides(val_fraction=VAL_FRACTION)
            notes = (
                f"{data.name} has no validation split: {VAL_FRACTION:.0%} of its training images are held out to "
                "compare trials (val_fraction=...)",
            )
        data = data.with_validation(recipe.val_fraction, recipe.seed)
    assert data.val is not None
    notes += (f"trials are compared on {len(data.val):,} validation images; test images are not used",)
    return recipe, replace(data, test=None), notes


def _identity(tuning: Tuning, data: ImageData) -> dict[str, Any]:
    """Return what must be the same when a study goes on or another process joins it."""
    free = {"name", "about", "reproduces", "measured", "data", "data_dir", "device"}
    assert data.val is not None
    return {
        "sampler": tuning.sampler,
        "space": tuning.space.plain(),
        "recipe": {key: value for key, value in tuning.recipe.values().items() if key not in free},
        "images": [data.train.fingerprint(), data.val.fingerprint()],
    }


class _Search:
    """A process that makes trials of a study until there are enough."""

    def __init__(self, tuning: Tuning, study: Study, data: ImageData) -> None:
        import optuna

        self.tuning, self.study, self.data, self.space = tuning, study, data, tuning.space
        study.pruner = optuna.pruners.MedianPruner(
            n_startup_trials=PRUNE_AFTER_TRIALS,
            n_warmup_steps=1 + math.floor(PRUNE_AFTER_SHARE * tuning.recipe.epochs),
        )

    def run(self, notes: tuple[str, ...]) -> Iterator[Step]:
        repeated = tuple(records.repeat_lost(self.study, self.space))
        yield Opened(self._count("completed", "pruned", "failed"), repeated, notes)
        while self._count("completed", "pruned", "failed") < self.tuning.total:
            trial = self._next_trial()
            if trial is None:
                yield Waiting(self._count("running"))
                time.sleep(_WAIT_SECONDS)
                records.repeat_lost(self.study, self.space)
                continue
            yield from self._run(trial)
        yield _result(self.tuning, self.study)

    def _count(self, *states: str) -> int:
        return sum(row.state in states for row in read_trials(self.study, self.space))

    def _next_trial(self) -> Trial | None:
        """Return a trial of this process, or None when all are begun."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        queued = any(trial.state == TrialState.WAITING for trial in trials)
        if not queued and sum(trial.state != TrialState.FAIL for trial in trials) >= self.tuning.total:
            return None
        trial = self.study.ask()
        records.sign_of_life(trial)
        if not records.is_repeat(trial) and self._position(trial) >= self.tuning.total:
            records.give_up(self.study, trial.number)  # another process was faster
            return None
        return trial

    def _position(self, trial: Trial) -> int:
        """Return how many trials before this one count: the same number in a search that was never interrupted."""
        from optuna.trial import TrialState

        before = [other for other in self.study.get_trials(deepcopy=False) if other.number < trial.number]
        return sum(other.state != TrialState.FAIL for other in before)

    def _run(self, trial: Trial) -> Iterator[Step]:
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            with records.alive(trial):
                self.study.sampler = self._sampler(trial)
                values = self.space.suggest(trial)
                yield TrialBegun(trial.number, values)
                yield from self._train(trial, values)
        except UpdateFinishedTrialError:
            pass  # this machine was asleep, and another process repeats what it took for lost
        except BaseException:  # also when the generator is closed
            records.repeat(self.study, trial, self.space)
            raise
        rows = read_trials(self.study, self.space)
        row = next(row for row in rows if row.number == trial.number)
        yield TrialDone(row, best_of(rows), sum(row.is_done for row in rows))

    def _train(self, trial: Trial, values: dict[str, Any]) -> Iterator[TrialEvent]:
        """Train a trial and tell the study how it went."""
        from optuna.trial import TrialState

        started = time.perf_counter()
        accuracy: float | None = None
        result: dict[str, Any] = {}
        failure = ""
        try:
            recipe = self.space.apply(self.tuning.recipe, values)
            with closing(fit(recipe, data=self.data)) as events:  # type: ignore[type-var]
                for event in events:
                    yield TrialEvent(trial.number, event)
                    if isinstance(event, Finished):
                        accuracy = event.accuracy
                        result |= {"kept_epoch": event.kept_epoch, "loss": event.loss}
                    elif isinstance(event, EpochDone):
                        result = {"epochs": event.epoch}
                        if math.isnan(event.val_accuracy):
                            continue  # not evaluated: Optuna would prune a trial of which it knows no number
                        trial.report(event.val_accuracy, event.epoch)
                        if self.tuning.prunes and event.epoch < event.session.recipe.epochs and trial.should_prune():
                            break
        except (TrainingError, ModelError, RecipeError) as error:  # these values do not work; others may
            failure = str(error)
        trial.set_user_attr(records.RESULT, result | {"seconds": time.perf_counter() - started})
        if failure:
            # As the worst of all, not as one that never was: so the sampler keeps away from such values.
            trial.set_user_attr(records.FAILURE, failure)
            accuracy = 0.0
        records.finish(self.study, trial, TrialState.PRUNED if accuracy is None else TrialState.COMPLETE, accuracy)

    def _sampler(self, trial: Trial) -> BaseSampler:
        """Return the sampler of a trial: its random numbers depend on the seed and the trial's position alone.

        So several processes with the same seed propose different values, and a search that was interrupted the same
        ones as one that was not.
        """
        from optuna.samplers import PartialFixedSampler, RandomSampler, TPESampler

        position = self._position(trial)
        seed = int(np.random.SeedSequence((self.tuning.recipe.seed, position)).generate_state(1)[0])
        with no_experimental_warnings():
            if self.tuning.sampler == "tpe":
                return TPESampler(seed=seed, multivariate=True, constant_liar=True)
            if self.tuning.sampler == "random" or records.is_repeat(trial):
                return RandomSampler(seed=seed)
            return PartialFixedSampler(self._combination(trial, position), RandomSampler(seed=seed))

    def _combination(self, trial: Trial, position: int) -> dict[str, Any]:
        """Return the values of a trial on the grid, as the database holds them."""
        from optuna.trial import TrialState

        grid = [self.space.stored(values) for values in self.space.combinations()]
        taken = [
            other.params
            for other in self.study.get_trials(deepcopy=False)
            if other.state != TrialState.FAIL and other.number != trial.number
        ]
        remaining = [values for values in grid if values not in taken]
        return grid[position] if position < len(grid) and grid[position] in remaining else (remaining or grid)[0]
