"""Weights that come with the package: they are small, they are right as often as they say, and they are found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from cnnlab.data import Preprocess, load_data
from cnnlab.errors import ModelError
from cnnlab.runs import open_classifier
from cnnlab.training import prepare
from cnnlab.zoo import create_model, is_trained_data, located_weights, trained_networks
from tests.helpers import make_bars, tiny_recipe

EACH = [(network, data) for network, by_data in trained_networks().items() for data in by_data]


def test_what_there_is() -> None:
    assert {("lenet5", "mnist"), ("resnet20", "cifar10"), ("convnet", "cifar10")} <= set(EACH)
    assert is_trained_data("cifar10")
    assert not is_trained_data("imagenet")
    assert not is_trained_data(None)


@pytest.mark.parametrize(("network", "data"), EACH)
def test_the_file_is_small_and_in_16_bits(network: str, data: str) -> None:
    folder = trained_networks()[network][data]
    assert (folder / "model.safetensors").stat().st_size <= 2_000_000
    names = {name for name, _ in create_model(network, weights=data).named_parameters()}
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in names} == {"F16"}


@pytest.mark.slow
@pytest.mark.parametrize(("network", "data"), EACH)
def test_it_is_right_as_often_as_it_says(network: str, data: str, real_data: Path) -> None:
    facts = json.loads((trained_networks()[network][data] / "model.json").read_text())
    test = load_data(data, data_dir=real_data / data).test
    assert test is not None
    preprocess = Preprocess.from_dict(facts["preprocess"])
    model, right = create_model(network, weights=data).eval(), 0
    with torch.no_grad():
        for rows in torch.arange(len(test)).split(500):
            images = preprocess.normalize(test.fetch(rows, preprocess))
            right += int((model(images).argmax(1) == test.labels[rows]).sum())
    assert right / len(test) == pytest.approx(facts["metrics"]["accuracy"], abs=0.001)  # it was measured in bf16


def test_other_classes_get_a_new_head() -> None:
    given, changed = create_model("lenet5", weights="mnist"), create_model("lenet5", num_classes=3, weights="mnist")
    assert changed.output.out_features == 3
    torch.testing.assert_close(changed.c3.weight, given.c3.weight)


def test_a_network_without_such_weights_names_those_that_have_some() -> None:
    with pytest.raises(
        ModelError, match=r"No weights of resnet18 for mnist come with cnnlab; .* of lenet5\..* \./mnist"
    ):
        create_model("resnet18", weights="mnist")
    assert located_weights("resnet18", "some/file.pth") == "some/file.pth"


def test_a_network_is_opened_with_its_weights(tmp_path: Path) -> None:
    classifier = open_classifier("lenet5", "cpu")
    assert classifier.about == "lenet5, trained on mnist (10 classes, 99.30% right)"
    one = np.zeros((28, 28), np.uint8)
    one[4:24, 13:16] = 255
    Image.fromarray(one).save(tmp_path / "one.png")
    pixels = classifier.preprocess.pixels(tmp_path / "one.png")
    assert classifier.top(classifier.probabilities(pixels[None])[0], 1)[0][0] == "1"


def test_a_training_starts_from_them_and_normalises_as_they_do() -> None:
    recipe = tiny_recipe(model="lenet5", model_options={}, weights="mnist")
    session = prepare(recipe, make_bars(size=28))
    facts = json.loads((trained_networks()["lenet5"]["mnist"] / "model.json").read_text())
    assert session.preprocess.mean == tuple(facts["preprocess"]["mean"])
    torch.testing.assert_close(session.model.c1.weight, create_model("lenet5", weights="mnist").c1.weight)
    assert any(note.startswith("weights: mnist") for note in session.notes)
