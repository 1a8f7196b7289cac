"""The shifted images, the effects and the figures of the study ``shift``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab.data import ArraySplit, ImageData
from cnnlab.experiments.studies.shift import Shift, accuracy_on, first_test_images, shifted
from cnnlab.training import Recipe, prepare
from cnnlab.zoo import Network, create_model
from cnnlab.zoo.mixer import Mixer


def test_shifted_images_move_and_zeros_move_in() -> None:
    image = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 3, 3)
    assert shifted(image, 0, 1).tolist() == [[[0, 1, 2], [0, 4, 5], [0, 7, 8]]]
    assert shifted(image, 0, -2).tolist() == [[[3, 0, 0], [6, 0, 0], [9, 0, 0]]]
    assert shifted(image, 1, 0).tolist() == [[[0, 0, 0], [1, 2, 3], [4, 5, 6]]]
    assert shifted(image, -1, 0).tolist() == [[[4, 5, 6], [7, 8, 9], [0, 0, 0]]]
    assert torch.equal(shifted(image, 0, 0), image)


class InkOnTheLeft(Network):
    """Class 1 for images with more ink in the left half than in the right one, otherwise class 0."""

    stages: Mapping[str, str] = {"head": "fc"}

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left = x[..., :14].sum((1, 2, 3)) > x[..., 14:].sum((1, 2, 3))
        return torch.nn.functional.one_hot(left.long(), 10).float()


def test_the_accuracy_on_shifted_images_is_that_of_the_shifted_pixels() -> None:
    pixels = np.zeros((60, 1, 28, 28), np.uint8)
    pixels[..., 4:-4, 4:-4] = np.random.default_rng(0).integers(0, 256, (60, 1, 20, 20))
    split = ArraySplit(pixels, np.arange(60) % 2)
    data = ImageData("made up", [str(digit) for digit in range(10)], split, val=None, test=split, source="made up")
    recipe = Recipe(model="mlp", data="made up", precision="fp32", channels_last=False, device="cpu")
    session = prepare(recipe, data, model=InkOnTheLeft())
    images = first_test_images(session, 50)
    assert len(images) == 50
    accuracies = []
    for right in (0, 4, -4):
        moved = np.roll(pixels[:50], right, axis=-1).astype(float)  # the border is empty, so that nothing comes around
        left = moved[..., :14].sum((1, 2, 3)) > moved[..., 14:].sum((1, 2, 3))
        accuracies.append(accuracy_on(session, ArraySplit(shifted(images.pixels, 0, right), images.labels)))
        assert accuracies[-1] == pytest.approx((left == np.arange(50) % 2).mean())
    assert len(set(accuracies)) > 1


def test_effects_are_differences_of_what_is_lost() -> None:
    lost = {"MLP": 0.4, "LeNet-5": 0.3, "convnet": 0.02, "MLP-Mixer": 0.35}
    measures: dict[str, Any] = {name: {"lost_by_shifts": value, "diverged": 0} for name, value in lost.items()}
    assert [claim.effect(measures) for claim in Shift.claims] == pytest.approx([33, 10, 28, 2])
    measures["convnet"] = {"diverged": 1}
    assert [math.isnan(claim.effect(measures)) for claim in Shift.claims] == [True, False, True, True]


def test_the_networks_have_about_62_thousand_parameters() -> None:
    networks = [
        create_model("mlp", 10, 1, 28, hidden=(77,)),
        create_model("lenet5", 10, 1, 28, activation="relu"),
        create_model("convnet", 10, 1, 28, widths=(15, 30, 60)),
        Mixer(4, 40, 10, 1, 28),
    ]
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert all(61_000 < count < 64_000 for count in counts)
