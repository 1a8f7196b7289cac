"""Sizes of networks against sums by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnnlab.experiments.network_size import equal_widths, size_columns
from cnnlab.training import Recipe, prepare


def two_layers(widths: tuple[int, ...]) -> nn.Module:
    return nn.Sequential(nn.Linear(5, widths[0]), nn.Linear(widths[0], widths[1], bias=False))


def test_equal_widths_are_the_multiple_with_the_nearest_number_of_parameters() -> None:
    assert [equal_widths(two_layers, (1, 2), parameters) for parameters in (80, 90, 100, 108)] == [
        (5, 10),
        (5, 11),
        (6, 11),
        (6, 12),
    ]
    # 6 a + a b parameters for widths a and b: 80, 85, 102 and 108.
    base = (8, 16)  # finer steps: the widths are rounded one by one
    tried = {(round(f * 8 / 1000), round(f * 16 / 1000)) for f in range(1, 4000)}
    for parameters in (50, 97, 1000):
        sizes = {widths: 6 * widths[0] + widths[0] * widths[1] for widths in tried if min(widths) > 0}
        least = min(abs(size - parameters) for size in sizes.values())
        widths = equal_widths(two_layers, base, parameters)
        assert abs(sizes[widths] - parameters) == least


def test_equal_widths_allocates_no_weight() -> None:
    devices = set()

    def build(widths: tuple[int, ...]) -> nn.Module:
        model = two_layers(widths)
        devices.update(parameter.device for parameter in model.parameters())
        return model

    equal_widths(build, (1, 1), 1_000_000)
    assert devices == {torch.device("meta")}


def test_size_columns_are_those_of_a_sum_by_hand() -> None:
    settings = {"precision": "fp32", "channels_last": False, "train_limit": 20, "model_options": {"widths": (2, 3, 4)}}
    session = prepare(Recipe.make({"model": "convnet", "data": "mnist5k", "image_size": 8, **settings}, "test"))
    weights = [9 * a * b for a, b in ((1, 2), (2, 2), (2, 3), (3, 3), (3, 4), (4, 4))]
    macs = sum(weight * side**2 for weight, side in zip(weights, (8, 8, 4, 4, 2, 2), strict=True)) + 4 * 10
    parameters = sum(weights) + 2 * (2 + 2 + 3 + 3 + 4 + 4) + 4 * 10 + 10
    columns = size_columns(session)
    assert columns == pytest.approx({"thousand_parameters": parameters / 1e3, "million_multiply_adds": macs / 1e6})
