"""Weights of a given scale, and the range over scales, against numbers made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from cnnlab.experiments.studies.norm_weight_scale import SCALES, NormWeightScale, draw_weights, over_scales, spread
from cnnlab.zoo import create_model


def test_weights_of_two_scales_are_multiples_of_each_other() -> None:
    models = [
        create_model("mlp", in_channels=1, options={"hidden": (50, 50), "norm": norm}) for norm in ("none", "batch")
    ]
    for model, scale in zip(models, (0.001, 0.1), strict=True):
        draw_weights(model, scale, seed=3)
    small, large = [[m for m in model.modules() if isinstance(m, nn.Linear)] for model in models]
    for one, other in zip(small, large, strict=True):
        torch.testing.assert_close(100 * one.weight, other.weight)
        assert float(other.weight.detach().std()) == pytest.approx(0.1, rel=0.1)
    assert all(not layer.bias.any() for layer in small)  # BatchNorm's layers have no bias
    assert not torch.equal(small[1].weight[0, :10], small[0].weight[0, :10])  # no layer repeats another


def test_another_seed_draws_other_weights() -> None:
    model = create_model("mlp", options={"hidden": (8,)})
    draw_weights(model, 1.0, seed=0)
    before = model.fc.weight.detach().clone()
    draw_weights(model, 1.0, seed=1)
    assert not torch.equal(before, model.fc.weight)


def test_the_spread_is_the_range_over_the_scales_and_a_training_that_diverged_guesses() -> None:
    plain = dict(zip(SCALES, (0.1, 0.1, 0.1, 0.2, 0.3, 0.5, 0.6, 0.3, math.nan), strict=True))
    normed = dict(zip(SCALES, (0.4, 0.4, 0.4, 0.4, 0.45, 0.5, 0.5, 0.4, 0.3), strict=True))
    measures = {
        f"{norm} {scale}": {"train_accuracy": value, "diverged": int(math.isnan(value))}
        for norm, accuracies in (("plain", plain), ("batchnorm", normed))
        for scale, value in accuracies.items()
    }
    assert spread(measures) == pytest.approx(100 * ((0.6 - 0.1) - (0.5 - 0.3)))
    large = NormWeightScale.claims[1].effect
    assert large(measures) == pytest.approx(100 * (0.3 - 0.1))


def test_rows_become_a_line_over_the_scales() -> None:
    rows = [{"seed": seed, "variant": f"plain {scale}", "accuracy": seed + float(scale)}
            for seed in (0, 1) for scale in SCALES[:-1]]  # fmt: skip
    xs, ys = over_scales(rows, "plain", "accuracy")
    assert xs == [float(scale) for scale in SCALES]
    assert ys[1][:2] == pytest.approx([1.0001, 1.0003])
    assert ys[0][-1] == 0.1
