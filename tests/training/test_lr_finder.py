"""The range test: the curve it draws, the rate it suggests, and that this rate trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cnnlab.data import ArraySplit, ImageData
from cnnlab.errors import TrainingError, UsageError
from cnnlab.training import distributed, fit
from cnnlab.training.lr_finder import find_lr, round_to_1_2_5
from tests.helpers import tiny_recipe


def test_rates_rise_and_the_suggestion_trains(bars_data: ImageData) -> None:
    recipe = tiny_recipe(optimizer="sgd")
    test = find_lr(recipe, data=bars_data)
    ratios = test.lrs[1:] / test.lrs[:-1]
    assert np.allclose(ratios, ratios[0])
    assert test.lrs[0] == 1e-6
    assert len(test.lrs) == len(test.losses) == len(test.smoothed) <= 120
    *_, finished = fit(recipe.with_overrides([f"lr={test.suggestion}", "epochs=8"]), data=bars_data)
    assert finished.accuracy >= 0.9


def test_smoothing_equals_its_formula(bars_data: ImageData) -> None:
    test = find_lr(tiny_recipe(), data=bars_data, steps=30)
    average = 0.0
    for i, loss in enumerate(test.losses):
        average = 0.9 * average + 0.1 * loss
        assert test.smoothed[i] == pytest.approx(average / (1 - 0.9 ** (i + 1)))


def test_it_stops_when_the_loss_explodes(bars_data: ImageData) -> None:
    recipe = tiny_recipe(optimizer="sgd", model_options={"widths": [4, 8, 8], "batch_norm": False})
    test = find_lr(recipe, data=bars_data, highest=1e4)
    assert test.lrs[-1] < 1e4
    assert test.smoothed[-1] > 4 * test.smoothed.min() or len(test.lrs) < 120


def test_labels_that_cannot_be_learned_are_said_to_be(bars_data: ImageData) -> None:
    blank = torch.zeros(48, 1, 8, 8, dtype=torch.uint8)
    data = replace(bars_data, train=ArraySplit(blank, torch.arange(48) % 3))
    recipe = tiny_recipe(model="mlp", model_options={}, batch_size=48)
    with pytest.raises(TrainingError, match="never fell"):
        find_lr(recipe, data=data, highest=1e-4)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.012, 0.01), (0.016, 0.02), (0.03, 0.02), (0.04, 0.05), (0.8, 1.0), (3e-5, 2e-5)]
)
def test_rounding(value: float, expected: float) -> None:
    assert round_to_1_2_5(value) == pytest.approx(expected)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world", lambda: 2)
    with pytest.raises(UsageError, match="runs in one process"):
        find_lr(tiny_recipe())
