"""The network, the rows and the records of the study ``notebook``."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from cnnlab.data import ImageData, load_data
from cnnlab.data.array_split import ArraySplit
from cnnlab.experiments.studies.notebook import VARIANTS, NotebookCNN, Setting, notebook_data
from cnnlab.zoo import create_model


def numbered(count: int) -> ImageData:
    """Data whose image number i has the pixels (i // 256, i % 256)."""
    numbers = torch.arange(count)
    pixels = torch.stack([numbers // 256, numbers % 256], 1).to(torch.uint8).reshape(count, 1, 1, 2)
    split = ArraySplit(pixels, numbers % 10)
    return ImageData("numbered", [str(label) for label in range(10)], split, None, split, "made up")


def numbers(split: object) -> list[int]:
    assert isinstance(split, ArraySplit)
    high, low = split.pixels.reshape(-1, 2).long().T
    return (high * 256 + low).tolist()  # type: ignore[no-any-return]


def test_the_slices_are_those_of_the_notebook() -> None:
    data, epochs = notebook_data(numbered(60_000), Setting(), 22)
    assert numbers(data.train) == list(range(2000, 10000))
    assert data.test is not None
    assert numbers(data.test) == list(range(23000, 24500))
    assert (epochs, data.val) == (22, None)


@pytest.mark.parametrize(("epochs", "passes"), [(2, 1), (22, 5)])
def test_more_images_take_as_many_steps_and_leave_the_test_images_alone(epochs: int, passes: int) -> None:
    data, more = notebook_data(numbered(60_000), Setting(more=True), epochs)
    assert more == passes
    assert len(data.train) * passes == 8000 * epochs
    assert data.test is not None
    rows = numbers(data.train)
    assert len(set(rows)) == len(rows)
    assert not set(rows) & set(numbers(data.test))
    assert set(range(2000, 10000)) < set(rows)


def test_a_small_set_gives_a_share_of_its_images_in_mixed_order() -> None:
    data, _ = notebook_data(load_data("mnist5k"), Setting(), 2)
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (857, 161)  # 4,500 of 42,000 rows
    assert set(data.train.labels[:100].tolist()) == set(range(10))


def test_the_network_ends_with_a_softmax_that_the_loss_takes_once_more() -> None:
    torch.manual_seed(0)
    twice = NotebookCNN(10, 1, 28, softmax=True)
    once = NotebookCNN(10, 1, 28, softmax=False)
    once.load_state_dict(twice.state_dict())
    images = torch.rand(4, 1, 28, 28)
    logits = once(images)
    assert torch.allclose(twice(images), logits.exp() / logits.exp().sum(1, keepdim=True))
    assert sum(p.numel() for p in twice.parameters()) == sum(p.numel() for p in create_model("mnist_cnn").parameters())
    # The best that is possible, a probability of 1 for the right class, is a loss of log(1 + 9 / e).
    perfect = F.cross_entropy(torch.eye(10), torch.arange(10))
    assert float(perfect) == pytest.approx(math.log(1 + 9 / math.e))
    assert float(perfect) > 1.46


def test_weights_begin_as_pytorch_draws_them() -> None:
    torch.manual_seed(0)
    model = NotebookCNN(10, 1, 28, softmax=True)
    for layer, fan_in in ((model.conv1, 25), (model.conv2, 16 * 25), (model.fc, 32 * 49)):
        bound = 1 / math.sqrt(fan_in)
        assert 0.9 * bound < float(layer.weight.detach().abs().max()) <= bound
        assert 0 < float(layer.bias.detach().abs().max()) <= bound  # type: ignore[union-attr]


def test_each_short_variant_changes_one_thing() -> None:
    usual = Setting()
    changes = {
        name: [key for key, value in vars(setting).items() if value != getattr(usual, key)]
        for name, setting in VARIANTS.items()
    }
    assert {name: keys for name, keys in changes.items() if "long" not in keys} == {
        "as it was": [],
        "one softmax": ["softmax"],
        "shuffled": ["sampling"],
        "more images": ["more"],
        "higher rate": ["lr"],
    }
    assert changes["all mended, 22 epochs"] == ["softmax", "sampling", "more", "lr", "long"]
