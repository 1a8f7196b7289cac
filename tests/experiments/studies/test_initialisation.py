"""The initial weights and the gradients of the study ``initialisation``."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from cnnlab.data import load_data
from cnnlab.experiments.bench import probe_images
from cnnlab.experiments.studies.initialisation import gradient_norms, rescale
from cnnlab.training import Recipe, prepare
from cnnlab.zoo import create_model


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
def test_rescaled_weights_have_the_deviation_of_xavier(gain: float) -> None:
    torch.manual_seed(0)
    model = create_model("vgg11_quarter", in_channels=1, image_size=32, options={"init": "torch"})
    rescale(model, gain)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            expected = torch.empty_like(layer.weight)
            nn.init.xavier_uniform_(expected, gain)
            largest = float(expected.abs().max())
            assert float(layer.weight.detach().abs().max()) == pytest.approx(largest, rel=0.05)
            assert float(layer.weight.detach().std()) == pytest.approx(float(expected.std()), rel=0.15)
            assert not layer.bias.any()


def test_gradient_norms_are_those_of_a_backward_pass() -> None:
    data = load_data("mnist5k").limited(train=20, test=8)
    recipe = Recipe(model="lenet5", data="mnist5k", precision="fp32", channels_last=False)
    session = prepare(recipe, data)
    norms = gradient_norms(session)
    assert all(parameter.grad is None for parameter in session.model.parameters())
    assert data.test is not None
    session.model.eval()
    logits = session.model(probe_images(session, 8)).log_softmax(1)
    (-logits[torch.arange(8), data.test.labels].mean()).backward()
    layers = [layer for layer in session.model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert layers[0].weight.grad is not None
    expected = [float((layer.weight.grad**2).sum().sqrt()) for layer in layers]  # type: ignore[operator]
    assert norms == pytest.approx(expected, rel=1e-5)
