"""The convolution with one bias, and the measures of the study ``filter_bias``."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnnlab.data import load_data
from cnnlab.experiments.studies.filter_bias import (
    SharedBias,
    SharedBiasCNN,
    accuracy_with_mean_biases,
    filter_biases,
    same_bias,
)
from cnnlab.training import Recipe, evaluate, prepare
from cnnlab.zoo import create_model


def test_a_shared_bias_is_added_to_every_channel() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 5, padding=2)
    shared = SharedBias(conv)
    nn.init.constant_(shared.shared, 0.75)
    nn.init.constant_(conv.bias, 0.75)  # type: ignore[arg-type]
    images = torch.randn(2, 2, 8, 8)
    assert torch.equal(shared(images), conv(images))
    assert filter_biases(shared).tolist() == [0.75, 0.75, 0.75]
    # Its gradient is the sum over the channels: it is one number for all of them.
    conv(images).square().sum().backward()
    shared(images).square().sum().backward()
    assert float(shared.shared.grad) == pytest.approx(float(conv.bias.grad.sum()))  # type: ignore[arg-type,union-attr]


def test_only_the_biases_of_the_two_networks_differ() -> None:
    torch.manual_seed(1)
    usual = create_model("mnist_cnn")
    torch.manual_seed(1)
    shared = SharedBiasCNN(10, 1, 28)
    for name in ("conv1", "conv2", "fc"):
        assert torch.equal(usual.get_submodule(name).weight, shared.get_submodule(name).weight)  # type: ignore[arg-type]
    assert sum(p.numel() for p in usual.parameters()) - sum(p.numel() for p in shared.parameters()) == 15 + 31


@pytest.mark.parametrize(
    ("layers", "percent"),
    [
        ([[0.0, 0.0, 0.0]], 100),
        ([[0.5, 0.5, 0.5], [-1.0, -1.0]], 100),
        ([[1.0, 1.0, 2.0, 3.0]], 50),
        ([[1.0, 2.0, 3.0, 4.0], [7.0]], 40),
        ([[100.0, 100.5, 0.0, 50.0]], 50),  # a difference of half a hundredth of the largest does not count
    ],
)
def test_the_share_of_filters_with_the_most_frequent_bias(layers: list[list[float]], percent: float) -> None:
    assert same_bias([torch.tensor(layer) for layer in layers]) == pytest.approx(percent)


def test_mean_biases_are_put_into_a_copy() -> None:
    data = load_data("mnist5k").limited(train=20, test=100)
    session = prepare(Recipe(model="mnist_cnn", data="mnist5k", precision="fp32", channels_last=False), data)
    model = session.model
    with torch.no_grad():
        model.conv1.bias.copy_(torch.linspace(-3, 5, 16))  # type: ignore[union-attr,operator]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    accuracy = accuracy_with_mean_biases(session)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    nn.init.constant_(model.conv1.bias, 1.0)  # type: ignore[union-attr,arg-type]
    assert session.val_loader is not None
    logits, labels = evaluate(model, session.val_loader, session.device, session.precision)
    assert accuracy == (logits.argmax(1) == labels).mean()
