"""What the ReLUs of a network get, against BatchNorm's own formula, and the change of its spread by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from cnnlab.experiments.studies.batchnorm_cnn import CONVOLUTIONS, relu_inputs, spread_change
from cnnlab.zoo import create_model


def test_relus_behind_batchnorm_get_what_the_images_statistics_make_of_the_convolution() -> None:
    model = create_model("convnet", options={"widths": (4, 4, 4)}).eval()
    nn.init.constant_(model.block1[1].weight, 3.0)
    nn.init.constant_(model.block1[1].bias, -1.0)
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    inputs = relu_inputs(model, images)
    outputs = model.block1[0](images)
    mean, variance = outputs.mean((0, 2, 3), keepdim=True), outputs.var((0, 2, 3), keepdim=True, correction=0)
    by_hand = 3 * (outputs - mean) / torch.sqrt(variance + 1e-5) - 1
    assert len(inputs) == CONVOLUTIONS
    torch.testing.assert_close(inputs["block1.2"], by_hand)
    assert not model.training
    assert torch.equal(model.block1[1].running_mean, torch.zeros(4))  # the network learns nothing from being looked at


def test_relus_without_batchnorm_get_the_output_of_the_convolution() -> None:
    model = create_model("convnet", options={"widths": (4, 4, 4), "batch_norm": False})
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(relu_inputs(model, images)["block1.1"], model.block1[0](images))


def test_the_spread_changes_by_a_factor_up_or_down() -> None:
    rows = [{f"std_{number}": spread for number in range(1, CONVOLUTIONS + 1)} for spread in (1.0, 2.0, 1.0)]
    assert spread_change(rows) == pytest.approx(math.log(2))
    rows[2]["std_1"] = 2.0  # one of twelve changes is gone
    assert spread_change(rows) == pytest.approx(math.log(2) * 11 / 12)
