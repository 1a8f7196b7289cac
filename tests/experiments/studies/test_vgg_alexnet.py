"""The counts, the network with large kernels and the effects of the study ``vgg_alexnet``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnnlab.experiments.studies import vgg_alexnet
from cnnlab.experiments.studies.vgg_alexnet import (
    ALEXNET,
    LARGE,
    VGG16,
    VGGAlexNet,
    large_kernels,
    networks,
    times_in_turn,
    training_pass,
)
from cnnlab.zoo import models


def test_the_counts_in_the_text_are_those_of_the_networks() -> None:
    vgg, alexnet = models.get("vgg16").facts, models.get("alexnet").facts
    hidden = 4096 * 4096 + 4096 * 1000  # a weight of a dense layer is used once for a photo
    dense, biases = {"vgg": 512 * 7 * 7 * 4096 + hidden, "alexnet": 256 * 6 * 6 * 4096 + hidden}, 2 * 4096 + 1000
    # Side of the maps, side of the kernel, channels that go in and out.
    stages = [(224, 5, 3, 64), (112, 5, 64, 128), (56, 7, 128, 256), (28, 7, 256, 512), (14, 7, 512, 512)]
    convolutions = sum((kernel**2 * before + 1) * after for _, kernel, before, after in stages)
    assert convolutions == sum(parameter.numel() for parameter in large_kernels(3).parameters())
    large_parameters = convolutions + dense["vgg"] + biases
    large_macs = dense["vgg"] + sum(side**2 * kernel**2 * a * b for side, kernel, a, b in stages)
    about = VGGAlexNet.about
    for count in (vgg.parameters, alexnet.parameters, large_parameters):
        assert f"{count / 1e6:.0f} million" in about
    assert f"{vgg.macs / 1e9:.1f} billion multiply-adds for a photo" in about
    assert f"again {large_macs / 1e9:.1f} billion multiply-adds" in about
    assert f"{alexnet.macs / 1e9:.2f} billion" in about
    assert f"{vgg.parameters / alexnet.parameters:.1f} times as many" in about
    assert f"{vgg.macs / alexnet.macs:.0f} times as many" in about
    shares = [(dense["vgg"] + biases) / vgg.parameters, (dense["alexnet"] + biases) / alexnet.parameters]
    assert f"dense layers ({100 * shares[0]:.0f} and {100 * shares[1]:.0f} %)" in about
    shares = [1 - dense["vgg"] / vgg.macs, 1 - dense["alexnet"] / alexnet.macs]
    assert f"convolutions ({100 * shares[0]:.0f} and {100 * shares[1]:.0f} %)" in about


def test_large_kernels_see_as_far_as_the_small_ones_that_they_replace() -> None:
    # The first two stages of VGG-16, each of two convolutions.
    small = [nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 64, 3, padding=1), nn.AvgPool2d(2)]
    small += [nn.Conv2d(64, 8, 3, padding=1), nn.Conv2d(8, 128, 3, padding=1), nn.AvgPool2d(2)]
    large = [nn.AvgPool2d(2) if isinstance(layer, nn.MaxPool2d) else layer for layer in large_kernels(3)[:6]]
    pixels = []
    for layers in (nn.Sequential(*small), nn.Sequential(*large)):
        for parameter in layers.parameters():
            nn.init.constant_(parameter, 0.01)  # positive, so that no ReLU hides a pixel
        image = torch.ones(1, 3, 32, 32, requires_grad=True)
        layers(image)[0, 0, 4, 4].backward()
        assert image.grad is not None
        pixels.append(image.grad[0].abs().sum(0) > 0)
    assert 1 < int(pixels[0].sum()) < 32 * 32
    assert torch.equal(*pixels)


def test_a_pass_leaves_the_gradient_of_one_photo() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    photo, label = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([2])
    run = training_pass(model, photo, label)
    run()
    run()  # gradients of an earlier pass do not count
    error = F.linear(photo.flatten(1), model[1].weight, model[1].bias).softmax(1).detach()
    error[0, 2] -= 1
    torch.testing.assert_close(model[1].weight.grad, error.T @ photo.flatten(1))


def test_the_networks_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg_alexnet, "SECONDS", 0.0)  # one call in a round
    calls: list[str] = []
    times = times_in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert "".join(calls) == "ab" + "ab" + "ba"  # the first two are not counted
    assert [len(seconds) for seconds in times.values()] == [2, 2]
    assert all(second > 0 for seconds in times.values() for second in seconds)


def test_networks_depend_on_the_seed_alone() -> None:
    one, again, other = (networks((VGG16,), seed, 1, 32)[VGG16].state_dict() for seed in (0, 0, 1))
    assert torch.equal(one["features.0.weight"], again["features.0.weight"])
    assert not torch.equal(one["features.0.weight"], other["features.0.weight"])


def test_effects_are_ratios_of_times() -> None:
    measures: dict[str, Any] = {
        ALEXNET: {"milliseconds_per_photo": 100.0, "picoseconds_per_multiply_add": 200.0},
        VGG16: {"milliseconds_per_photo": 800.0, "picoseconds_per_multiply_add": 50.0},
        LARGE: {"milliseconds_per_photo": 1000.0, "picoseconds_per_multiply_add": 60.0},
    }
    assert [claim.effect(measures) for claim in VGGAlexNet.claims] == pytest.approx([8, -5, 75, -20])
