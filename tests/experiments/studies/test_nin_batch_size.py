"""The settings and the effects of the study ``nin_batch_size``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from cnnlab.data import load_data
from cnnlab.experiments.bench import Bench
from cnnlab.experiments.studies.nin_batch_size import LARGEST, SCALED, SETTINGS, SMALLEST, NINBatchSize, recipes
from cnnlab.experiments.tables import SCALES


@pytest.mark.parametrize("scale", SCALES)
def test_all_batches_see_the_images_equally_often_and_the_scaled_rate_is_proportional(
    scale: str, tmp_path: Path
) -> None:
    data = load_data("mnist5k").limited(train=20, test=20)
    by_variant = recipes(Bench(3, scale, tuple(SETTINGS), data, tmp_path))
    steps = {variant: recipe.epochs * 4096 / recipe.batch_size for variant, recipe in by_variant.items()}
    assert steps[SMALLEST] == 16 * steps[LARGEST]
    assert by_variant[SCALED].lr == pytest.approx(256 / 16 * by_variant[SMALLEST].lr)
    same = [recipe.changed() for recipe in by_variant.values()]
    assert all({**one, "batch_size": 1, "lr": 1} == {**same[0], "batch_size": 1, "lr": 1} for one in same)
    assert same[0]["seed"] == 3


def test_effects() -> None:
    measures: dict[str, Any] = {
        name: {"accuracy": accuracy, "loss_on_training_images": loss}
        for name, accuracy, loss in zip(SETTINGS, (0.4, 0.3, 0.2, 0.38), (1.5, 1.9, 2.1, 1.6), strict=True)
    }
    assert [claim.effect(measures) for claim in NINBatchSize.claims] == pytest.approx([20, -2, 0.6])
    measures[SCALED] = {"diverged": 1}  # counts as guessing
    assert NINBatchSize.claims[1].effect(measures) == pytest.approx(-30)
    measures[SMALLEST] = {"diverged": 1}
    assert math.isnan(NINBatchSize.claims[2].effect(measures))
