"""Losses against formulas in double precision, numbers by hand, and gradients that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from cnnlab.generate.gans.losses import LOSSES, r1_penalty

REAL = np.array([2.0, -0.5, 0.3, 1.7])
FAKE = np.array([-1.0, 0.2, 3.0, -2.5])


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


BY_FORMULA = {
    "vanilla": (
        -np.log(sigmoid(REAL)).mean() - np.log(1 - sigmoid(FAKE)).mean(),
        -np.log(sigmoid(FAKE)).mean(),
    ),
    "least_squares": (0.5 * ((REAL - 1) ** 2).mean() + 0.5 * (FAKE**2).mean(), 0.5 * ((FAKE - 1) ** 2).mean()),
    "hinge": (
        -np.minimum(0, -1 + REAL).mean() - np.minimum(0, -1 - FAKE).mean(),
        -FAKE.mean(),
    ),
}
# The same by hand: real distances from 1 are 1, -1.5, -0.7, 0.7; squares 1, 2.25, 0.49, 0.49; and so on.
BY_HAND = {
    "least_squares": ((4.23 + 1 + 0.04 + 9 + 6.25) / 8, (4 + 0.64 + 4 + 12.25) / 8),
    "hinge": ((1.5 + 0.7) / 4 + (0 + 1.2 + 4) / 4, 0.3 / 4),
}


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_are_their_formulas(name: str) -> None:
    real, fake = torch.from_numpy(REAL), torch.from_numpy(FAKE)
    loss = LOSSES[name]
    values = float(loss.discriminator(real, fake)), float(loss.generator(fake))
    assert values == pytest.approx(BY_FORMULA[name], rel=1e-12)
    if name in BY_HAND:
        assert values == pytest.approx(BY_HAND[name], rel=1e-12)


def test_vanilla_loss_is_the_cross_entropy_of_the_course() -> None:
    real, fake = torch.randn(50, generator=torch.Generator().manual_seed(0)).mul(5).chunk(2)
    ones, zeros = torch.ones(25), torch.zeros(25)
    expected = binary_cross_entropy_with_logits(real, ones) + binary_cross_entropy_with_logits(fake, zeros)
    torch.testing.assert_close(LOSSES["vanilla"].discriminator(real, fake), expected)
    torch.testing.assert_close(LOSSES["vanilla"].generator(fake), binary_cross_entropy_with_logits(fake, ones))


def test_vanilla_loss_of_undecided_and_of_extreme_logits() -> None:
    """At logit 0 it is 2 log 2 and log 2; a logit of 1000 overflows neither the loss nor its gradient."""
    zero, loss = torch.zeros(3), LOSSES["vanilla"]
    assert float(loss.discriminator(zero, zero)) == pytest.approx(2 * math.log(2))
    assert float(loss.generator(zero)) == pytest.approx(math.log(2))
    extreme = torch.tensor([1000.0, -1000.0], requires_grad=True)
    value = loss.discriminator(extreme, extreme)
    value.backward()
    assert value.item() == pytest.approx(1000.0)
    assert extreme.grad is not None
    assert extreme.grad.tolist() == [0.5, -0.5]


def test_penalty_of_a_linear_and_of_a_quadratic_discriminator() -> None:
    """The gradient of w.x is w for any image; that of |x|^2 is 2x."""
    images = torch.arange(8.0).reshape(2, 1, 2, 2)

    class Linear(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1) @ torch.tensor([1.0, -2.0, 0.0, 2.0])

    class Quadratic(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1).square().sum(1)

    assert r1_penalty(Linear(), images).item() == pytest.approx(9 / 2)
    assert r1_penalty(Quadratic(), images).item() == pytest.approx(4 * sum(i * i for i in range(8)) / 2 / 2)


def test_the_penalty_trains_the_weights_and_leaves_the_images_alone() -> None:
    """The penalty of w.x is |w|^2 / 2, so its gradient by the weights is w itself."""
    layer = nn.Linear(4, 1)
    model = nn.Sequential(nn.Flatten(), layer, nn.Flatten(0))
    images = torch.rand(3, 1, 2, 2)
    r1_penalty(model, images).backward()
    torch.testing.assert_close(layer.weight.grad, layer.weight.detach())
    assert images.grad is None
    assert not images.requires_grad
