"""When a training counts as converged, and how epochs are timed, in the study ``dropout_speed``."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from cnnlab.data import load_data
from cnnlab.experiments.bench import Bench
from cnnlab.experiments.studies.dropout_speed import (
    epoch_times,
    percent_shorter,
    record_loss,
    steps_to_converge,
    times_the_steps,
)
from cnnlab.experiments.tables import Row
from cnnlab.training import StepDone, fit, prepare
from tests.helpers import make_bars, tiny_recipe


def losses(*values: float) -> list[Row]:
    return [{"step": 10 * number, "loss": value} for number, value in enumerate(values, 1)]


def test_the_first_step_below_a_tenth_counts() -> None:
    assert steps_to_converge(losses(2.0, 0.1, 0.0999, 0.5, 0.01)) == 30
    assert math.isnan(steps_to_converge(losses(2.0, 0.1)))


def test_effects_are_ratios_and_missing_ones_are_nan() -> None:
    measures: dict[str, Row] = {
        "no dropout": {"steps_to_converge": 100, "milliseconds_per_epoch": 40.0},
        "dropout": {"steps_to_converge": 250, "milliseconds_per_epoch": 50.0},
    }
    assert times_the_steps(measures) == 2.5
    assert percent_shorter(measures) == pytest.approx(-25)
    measures["dropout"] = {"steps_to_converge": math.nan}
    assert math.isnan(times_the_steps(measures))
    assert math.isnan(percent_shorter(measures))


def test_every_network_is_timed_for_as_many_whole_epochs() -> None:
    data = make_bars()
    recipe = tiny_recipe(model="mlp", model_options={"hidden": [8]})
    sessions = {name: prepare(recipe, data) for name in ("a", "b")}
    before = {name: session.epoch for name, session in sessions.items()}
    times = epoch_times(sessions, 3)
    assert [len(seconds) for seconds in times.values()] == [3, 3]
    assert all(second > 0 for seconds in times.values() for second in seconds)
    for name, session in sessions.items():
        assert session.epoch == before[name] + 4  # the first round is not counted
        assert session.step == 0
    # Both saw the same images in the same order: they end with the same weights.
    pairs = zip(sessions["a"].model.parameters(), sessions["b"].model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_recorded_loss_is_that_of_all_training_images_with_all_units(tmp_path: Path) -> None:
    data = load_data("mnist5k").limited(train=200, test=20)
    bench = Bench(0, "tiny", ("dropout",), data, tmp_path)
    recipe = bench.recipe("mlp", model_options={"hidden": (20,), "dropout": 0.5}, batch_size=64, epochs=5)
    for event in fit(recipe, data=data):
        if isinstance(event, StepDone):
            record_loss(bench, "dropout", event)
    session = event.session  # after 20 steps
    images = session.preprocess.normalize(data.train.fetch(torch.arange(200), session.preprocess))
    p = {name: parameter.detach() for name, parameter in session.model.named_parameters()}
    hidden = (images.flatten(1) @ p["hidden.0.0.weight"].T + p["hidden.0.0.bias"]).clamp(min=0)
    log_shares = (hidden @ p["fc.weight"].T + p["fc.bias"]).log_softmax(1)
    rows = [row for _, row in bench.records.rows]
    assert [row["step"] for row in rows] == [10, 20]
    assert rows[1]["loss"] == pytest.approx(-float(log_shares[range(200), data.train.labels].mean()), rel=1e-4)
