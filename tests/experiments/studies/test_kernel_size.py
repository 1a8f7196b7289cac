"""The sizes of the networks of the study ``kernel_size``, counted by hand, and its figure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cnnlab.experiments.equal_size import network_options
from cnnlab.experiments.studies.kernel_size import BLOCKS, KernelSize
from cnnlab.zoo import create_model


def parameters_by_hand(channels: int, convolutions: int, kernel: int, widths: tuple[int, ...]) -> int:
    """Kernels without biases, two numbers per channel for BatchNorm, and a dense layer to 10 classes."""
    total = 10 * (widths[-1] + 1)
    for before, after in zip((channels, *widths), widths, strict=False):
        total += kernel**2 * after * (before + (convolutions - 1) * after) + 2 * convolutions * after
    return total


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("base", [(16, 32, 64), (32, 64, 128)])
def test_the_networks_have_equal_numbers_of_parameters_within_2_percent(base: tuple[int, ...], channels: int) -> None:
    options = network_options(BLOCKS, base, 10, channels)
    assert options["two 3x3"]["widths"] == base
    sizes = {variant: parameters_by_hand(channels, **option) for variant, option in options.items()}
    with torch.device("meta"):
        models = {variant: create_model("convnet", 10, channels, options=options[variant]) for variant in sizes}
    assert sizes == {variant: sum(p.numel() for p in model.parameters()) for variant, model in models.items()}
    assert all(abs(size / sizes["two 3x3"] - 1) < 0.02 for size in sizes.values())
    for variant, model in models.items():
        kernels = [module.kernel_size for module in model.modules() if isinstance(module, nn.Conv2d)]
        count, _, side = variant.partition(" ")
        assert kernels == [(int(side[0]), int(side[0]))] * 3 * {"one": 1, "two": 2}[count]


def test_the_figure_has_the_sides_of_the_kernels_along_its_axis() -> None:
    accuracies = dict(zip(BLOCKS, (0.5, 0.45, 0.4, 0.3), strict=True))
    rows: list[dict[str, Any]] = [
        {"seed": seed, "variant": variant, "accuracy": accuracy + seed / 50, "thousand_parameters": 73.0,
         "million_multiply_adds": 2.5}
        for seed in (0, 1)
        for variant, accuracy in accuracies.items()
    ]  # fmt: skip
    curves = [{**row, "epoch": 1, "train_loss": 1.0, "loss": 1.0} for row in rows]
    accuracy = KernelSize().draw({"results": rows, "curves": curves})["over_side"].axes[0]
    two, one = (line.get_xydata().tolist() for line in accuracy.lines)  # type: ignore[union-attr]
    assert two == [[1, pytest.approx(0.31)], [3, pytest.approx(0.51)], [7, pytest.approx(0.41)]]
    assert one == [[5, pytest.approx(0.46)]]


def test_effects_compare_with_two_3x3_convolutions() -> None:
    measures: dict[str, Any] = {"two 3x3": {"accuracy": 0.5}, "one 5x5": {"accuracy": 0.47}}
    measures |= {"two 7x7": {"accuracy": 0.52}, "two 1x1": {"diverged": 1}}
    assert [claim.effect(measures) for claim in KernelSize.claims] == pytest.approx([3, -2, 40])
