"""The networks, the shuffled images, the effect and the figures of the study ``architectures``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cnnlab.data import ArraySplit, ImageData, Split
from cnnlab.experiments.studies.architectures import (
    Architectures,
    Linear,
    SmallLeNet,
    advantage_of_order,
    equal_networks,
    shuffled_images,
)


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_networks_have_about_as_many_parameters() -> None:
    digits = {name: parameters(network) for name, network in equal_networks(10, 1, 28).items()}
    assert digits == {
        "linear": 784 * 10 + 10,
        "dense": (784 * 10 + 10) + (10 * 10 + 10),
        "convolutional": (25 * 6 + 6) + (150 * 12 + 12) + (300 * 19 + 19) + (19 * 10 + 10),
    }
    photos = [parameters(network) for network in equal_networks(10, 3, 32).values()]
    assert max(photos) < 1.02 * min(photos)


@pytest.mark.parametrize("size", [16, 28, 32, 64])
def test_the_small_lenet_takes_images_of_all_sizes(size: int) -> None:
    assert SmallLeNet(7, 3, size, units=4)(torch.zeros(2, 3, size, size)).shape == (2, 7)


def digits(count: int) -> ArraySplit:
    pixels = np.random.default_rng(count).integers(0, 256, (count, 1, 8, 8), np.uint8)
    return ArraySplit(torch.from_numpy(pixels), torch.arange(count) % 2)


def pixels_of(split: Split) -> torch.Tensor:
    assert isinstance(split, ArraySplit)
    return split.pixels.flatten(2)  # (N, C, H * W)


def test_all_images_are_shuffled_by_the_same_permutation() -> None:
    data = ImageData("made up", ["a", "b"], digits(6), val=None, test=digits(4), source="made up")
    shuffled = shuffled_images(data, seed=3)
    assert data.test is not None
    assert shuffled.test is not None
    before, after = pixels_of(data.train), pixels_of(shuffled.train)
    # The columns of all images together tell the pixels apart, so that each has one place that it went to.
    order = [int((before[:, 0] == after[:, 0, [place]]).all(0).nonzero()) for place in range(64)]
    assert sorted(order) == list(range(64))
    assert order != list(range(64))
    assert torch.equal(pixels_of(data.test)[:, :, order], pixels_of(shuffled.test))
    assert torch.equal(data.train.labels, shuffled.train.labels)
    assert not torch.equal(pixels_of(shuffled_images(data, seed=4).train), after)
    assert torch.equal(pixels_of(shuffled_images(data, seed=3).train), after)

    network = Linear(2, 1, 8).double()
    logits = network(before.double())
    network.fc.weight.data = network.fc.weight.data[:, order]
    torch.testing.assert_close(network(after.double()), logits)  # a linear network can give the same answers


def test_the_advantage_of_order_is_a_difference_of_differences() -> None:
    accuracy = {"convolutional": 0.95, "dense": 0.88, "convolutional, shuffled": 0.86, "dense, shuffled": 0.89}
    measures: dict[str, Any] = {name: {"accuracy": value} for name, value in accuracy.items()}
    assert advantage_of_order(measures) == pytest.approx(7 - -3)


def test_the_panels_of_the_curves_share_their_scale() -> None:
    start = {variant: 0.2 if "shuffled" in variant else 0.5 for variant in Architectures.variants}
    rows = [
        {"seed": seed, "variant": variant, "epoch": epoch, "accuracy": start[variant] + epoch / 10}
        for seed in (0, 1)
        for variant in Architectures.variants
        for epoch in (1, 2)
    ]
    curves = Architectures().draw({"curves": rows, "pictures": []})["curves"]
    in_order, shuffled = curves.axes
    assert in_order.get_ylim() == shuffled.get_ylim()
    assert [line.get_ydata().tolist() for line in in_order.lines] == [pytest.approx([0.6, 0.7])] * 3  # type: ignore[union-attr]
    assert [line.get_ydata().tolist() for line in shuffled.lines] == [pytest.approx([0.3, 0.4])] * 3  # type: ignore[union-attr]
