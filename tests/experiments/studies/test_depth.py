"""The effects, the initial weights and the figure of the study ``depth``."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from cnnlab.experiments.bench import share_initial_weights
from cnnlab.experiments.studies.depth import DEPTHS, Depth
from cnnlab.training.seeding import seeded
from cnnlab.zoo import create_model


def test_effects_are_differences_of_training_errors_in_percentage_points() -> None:
    measures: dict[str, Any] = {name: {"train_error": 0.5} for name in Depth.variants}
    measures |= {"plain 44": {"train_error": 0.62}, "residual 44": {"train_error": 0.46}}
    plain, residual = (claim.effect for claim in Depth.claims)
    assert plain(measures) == pytest.approx(12)
    assert residual(measures) == pytest.approx(4)
    measures["plain 44"] = {"train_error": math.nan}  # a training that diverged counts as chance
    assert plain(measures) == pytest.approx(40)


def test_plain_and_residual_networks_of_a_depth_begin_with_the_same_weights() -> None:
    models = []
    for shortcuts in (False, True):
        for depth in DEPTHS:
            with seeded(torch.device("cpu"), 3):
                models.append(create_model(f"resnet{depth}", options={"shortcuts": shortcuts}))
    share_initial_weights(models)
    for plain, residual in zip(models[:3], models[3:], strict=True):
        pairs = zip(plain.named_parameters(), residual.named_parameters(), strict=True)
        assert all(one == other and torch.equal(a, b) for (one, a), (other, b) in pairs)


def test_the_figure_over_depth_shows_one_minus_the_training_accuracy() -> None:
    rows = [
        {"seed": seed, "variant": variant, "epoch": epoch, "train_accuracy": epoch / 10 + seed / 100, "accuracy": 0.25}
        for seed in (0, 1)
        for variant in Depth.variants
        for epoch in (1, 2)
    ]
    over_depth = Depth().draw({"curves": rows})["over_depth"]
    training, test = over_depth.axes
    assert [line.get_xdata().tolist() for line in training.lines] == [[20, 32, 44]] * 2  # type: ignore[union-attr]
    assert training.lines[0].get_ydata() == pytest.approx([1 - 0.205] * 3)
    assert test.lines[1].get_ydata() == pytest.approx([0.75] * 3)
