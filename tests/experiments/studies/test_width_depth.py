"""The sizes of the networks of the study ``width_depth``, counted by hand, and its figure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cnnlab.experiments.equal_size import network_options
from cnnlab.experiments.studies.width_depth import DEPTHS, WidthDepth
from cnnlab.zoo import create_model


def parameters_by_hand(channels: int, convolutions: int, widths: tuple[int, ...]) -> int:
    """3x3 kernels without biases, two numbers per channel for BatchNorm, and a dense layer to 10 classes."""
    total = 10 * (widths[-1] + 1)
    for before, after in zip((channels, *widths), widths, strict=False):
        total += 9 * after * (before + (convolutions - 1) * after) + 2 * convolutions * after
    return total


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("base", [(16, 32, 64), (32, 64, 128)])
def test_the_networks_have_equal_numbers_of_parameters_within_2_percent(base: tuple[int, ...], channels: int) -> None:
    options = network_options(DEPTHS, base, 10, channels)
    assert options["2 per stage"]["widths"] == base
    sizes = {variant: parameters_by_hand(channels, **option) for variant, option in options.items()}
    with torch.device("meta"):
        models = {variant: create_model("convnet", 10, channels, options=options[variant]) for variant in sizes}
    assert sizes == {variant: sum(p.numel() for p in model.parameters()) for variant, model in models.items()}
    assert all(abs(size / sizes["2 per stage"] - 1) < 0.02 for size in sizes.values())
    convolutions = [sum(isinstance(m, nn.Conv2d) for m in model.modules()) for model in models.values()]
    assert convolutions == [3, 6, 12]


def test_the_figure_has_the_convolutions_per_stage_along_its_axis() -> None:
    accuracies = dict(zip(DEPTHS, (0.4, 0.5, 0.45), strict=True))
    rows: list[dict[str, Any]] = [
        {"seed": seed, "variant": variant, "accuracy": accuracy + seed / 50, "thousand_parameters": 73.0,
         "million_multiply_adds": 2.0 + accuracy}
        for seed in (0, 1)
        for variant, accuracy in accuracies.items()
    ]  # fmt: skip
    curves = [{**row, "epoch": 1, "train_loss": 1.0, "loss": 1.0} for row in rows]
    figure = WidthDepth().draw({"results": rows, "curves": curves})["over_depth"]
    accuracy, parameters, multiply_adds = (axes.lines[0].get_ydata() for axes in figure.axes)
    assert figure.axes[0].lines[0].get_xdata() == pytest.approx([1, 2, 4])
    assert accuracy == pytest.approx([0.41, 0.51, 0.46])
    assert parameters == pytest.approx([73, 73, 73])
    assert multiply_adds == pytest.approx([2.4, 2.5, 2.45])


def test_effects_are_percentage_points_of_test_accuracy() -> None:
    measures: dict[str, Any] = {variant: {"accuracy": 0.4} for variant in DEPTHS}
    measures |= {"2 per stage": {"accuracy": 0.5}, "4 per stage": {"accuracy": 0.53}}
    assert [claim.effect(measures) for claim in WidthDepth.claims] == pytest.approx([10, 13, -3])
