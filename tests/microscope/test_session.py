"""The microscope's answers to requests, against torch."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab.data import Preprocess
from cnnlab.errors import DataError, ProtocolError, UnknownNameError, UsageError
from cnnlab.microscope.arithmetic import recompute
from cnnlab.microscope.opening import open_microscope
from cnnlab.microscope.protocol import complete
from cnnlab.microscope.session import Microscope
from cnnlab.runs.classifier import Classifier
from cnnlab.zoo import create_model


def microscope_of(model: nn.Module, *shape: int) -> tuple[Microscope, dict]:
    torch.manual_seed(0)
    microscope = open_microscope(model.eval(), [torch.randn(*shape)])
    image = microscope.handle({"do": "open"})["images"][0]["id"]
    return microscope, {"model": 0, "epoch": None, "image": image, "changes": []}


@pytest.fixture(scope="module")
def resnet() -> tuple[Microscope, dict]:
    torch.manual_seed(1)
    return microscope_of(create_model("resnet20", image_size=28), 3, 28, 28)


def numbers(microscope: Microscope, scene: dict, count: int) -> None:
    """Check random numbers of random nodes: worked out, they are those that torch computed."""
    nodes = microscope.handle({"do": "open"})["models"][0]["graph"]["nodes"]
    chance = random.Random(0)
    for _ in range(count):
        node = chance.choice(nodes)
        at = [chance.randrange(side) for side in [*node["shape"], 1, 1][:3]]
        reply = microscope.handle(complete("number", scene=scene, node=node["id"], at=at))
        assert reply["how"] != "opaque", node
        room = 1e-4 * max(1, abs(reply["torch"]))
        assert reply["value"] == pytest.approx(reply["torch"], abs=room), (node, at)
        assert recompute(reply) == pytest.approx(reply["torch"], abs=room), (node, at)


def test_a_run_opens_with_its_images_and_classes(tiny_run) -> None:
    microscope = open_microscope(tiny_run.path)
    opened = microscope.handle({"do": "open"})
    assert opened["classes"] == tiny_run.classes
    assert opened["images"]
    assert all(image["label"] in range(len(opened["classes"])) for image in opened["images"])
    scene = {"model": 0, "epoch": None, "image": opened["images"][0]["id"], "changes": []}
    answer = microscope.handle(complete("answer", scene=scene))
    pixels = microscope.handle(complete("image", image=scene["image"]))
    classifier = tiny_run.classifier("cpu")
    expected = classifier.logits(torch.from_numpy(pixels["pixels"]).permute(2, 0, 1)[None])[0]
    np.testing.assert_allclose(answer["logits"], expected, rtol=1e-4, atol=1e-4)


def test_layers_and_channels_are_torchs(resnet) -> None:
    microscope, scene = resnet
    _, player = microscope.player()
    recorded: list[torch.Tensor] = []
    conv = player.passes.model.get_submodule("layer2.0.conv1")
    handle = conv.register_forward_hook(lambda module, inputs, output: recorded.append(output[0]))
    image = microscope.handle(complete("image", image=scene["image"]))["input"]
    with torch.no_grad():
        player.passes.model(torch.from_numpy(image)[None])
    handle.remove()
    layer = microscope.handle(complete("layer", scene=scene, node="layer2.0.conv1"))
    maps = recorded[0].numpy()
    restored = layer["low"][:, None, None] + layer["sheet"] / 255 * (layer["high"] - layer["low"])[:, None, None]
    np.testing.assert_allclose(restored, maps, atol=(layer["high"] - layer["low"]).max() / 500)
    np.testing.assert_allclose(layer["strength"], np.abs(maps).mean((1, 2)), rtol=1e-4)
    channel = microscope.handle(complete("channel", scene=scene, node="layer2.0.conv1", channel=5))
    np.testing.assert_allclose(channel["map"], maps[5], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(channel["kernel"], conv.weight[5].detach().numpy())
    assert channel["bias"] is None
    assert channel["field"] == {"size": [17, 17], "stride": [2, 2], "start": [-8, -8], "whole": False}
    assert channel["histogram"]["counts"].sum() == maps[5].size


def test_numbers_are_worked_out(resnet) -> None:
    numbers(*resnet, 60)


def test_a_number_of_a_changed_channel_says_so(resnet) -> None:
    microscope, scene = resnet
    changed = scene | {"changes": [{"node": "conv1", "channel": 2, "factor": -0.5}]}
    plain = microscope.handle(complete("number", scene=scene, node="conv1", at=[2, 3, 4]))
    reply = microscope.handle(complete("number", scene=changed, node="conv1", at=[2, 3, 4]))
    assert reply["torch"] == pytest.approx(-0.5 * plain["torch"], rel=1e-5)
    assert reply["value"] == pytest.approx(reply["torch"], rel=1e-5)
    assert reply["factor"] == -0.5
    numbers(microscope, changed | {"changes": [{"node": "bn1", "channel": 2, "factor": 0.0}]}, 0)
    later = microscope.handle(complete("number", scene=changed, node="layer1.0.conv1", at=[0, 3, 4]))
    assert later["value"] == pytest.approx(later["torch"], abs=1e-4)


def test_values_that_a_view_changes_in_place_are_those_at_the_time() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)
            self.fc = nn.Linear(8, 3)

        def forward(self, images):
            x = self.conv(images)
            x[:, :1].mul_(3)
            return self.fc(torch.relu_(x).flatten(1))

    microscope, scene = microscope_of(Writes(), 1, 4, 4)
    numbers(microscope, scene, 60)


def test_one_logit_is_a_probability_by_the_sigmoid() -> None:
    microscope, scene = microscope_of(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 1)), 1, 4, 4)
    answer = microscope.handle(complete("answer", scene=scene))
    assert answer["top"][0]["probability"] == pytest.approx(1 / (1 + np.exp(-answer["logits"][0])), rel=1e-6)


@pytest.mark.parametrize(
    "last", [[nn.Softmax(1)], [nn.LogSoftmax(1)], [nn.Unflatten(1, (4, 1)), nn.Softmax(1), nn.Flatten()]], ids=str
)
def test_a_network_that_ends_in_softmax_is_not_put_through_it_again(last: list[nn.Module]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 4), nn.Flatten(), *last)
    microscope, scene = microscope_of(model, 3, 4, 4)
    answer = microscope.handle(complete("answer", scene=scene))
    input_ = torch.from_numpy(microscope.handle(complete("image", image=scene["image"]))["input"])[None]
    outputs = model(input_)[0].detach()
    expected = outputs.exp() if isinstance(last[-1], nn.LogSoftmax) else outputs
    np.testing.assert_allclose(answer["probabilities"], expected.numpy(), rtol=1e-5)
    np.testing.assert_allclose(answer["logits"], expected.log().numpy(), atol=1e-5)


def test_a_map_of_a_flipped_image_is_not_laid_over_the_photo() -> None:
    class Flip(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flip(3)

    model = nn.Sequential(nn.Conv2d(3, 4, 3), Flip(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    microscope, scene = microscope_of(model, 3, 8, 8)
    replies = [microscope.handle(complete("channel", scene=scene, node=node, channel=0)) for node in ("0", "2")]
    assert replies[0]["field"]["stride"] == [1, 1]
    assert replies[1]["field"] is None


def test_an_image_is_added_by_its_contents(resnet) -> None:
    microscope, scene = resnet
    pixels = np.random.default_rng(0).integers(0, 255, (28, 28, 3), np.uint8)
    image = microscope.handle(complete("add_image", name="drawn", pixels=pixels))["image"]
    assert image == microscope.handle(complete("add_image", name="again", pixels=pixels))["image"] | {"name": "drawn"}
    np.testing.assert_array_equal(microscope.handle(complete("image", image=image["id"]))["pixels"], pixels)
    other = microscope.handle(complete("answer", scene=scene | {"image": image["id"]}))
    assert not np.allclose(other["logits"], microscope.handle(complete("answer", scene=scene))["logits"])


def test_the_answer_to_a_board_without_a_stroke_is_that_to_the_photo() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 5)).eval()
    preprocess = Preprocess(32, 3, (0.5,) * 3, (0.25,) * 3, resize="crop", crop_fraction=0.875)
    photo = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    microscope = open_microscope(Classifier("crops", "crops", model, preprocess, list("abcde")), [photo])
    image = microscope.handle(complete("open"))["images"][0]["id"]
    board = microscope.handle(complete("image", image=image))["pixels"]
    logits = {}
    for cropped in (True, False):
        added = microscope.handle(complete("add_image", name="painted", pixels=board, cropped=cropped))["image"]
        logits[cropped] = microscope.handle(complete("answer", scene={"image": added["id"]}))["logits"]
    with torch.no_grad():
        expected = model(preprocess(photo))[0].numpy()
    np.testing.assert_allclose(logits[True], expected, rtol=1e-5, atol=1e-6)
    assert np.abs(logits[False] - expected).max() > 0.01


def test_what_is_wrong_is_named(resnet, tmp_path) -> None:
    microscope, scene = resnet
    with pytest.raises(UnknownNameError, match=r"layer2.0.conv9.*layer2.0.conv2"):
        microscope.handle(complete("layer", scene=scene, node="layer2.0.conv9"))
    with pytest.raises(UnknownNameError, match="image"):
        microscope.handle(complete("answer", scene=scene | {"image": "none"}))
    with pytest.raises(UsageError, match="rows 0 to 27, not 28"):
        microscope.handle(complete("number", scene=scene, node="conv1", at=[0, 28, 0]))
    with pytest.raises(UsageError, match="networks 0 to 0, not 3"):
        microscope.handle(complete("answer", scene=scene | {"model": 3}))
    with pytest.raises(ProtocolError, match="comes from no run"):
        microscope.handle(complete("answer", scene=scene | {"epoch": 3}))
    with pytest.raises(UsageError, match="Which images Linear takes is not known"):
        open_microscope(nn.Linear(2, 2))
    with pytest.raises(DataError, match="There is no photo"):
        open_microscope("lenet5", [tmp_path / "none.png"], random=True)
    with pytest.raises(UnknownNameError, match="lenet5"):
        open_microscope("lenet6", random=True)
