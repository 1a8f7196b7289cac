"""Layer outputs on the way to an image, and how a network is opened for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab.errors import DataError, ModelError, UnknownNameError, UsageError
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.generate.extractor import FeatureNetwork, open_network
from cnnlab.runs import Run
from cnnlab.zoo import create_model
from tests.generate.helpers_generate import TinyNet, tiny_network


def test_outputs_are_those_of_the_layers_and_the_rest_does_not_run() -> None:
    """The dense layer would refuse 12x10 pixels; the ReLU in place behind a layer does not change its output."""
    network = tiny_network()
    model, image = network.model, torch.rand(1, 3, 12, 10)
    assert isinstance(model, TinyNet)
    outputs = network.extractor(["conv2", "relu1"])(image)
    normalised = (image - 0.5) / 0.25
    first = model.conv1(normalised).relu()
    torch.testing.assert_close(outputs["relu1"], first)
    torch.testing.assert_close(outputs["conv2"], model.conv2(first))
    assert outputs["conv2"].min() < 0
    assert model.ran_dense == 0
    assert not any(module._forward_hooks for module in model.modules())


def test_an_unknown_layer_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match='Did you mean "conv2"'):
        tiny_network().extractor(["conv22"])
    with pytest.raises(UsageError, match="No layer"):
        tiny_network().extractor([])


def test_a_picture_that_is_too_small_is_refused_with_the_size_that_is_needed() -> None:
    """conv2 halves: 2 x 2 positions need 3 x 3 pixels."""
    network = tiny_network()
    extractor = network.extractor(["conv2"])
    network.check_size(extractor, torch.zeros(1, 3, 3, 3), "The style")
    with pytest.raises(DataError, match=r"The style dots.png has 2 x 1 pixels, and tiny needs about \d+ x \d+"):
        network.check_size(extractor, torch.zeros(1, 3, 1, 2), "The style dots.png")


def test_caffe_weights_see_bgr_of_255_minus_the_means(tmp_path: Path) -> None:
    """The pixel of 0..1 in RGB gives what the untouched weights give for Caffe's input."""
    model = create_model("squeezenet1_1", num_classes=3).eval()
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in model.state_dict().items()})
    network = open_network("squeezenet1_1", tmp_path / "w.npz", inputs="caffe", device="cpu")
    image = torch.rand(1, 3, 20, 24)
    caffe = 255 * image.flip(1) - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    first = model.get_submodule("features.0")
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        torch.testing.assert_close(
            network.extractor(["features.0"])(image)["features.0"], first(caffe), rtol=1e-4, atol=1e-3
        )
    assert network.style_layers == ("features.1", "features.4", "features.6", "features.7")
    assert network.content_layer == "features.3"


@pytest.mark.parametrize(
    ("inputs", "mean", "std"),
    [("imagenet", 0.449, 0.226), ("caffe", 344 / 3 / 255, 1 / 255), ("half", 0.5, 0.5)],
)
def test_a_network_of_grey_images_gets_the_mean_over_the_colours(
    tiny_run: Run, inputs: str, mean: float, std: float
) -> None:
    network = open_network(tiny_run.path, inputs=inputs, device="cpu")
    layer = next(name for name, module in network.model.named_modules() if isinstance(module, nn.Conv2d))
    first, image = network.model.get_submodule(layer), torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(
            network.extractor([layer])(image)[layer], first((image - mean) / std), rtol=1e-4, atol=1e-3
        )


def test_weights_that_do_not_say_their_preprocessing_are_noted(tmp_path: Path) -> None:
    model = create_model("squeezenet1_1", num_classes=3)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    assert "does not say" in open_network("squeezenet1_1", tmp_path / "w.pth", device="cpu").note
    with pytest.raises(UnknownNameError, match='Did you mean "caffe"'):
        open_network("squeezenet1_1", tmp_path / "w.pth", inputs="cafe")


def test_layers_of_other_networks_are_their_stages() -> None:
    network = open_network("resnet18", "random", device="cpu")
    stages = list(create_model("resnet18").stages.values())
    assert network.stage_layers == tuple(stages[:-1])
    assert network.style_layers == tuple(stages[:-2])
    assert network.content_layer in network.style_layers


def test_a_module_that_is_called_stages_names_no_layers() -> None:
    network = FeatureNetwork("own", nn.ModuleDict({"stages": nn.Conv2d(3, 4, 3)}), PixelRange.normalised(0.5, 0.25), 3)
    with pytest.raises(ModelError, match="own has no stages with positions"):
        _ = network.stage_layers
