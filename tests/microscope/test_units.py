"""What units respond to: compared with sums over outputs that hooks record, on a tiny run."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab.data import Preprocess
from cnnlab.errors import DataNotFoundError, ProtocolError
from cnnlab.microscope.arithmetic.axes import to_view
from cnnlab.microscope.passes import Player
from cnnlab.microscope.pictures import Pictures
from cnnlab.microscope.samples import Sample, sample_of
from cnnlab.microscope.units import Statistics, Units, measure, unit_classes, unit_top_images
from cnnlab.microscope.visualisation import unit_visualisation
from cnnlab.runs import Classifier, Run
from cnnlab.zoo import create_model, models
from tests.microscope.conftest import never


@pytest.fixture(scope="module")
def sample(tiny_run: Run, classifier: Classifier) -> Sample:
    return sample_of(tiny_run, classifier)


@pytest.fixture(scope="module")
def player(classifier: Classifier, sample: Sample) -> Player:
    return Player(classifier.model, sample.inputs(0, 1))


@pytest.fixture(scope="module")
def statistics(player: Player, sample: Sample) -> Statistics:
    return measure(player, sample, never)


def outputs_of(model: nn.Module, layer: str, images: torch.Tensor) -> np.ndarray:
    """Outputs of a layer for images, by a hook of its own."""
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, i, output: kept.append(output.clone()))
    with torch.no_grad():
        model(images)
    handle.remove()
    return kept[0].numpy()


def test_the_sample_holds_classes_equally_often_and_is_the_same_every_time(
    tiny_run: Run, classifier: Classifier, sample: Sample
) -> None:
    assert len(sample) == 256
    for count in (10, 100, 256):
        _, counts = np.unique(sample.labels[:count], return_counts=True)
        assert len(counts) == 10
        assert counts.max() - counts.min() <= 1
    again = sample_of(tiny_run, classifier)
    assert torch.equal(again.inputs(3, 20), sample.inputs(3, 20))
    assert torch.equal(sample.inputs(250, 300), sample.inputs(250, 256))
    picture = sample.picture(4)
    assert sample.find(picture.id) is picture
    assert sample.find("other") is None
    assert torch.equal(classifier.input(picture.source), sample.inputs(4, 5)[0])


@pytest.mark.parametrize("size", [16, 80])
def test_a_picture_of_a_sample_gives_the_test_input_where_photos_are_cropped(
    tiny_run: Run, classifier: Classifier, size: int
) -> None:
    preprocess = replace(classifier.preprocess, size=size, resize="crop", crop_fraction=0.875)
    cropping = replace(classifier, preprocess=preprocess)
    sample = sample_of(tiny_run, cropping)
    inputs = sample.inputs(0, 5)
    picture = sample.picture(4)
    images = Pictures([picture])
    assert torch.equal(images.views(0, cropping, picture.id)[0], inputs[4:5])
    again = images.add("painted", np.asarray(picture.source), cropping, cropped=True)
    assert again is picture


def test_every_node_is_measured(player: Player, statistics: Statistics) -> None:
    assert list(statistics) == list(player.graph.nodes)
    for address, node in player.graph.nodes.items():
        assert statistics[address].strength.shape == (256, node.shape[0])


def test_mean_per_class_and_correlation(
    classifier: Classifier, sample: Sample, player: Player, statistics: Statistics
) -> None:
    node = next(node for node in player.graph.nodes.values() if node.kind == "conv")
    reply = unit_classes(statistics, sample, node, 1, classifier)
    strength = np.abs(outputs_of(classifier.model, node.id, sample.inputs(0, 256))[:, 1]).mean((1, 2))
    assert sorted(reply["index"]) == list(range(10))
    for position, label in enumerate(reply["index"]):
        is_class = sample.labels == label
        assert reply["count"][position] == is_class.sum()
        assert reply["mean"][position] == pytest.approx(strength[is_class].mean(), rel=1e-5)
        assert reply["correlation"][position] == pytest.approx(np.corrcoef(strength, is_class)[0, 1], abs=1e-5)
    assert (np.diff(reply["correlation"]) <= 0).all()
    assert reply["overall"] == pytest.approx(strength.mean(), rel=1e-5)
    assert f"“{classifier.classes[reply['index'][0]]}”" in reply["sentence"]


def test_top_images_are_the_largest_numbers_and_the_box_holds_what_they_depend_on(
    classifier: Classifier, sample: Sample, player: Player, statistics: Statistics
) -> None:
    convolutions = [node for node in player.graph.nodes.values() if node.kind == "conv"]
    node, channel = convolutions[1], 2
    reply = unit_top_images(statistics, sample, player, node, channel, never)
    images = sample.inputs(0, 256)
    maps = outputs_of(classifier.model, node.id, images)[:, channel]
    largest = maps.max((1, 2))
    order = np.argsort(-largest, kind="stable")[:9]
    np.testing.assert_allclose(reply["values"], largest[order], rtol=1e-5)
    side = images.shape[2]
    for k, position in enumerate(order):
        assert reply["ids"][k] == sample.picture(int(position)).id
        assert reply["labels"][k] == sample.labels[position]
        np.testing.assert_array_equal(reply["pictures"][k], sample.picture(int(position)).source)
        y, x = reply["at"][k]
        assert maps[position, y, x] == pytest.approx(reply["values"][k], rel=1e-5)
        top, left, bottom, right = reply["boxes"][k]
        assert 0 <= top < bottom <= side
        assert 0 <= left < right <= side
        changed = torch.zeros(1, *images.shape[1:])  # everything outside of the box is another image
        changed[:, :, top:bottom, left:right] = images[position, :, top:bottom, left:right]
        again = outputs_of(classifier.model, node.id, changed)[0, channel, y, x]
        assert again == pytest.approx(reply["values"][k], rel=1e-4, abs=1e-5)


def test_operations_without_a_module_are_measured_too(tiny_run: Run, classifier: Classifier, sample: Sample) -> None:
    model = create_model("resnet20", in_channels=1, image_size=sample.inputs(0, 1).shape[2]).eval()
    residual = replace(classifier, model=model)
    player = Player(model, sample.inputs(0, 1))
    statistics = measure(player, sample, never)
    node = next(node for node in player.graph.nodes.values() if node.kind == "add")
    image = sample.inputs(7, 8)
    output = player.result("seventh", image, outputs=[node.id]).outputs[node.id][0]
    torch.testing.assert_close(statistics[node.id].strength[7], output.abs().mean((1, 2)), rtol=1e-4, atol=1e-5)
    assert unit_top_images(statistics, sample, player, node, 0, never)["pictures"].shape[0] == 9
    with pytest.raises(ProtocolError, match=r"is an operation inside .* whose output no module returns") as caught:
        unit_visualisation(residual, player, node, 0, never)
    assert caught.value.kind == "not_found"


def test_the_largest_number_of_a_piece_of_a_split_is_found_in_that_piece(sample: Sample) -> None:
    class Swapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 6, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first, second = self.conv(x).split([2, 4], 1)
            return torch.cat([second, first], 1).mean((2, 3))

    torch.manual_seed(0)
    model = Swapped().eval()
    player = Player(model, sample.inputs(0, 1))
    statistics = measure(player, sample, never)
    node = next(node for node in player.graph.nodes.values() if node.output == 1)
    assert node.shape[0] == 4
    for channel in (1, 3):  # the first piece has a channel 1, and no channel 3
        reply = unit_top_images(statistics, sample, player, node, channel, never)
        maps = outputs_of(model, "conv", sample.inputs(0, 256))[:, 2 + channel]
        order = np.argsort(-maps.max((1, 2)), kind="stable")[:9]
        np.testing.assert_allclose(reply["values"], maps.max((1, 2))[order], rtol=1e-5)
        for position, (y, x), value in zip(order, reply["at"], reply["values"], strict=True):
            assert maps[position, y, x] == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", ["densenet121", "mixer_s16", "convnext_tiny", "se_resnet18"])
@pytest.mark.slow
def test_a_batch_gives_what_single_images_give(name: str, sample: Sample, classifier: Classifier) -> None:
    """Also where the axis of the batch is shared with windows or heads."""
    model = create_model(name, in_channels=1, image_size=models.get(name).facts.min_size).eval()
    images = torch.randn(3, 1, *[models.get(name).facts.min_size] * 2)
    player = Player(model, images[:1])

    class Three(Sample):
        def __init__(self) -> None:
            self.labels, self.split = np.zeros(3, int), "test"

        def __len__(self) -> int:
            return 3

        def inputs(self, start: int, end: int) -> torch.Tensor:
            return images[start:end]

    statistics = measure(player, Three(), never)
    assert len(statistics) >= 0.9 * len(player.graph.nodes)
    for number in range(3):
        outputs = player.result(number, images[number : number + 1], outputs=list(statistics)).outputs
        for address, node in statistics.items():
            single = to_view(outputs[address], player.graph.node(address).layout).abs().flatten(1).mean(1)
            torch.testing.assert_close(node.strength[number], single, rtol=0.01, atol=0.01 * float(single.mean()))


def test_a_channel_that_is_always_zero_says_so(classifier: Classifier, sample: Sample, player: Player) -> None:
    node = next(node for node in player.graph.nodes.values() if node.kind == "conv")
    silent = open_like(classifier)
    with torch.no_grad():
        silent.model.get_submodule(node.id).weight[0] = 0
        if silent.model.get_submodule(node.id).bias is not None:
            silent.model.get_submodule(node.id).bias[0] = 0
    player = Player(silent.model, sample.inputs(0, 1))
    statistics = measure(player, sample, never)
    reply = unit_classes(statistics, sample, node, 0, silent)
    assert "zero everywhere for all 256 images" in reply["sentence"]
    assert not reply["correlation"].any()
    assert "never above zero" in unit_top_images(statistics, sample, player, node, 0, never)["sentence"]


def open_like(classifier: Classifier) -> Classifier:
    return replace(classifier, model=copy.deepcopy(classifier.model))


def test_statistics_are_kept_per_epoch(player: Player, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    units = Units(sample)
    first = units.statistics(player, None, never)
    assert units.statistics(player, None, never) is first
    assert units.statistics(player, 3, never) is not first
    assert units.statistics(player, None, never) is first
    monkeypatch.setattr("cnnlab.microscope.units.KEPT_BYTES", 1)
    assert units.statistics(player, 3, never) is not first
    assert units.statistics(player, None, never) is not first


def test_what_is_not_there_is_said(
    classifier: Classifier, sample: Sample, player: Player, statistics: Statistics
) -> None:
    node = next(iter(player.graph.nodes.values()))
    with pytest.raises(ProtocolError, match=f"has the channels 0 to {node.shape[0] - 1}, not 99") as caught:
        unit_classes(statistics, sample, node, 99, classifier)
    assert caught.value.kind == "not_found"
    with pytest.raises(ProtocolError, match="not 99"):
        unit_top_images(statistics, sample, player, node, 99, never)
    with pytest.raises(ProtocolError, match="not 99"):
        unit_visualisation(classifier, player, node, 99, never)
    with pytest.raises(ProtocolError, match="comes without data"):
        sample_of(None, classifier)


def test_a_run_whose_data_is_gone_says_so(
    tiny_run: Run, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: Any) -> None:
        raise DataNotFoundError("digits is nowhere.")

    monkeypatch.setattr("cnnlab.microscope.samples.load_own_data", gone)
    with pytest.raises(ProtocolError, match=r"The images of run cannot be read: digits is nowhere."):
        sample_of(tiny_run, classifier)


def test_a_visualisation_makes_the_channel_larger(
    classifier: Classifier, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnnlab.microscope.visualisation.SMALL_STEPS", 24)
    for kind in ("conv", "activation", "dense"):
        node = [node for node in player.graph.nodes.values() if node.kind == kind][-1]
        before = {name: tensor.clone() for name, tensor in classifier.model.state_dict().items()}
        reply = unit_visualisation(classifier, player, node, 0, never)
        assert reply["after"] > reply["before"]
        assert reply["picture"].dtype == np.uint8
        assert reply["picture"].shape == (classifier.preprocess.size, classifier.preprocess.size, 1)
        assert reply["answer"]["name"] == classifier.classes[reply["answer"]["index"]]
        after = classifier.model.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
    # The number at the end is that of the channel for the picture, but for the rounding of its pixels.
    image = classifier.input(np.repeat(reply["picture"], 1, axis=2))
    with torch.no_grad():
        assert float(classifier.model(image[None])[0, 0]) == pytest.approx(reply["after"], rel=0.05, abs=0.05)


def test_a_module_that_is_called_twice_has_two_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnlab.microscope.visualisation.SMALL_STEPS", 24)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.act(self.conv(x))
            x = self.act(x - 0.1)
            return self.head(x.mean((2, 3)))

    torch.manual_seed(0)
    model = Twice().eval()
    nn.init.constant_(model.conv.bias, 0.5)
    classifier = Classifier("twice", "", model, Preprocess(8, 1, (0.0,), (1.0,)), ["a", "b"])
    player = Player(model, torch.rand(1, 1, 8, 8))
    first, second = (unit_visualisation(classifier, player, player.graph.node(n), 0, never) for n in ("act", "act#2"))
    assert first["after"] > second["after"] > second["before"]
    nn.init.constant_(model.conv.bias, -100.0)
    player = Player(model, torch.rand(1, 1, 8, 8))
    assert "stayed at zero" in unit_visualisation(classifier, player, player.graph.node("act"), 0, never)["sentence"]


@pytest.mark.parametrize("what", ["classes", "top_images", "visualise"])
def test_whoever_waits_no_more_ends_it_at_once(
    what: str, classifier: Classifier, player: Player, sample: Sample, statistics: Statistics
) -> None:
    asked = 0

    def soon() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    node = next(iter(player.graph.nodes.values()))
    ask = {
        "classes": lambda: measure(player, sample, soon),
        "top_images": lambda: unit_top_images(statistics, sample, player, node, 0, soon),
        "visualise": lambda: unit_visualisation(classifier, player, node, 0, soon),
    }
    with pytest.raises(ProtocolError) as caught:
        ask[what]()
    assert caught.value.kind == "cancelled"
    assert asked == 4
    assert not any(module._forward_pre_hooks for module in classifier.model.modules())
