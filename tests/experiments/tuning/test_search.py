"""The search: trials are comparable, counted, pruned by the median, repeated when interrupted, shared by processes."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("optuna")

import optuna

from cnnlab.data import ImageData
from cnnlab.errors import RunError, UsageError
from cnnlab.experiments.tuning import Tuning, search, tune
from cnnlab.experiments.tuning.search import Opened, Step, TrialBegun, TrialDone, TrialEvent, Tuned, Waiting
from cnnlab.experiments.tuning.space import make_space
from cnnlab.experiments.tuning.storage import connect, load_study, shown
from cnnlab.experiments.tuning.trials import sign_of_life
from cnnlab.training import EpochDone, Event, Finished, Recipe, Started, fit
from cnnlab.training.build import load_recipe_data
from tests.helpers import tiny_recipe

GRID = {"lr": [0.003, 0.01], "weight_decay": [0.0, 0.1]}
RANGES = {"lr": {"low": 1e-3, "high": 0.1, "log": True}, "batch_size": [16, 32]}


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_WAIT_SECONDS", 0.0)


def tuning(storage: str, content: dict[str, Any], trials: int, sampler: str = "random", **changes: Any) -> Tuning:
    prune = changes.pop("prune", None)
    recipe = tiny_recipe(**({"data": "digits", "epochs": 1, "batch_size": 32, "train_limit": 96} | changes))
    return Tuning(recipe, make_space(content, "space", recipe), trials, "test", storage, sampler, prune)


def finish(steps: Iterator[Step]) -> Tuned:
    *_, last = steps
    assert isinstance(last, Tuned)
    return last


def test_the_best_recipe_gives_its_accuracy_again_on_validation_images(storage: str) -> None:
    events = list(tune(tuning(storage, GRID, 9, "grid", epochs=2)))
    opened, tuned = events[0], events[-1]
    assert isinstance(opened, Opened)
    assert isinstance(tuned, Tuned)
    assert "10% of its training images are held out" in opened.notes[0]
    assert [tuple(row.values.values()) for row in tuned.rows] == [
        (0.003, 0.0), (0.003, 0.1), (0.01, 0.0), (0.01, 0.1),
    ]  # fmt: skip
    assert all(row.state == "completed" for row in tuned.rows)
    splits = [step.event.session.data for step in events if isinstance(step, TrialEvent)]
    assert all(data.test is None for data in splits)
    assert tuned.best is not None
    assert tuned.recipe is not None
    assert tuned.best.accuracy == max(row.accuracy for row in tuned.rows if row.accuracy is not None)
    again = [event for event in fit(tuned.recipe) if isinstance(event, EpochDone)]  # with its test split
    assert again[0].split == "val"
    assert max(event.val_accuracy for event in again) == tuned.best.accuracy
    assert tuned.best.by_epoch == {event.epoch: event.val_accuracy for event in again}


@pytest.mark.parametrize(("fraction", "val"), [(0.0, 4), (0.5, 10)])
def test_the_best_recipe_divides_photos_as_the_trials_did(
    storage: str, tmp_path: Path, fraction: float, val: int
) -> None:
    """A tenth is held out only of data that the reader has not divided itself."""
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    made = tuning(storage, {"lr": [0.01]}, 1, "grid", data=str(tmp_path / "photos"), val_fraction=fraction)
    steps = list(tune(made))
    (data,) = [s.event.session.data for s in steps if isinstance(s, TrialEvent) and isinstance(s.event, Started)]
    assert data.val is not None
    assert len(data.val) == val
    for tuned in (finish(iter(steps)), search.state_of(made)):
        assert tuned.recipe is not None
        again = load_recipe_data(tuned.recipe)
        assert again.val is not None
        assert again.val.names == data.val.names


def test_all_trials_begin_with_the_same_weights_and_images(storage: str) -> None:
    weights, images = [], []
    for step in tune(tuning(storage, GRID, 4, "grid")):
        if isinstance(step, TrialEvent) and isinstance(step.event, Started):
            weights.append(next(step.event.session.model.parameters()).detach().clone())
            images.append(step.event.session.data.train.fingerprint())
    assert len(weights) == 4
    assert all(weight.equal(weights[0]) for weight in weights)
    assert len(set(images)) == 1


def test_a_trial_below_the_median_is_stopped_early(storage: str) -> None:
    rates = [0.01, 0.011, 0.012, 0.013, 0.014, 1e-6]
    tuned = finish(tune(tuning(storage, {"lr": rates}, 6, "grid", epochs=3, prune=True)))
    *usual, last = tuned.rows
    assert [row.state for row in tuned.rows] == ["completed"] * 5 + ["pruned"]
    assert last.epochs == 2, "not in the first third, and then at once"
    assert last.by_epoch is not None
    assert max(last.by_epoch.values()) < median(row.by_epoch[2] for row in usual if row.by_epoch)
    assert finish(tune(tuning(storage, {"lr": rates}, 6, "grid", epochs=3, prune=True))).rows == tuned.rows


@pytest.mark.parametrize(
    ("evaluated", "prune", "state", "epochs"),
    [({4}, True, "completed", 4), ({3, 4}, True, "pruned", 3), ({2}, False, "completed", 4)],
)
def test_only_epochs_that_were_evaluated_are_compared(
    storage: str, monkeypatch: pytest.MonkeyPatch, evaluated: set[int], prune: bool, state: str, epochs: int
) -> None:
    """The made-up accuracy is lr; the sixth trial, the first that may be stopped early, has the lowest."""

    def made_up(recipe: Recipe, *, data: ImageData) -> Iterator[Event]:
        session: Any = SimpleNamespace(recipe=recipe)
        for epoch in range(1, recipe.epochs + 1):
            accuracy = recipe.lr if epoch in evaluated else math.nan
            yield EpochDone(session, epoch, epoch, recipe.lr, 1.0, 0.5, "val", 1.0, accuracy, 0.0, 1.0, False)
        yield Finished(session, "completed", max(evaluated), "val", recipe.lr, 1.0, np.zeros((1, 2)), np.zeros(1))

    monkeypatch.setattr(search, "fit", made_up)
    rates = [0.5, 0.6, 0.7, 0.8, 0.9, 0.1]
    *usual, last = finish(tune(tuning(storage, {"lr": rates}, 6, "grid", epochs=4, prune=prune))).rows
    assert [row.state for row in usual] == ["completed"] * 5
    assert (last.state, last.epochs, last.accuracy) == (state, epochs, 0.1)
    assert last.by_epoch == dict.fromkeys((epoch for epoch in evaluated if epoch <= epochs), 0.1)


def test_a_trial_that_diverges_counts_as_the_worst_and_keeps_its_reason(storage: str) -> None:
    tuned = finish(tune(tuning(storage, {"lr": [1e30, 0.01]}, 2, "grid")))
    diverged, usual = tuned.rows
    assert (diverged.state, diverged.accuracy, diverged.is_done) == ("failed", None, True)
    assert "Try lr=1e+29" in diverged.reason
    assert tuned.best == usual
    assert load_study(storage, "test").trials[0].value == 0.0, "the sampler is to keep away from it"


def test_when_nothing_can_be_trained_there_is_no_best(storage: str) -> None:
    tuned = finish(
        tune(
            tuning(
                storage, {"batch_size": [1, 2]}, 2, "grid", model="resnet20", model_options={}, image_size=8, lr=1e30
            )
        )
    )
    assert [row.state for row in tuned.rows] == ["failed", "failed"]
    assert "BatchNorm" in tuned.rows[0].reason
    assert (tuned.best, tuned.recipe) == (None, None)


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(storage: str, tmp_path: Path) -> None:
    straight = finish(tune(tuning(f"sqlite:///{tmp_path / 'other.db'}", RANGES, 4)))
    steps = tune(tuning(storage, RANGES, 4))
    for step in steps:
        if isinstance(step, TrialEvent) and step.number == 1:
            break
    steps.close()
    states = [trial.state.name for trial in load_study(storage, "test").trials]
    assert states == ["COMPLETE", "FAIL", "WAITING"]
    first, *rest = tune(tuning(storage, RANGES, 4))
    assert isinstance(first, Opened)
    assert first.done == 1
    tuned = finish(iter(rest))
    assert [row.state for row in tuned.rows] == ["completed", "interrupted", *["completed"] * 3]
    done = [row for row in tuned.rows if row.is_done]
    assert [(row.values, row.accuracy) for row in done] == [(row.values, row.accuracy) for row in straight.rows]
    more = finish(tune(tuning(storage, RANGES, 5)))
    assert sum(row.is_done for row in more.rows) == 5


@pytest.mark.parametrize(
    ("worker", "lost"),
    [
        ({"process": 2**22 + 1}, True),  # more than Linux ever gives: as after kill -9
        ({}, False),
        pytest.param({"host": "elsewhere"}, False, marks=pytest.mark.slow),
        pytest.param({"host": "elsewhere", "time": time.time() - 1000}, True, marks=pytest.mark.slow),
    ],
)
def test_a_trial_whose_process_is_gone_is_repeated(storage: str, worker: dict[str, Any], lost: bool) -> None:
    finish(tune(tuning(storage, GRID, 1, "grid")))
    study = load_study(storage, "test")
    trial = study.ask({key: optuna.distributions.CategoricalDistribution(GRID[key]) for key in GRID})
    sign_of_life(trial)
    trial.set_user_attr("worker", study.trials[1].user_attrs["worker"] | worker)
    values = study.trials[1].params
    opened, *rest = tune(tuning(storage, GRID, 2, "grid")) if lost else [next(tune(tuning(storage, GRID, 2, "grid")))]
    assert isinstance(opened, Opened)
    assert opened.repeated == ((1,) if lost else ())
    if lost:
        begun = [step for step in rest if isinstance(step, TrialBegun)]
        assert [(step.number, step.values) for step in begun] == [(2, values)]


def test_two_searches_at_once_share_the_trials(storage: str) -> None:
    both = [tune(tuning(storage, GRID, 4, "grid")) for _ in range(2)]
    steps: list[list[Step]] = [[], []]
    running = {0, 1}
    while running:
        for number in sorted(running):
            step = next(both[number], None)
            if step is None:
                running.discard(number)
            else:
                steps[number].append(step)
    done = [[step.row.number for step in mine if isinstance(step, TrialDone)] for mine in steps]
    assert sorted([*done[0], *done[1]]) == [0, 1, 2, 3]
    assert all(done)
    first, second = (mine[-1] for mine in steps)
    assert isinstance(first, Tuned)
    assert first == second
    assert len({tuple(row.values.values()) for row in first.rows}) == 4


def test_a_search_waits_for_the_trials_of_others_and_takes_over_what_they_leave(storage: str) -> None:
    other, mine = (tune(tuning(storage, GRID, 2, "grid")) for _ in range(2))
    begun = next(step for step in other if isinstance(step, TrialBegun))
    waiting = next(step for step in mine if isinstance(step, Waiting))
    assert waiting.running == 1
    other.close()
    assert [step.values for step in mine if isinstance(step, TrialBegun)] == [begun.values]


def test_searches_at_once_propose_different_values(storage: str) -> None:
    both = [tune(tuning(storage, RANGES, 4, "tpe")) for _ in range(2)]
    values = [next(step.values for step in steps if isinstance(step, TrialBegun)) for steps in both]
    assert values[0]["lr"] != values[1]["lr"]
    for steps in both:
        steps.close()


@pytest.mark.slow
def test_tpe_goes_where_it_is_good(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up accuracy falls with the distance of lr from 0.01, in powers of ten: later trials come near.

    Uniform proposals between 10^-5 and 1 have a median distance of 1.25.
    """

    def accuracy(trial: Any, values: dict[str, Any]) -> float:
        return 1 - abs(math.log10(values["lr"]) + 2) / 4

    def made_up(self: Any, trial: Any, values: dict[str, Any]) -> Iterator[Step]:
        self.study.tell(trial, accuracy(trial, values))
        yield from ()

    monkeypatch.setattr(search._Search, "_train", made_up)
    space = {"lr": {"low": 1e-5, "high": 1, "log": True}}
    tuned = finish(tune(tuning(storage, space, 30, "tpe")))
    distance = [abs(math.log10(row.values["lr"]) + 2) for row in tuned.rows]
    assert median(distance[15:]) < 0.8


def test_another_tuning_does_not_go_on_in_the_same_study(storage: str) -> None:
    first = tuning(storage, GRID, 1, "grid")
    finish(tune(first))
    with pytest.raises(UsageError, match=r"begun with other settings: space lr=.*0\.003, 0\.01.*not.*--out"):
        finish(tune(tuning(storage, GRID | {"lr": [0.1]}, 1, "grid")))
    study = load_study(storage, "test")
    identity = study.user_attrs["cnnlab"]
    study.set_user_attr("cnnlab", identity | {"images": [1, 2]})
    with pytest.raises(UsageError, match=r"other settings: other training or validation images\. Go on"):
        finish(tune(first))
    with pytest.raises(UsageError, match=r"other settings: recipe epochs=1, not 2\. Go on"):
        finish(tune(tuning(storage, GRID, 1, "grid", epochs=2)))
    with pytest.raises(UsageError, match="sampler 'grid', not 'tpe'"):
        finish(tune(dataclasses.replace(first, sampler="tpe")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "trials=0: at least one"),
        ({"sampler": "gird"}, 'Did you mean "grid"?'),
    ],
)
def test_wrong_use(storage: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        dataclasses.replace(tuning(storage, GRID, 1), **changes)
    with pytest.raises(UsageError, match="lr is a range of all numbers"):
        tuning(storage, RANGES, 1, "grid")


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("study.db", UsageError, "no address of a database"),
        ("postgres://me:hush@host/x", UsageError, r'knows no database "postgres"\. Write postgresql\+psycopg'),
        ("sqlite:////nowhere/at/all.db", RunError, "unable to open database file"),
        ("postgresql+psycopg://me:hush@127.0.0.1:1/x", RunError, "refused"),
    ],
)
def test_a_storage_that_cannot_be_reached(url: str, error: type[Exception], message: str) -> None:
    if "psycopg:" in url:
        pytest.importorskip("psycopg")
    started = time.monotonic()
    with pytest.raises(error, match=message) as raised:
        connect(url)
    assert "hush" not in str(raised.value)
    assert time.monotonic() - started < 10


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("a text, and a long one at that, longer than the header of a database")
    with pytest.raises(RunError, match="file is not a database"):
        connect(f"sqlite:///{tmp_path / 'study.db'}")


def test_passwords_are_not_shown() -> None:
    assert shown("postgresql+pg8000://me:hush@host/x?password=hush") == "postgresql+pg8000://me:***@host/x"
