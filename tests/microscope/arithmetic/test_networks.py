"""Every network of the zoo, run with values: random numbers of every operation are those of torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnnlab.zoo import list_models
from tests.microscope.arithmetic.checking import check, numbers, smallest


def run(name: str, per_kind: int) -> set[tuple]:
    """Check a network at the smallest size that it takes, with statistics as after a training."""
    model, image = smallest(name)
    settle(model, numbers(8, *image.shape[1:]))
    return set(check(model, image, per_kind))


def settle(model: nn.Module, images: torch.Tensor) -> None:
    """Give every BatchNorm the statistics of some images, as after a training."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
            module.momentum = 1.0
    with torch.no_grad():
        model(images)
    model.eval()


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenet_v3_small"])
def test_numbers_of_a_network(name: str) -> None:
    assert "opaque" not in {how for _, how in run(name, 20)}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list_models())
def test_twenty_numbers_of_every_kind_of_operation_of_every_network(name: str) -> None:
    assert "opaque" not in {how for _, how in run(name, 20)}
