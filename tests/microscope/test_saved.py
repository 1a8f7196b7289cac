"""Saved pages: what is in them, and that the page computes what Python does."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.data import Preprocess
from cnnlab.microscope import saved
from cnnlab.microscope.opening import open_microscope
from cnnlab.microscope.program import program_of
from cnnlab.microscope.protocol import complete, decode, key
from cnnlab.microscope.saved import COMPLETE_BYTES, save_page
from cnnlab.microscope.saved_recorder import Contents, Recorder
from cnnlab.microscope.session import Microscope
from cnnlab.runs.classifier import Classifier
from tests.microscope.conftest import until


class Everything(nn.Module):
    """A network with an operation of every kind that a page computes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, (3, 5), stride=2, padding=(1, 3), dilation=(1, 2))
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=4)
        self.gate = nn.Conv2d(12, 12, 1)
        self.dense = nn.Linear(12 * 3 * 3, 10, bias=False)
        self.last = nn.Linear(10, 4)
        self.norm.running_mean.normal_()  # type: ignore[union-attr]
        self.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.norm(self.first(x)))
        x = F.max_pool2d(x, 3, 2, padding=1, ceil_mode=True)
        x = x + 0.5 * F.gelu(self.depthwise(x))
        x = F.leaky_relu(self.grouped(x), 0.1)
        x = x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        x = torch.cat([F.avg_pool2d(x, 3, 2, padding=1, ceil_mode=True), F.max_pool2d(x, 3, 2, 1)], 1)
        x = F.adaptive_avg_pool2d(x[:, ::2], 3) - x.mean((2, 3), keepdim=True)[:, 1::2]
        x = F.relu6(self.dense(x.flatten(1)))
        return F.log_softmax(self.last(x), 1)


@pytest.fixture(scope="module")
def everything() -> Microscope:
    torch.manual_seed(0)
    return open_microscope(Everything().eval(), [torch.randn(3, 33, 33), torch.randn(3, 33, 33)])


@pytest.fixture(scope="module")
def shares() -> Microscope:
    """A network that ends in softmax, with a move after it."""
    torch.manual_seed(0)
    end = (nn.Flatten(), nn.Linear(4 * 14 * 14, 5), nn.Softmax(1), nn.Unflatten(1, (5, 1)), nn.Flatten())
    return open_microscope(nn.Sequential(nn.Conv2d(3, 4, 3), *end).eval(), [torch.randn(3, 16, 16)])


@pytest.mark.parametrize("shapes", [[(3, 32, 20)], [(3, 24, 24), (3, 20, 24)], [(2, 24, 24)]])
def test_images_that_the_page_cannot_take_are_recorded(shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    microscope = open_microscope(
        nn.Sequential(nn.Conv2d(shapes[0][0], 4, 3), *pool).eval(), list(map(torch.rand, shapes))
    )
    assert program_of(microscope) is None
    _, notes = save_page(microscope, tmp_path / "page.html")
    assert f"{len(shapes)} image" in notes[0]


@pytest.fixture(scope="module")
def lenet() -> Microscope:
    torch.manual_seed(0)
    return open_microscope("lenet5", random=True)


def data_of(page: Path) -> dict[str, Any]:
    """Return what the element with the data of a saved page holds."""
    (packed,) = re.findall(r'<script type="text/plain" id="saved">(.*)</script>', page.read_text(encoding="utf-8"))
    return decode(zlib.decompress(base64.b64decode(packed), wbits=-15), limit=10**9)


def replies_of(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: decode(data["replies"][start:end].tobytes()) for name, (start, end) in data["keys"].items()}


# What is in a page ---------------------------------------------------------------------------------------------------


def test_a_small_network_is_saved_with_its_weights(lenet: Microscope, tmp_path: Path) -> None:
    size, notes = save_page(lenet, tmp_path / "page.html")
    assert size == (tmp_path / "page.html").stat().st_size < COMPLETE_BYTES
    assert "holds its weights" in notes[0]
    data = data_of(tmp_path / "page.html")
    (program,) = data["programs"].values()
    weights = [step["weight"]["array"] for step in program["steps"] if "weight" in step]
    model = lenet.subjects[0].classifier.model
    assert sum(array.size for array in weights) == sum(p.numel() for p in model.parameters() if p.dim() > 1)
    replies = replies_of(data)
    opened = replies[key(complete("open"))]
    assert set(data["pictures"]) == {image["id"] for image in opened["images"]}
    assert opened["can"] == {"upload": True, "explain": True, "top_images": False, "visualise": False}
    assert "comes without data" in opened["saved"]["units"]
    assert "--visualise 20" in opened["saved"]["visualisations"]


def test_a_page_has_the_scored_explanations_of_its_images(lenet: Microscope, tmp_path: Path) -> None:
    save_page(lenet, tmp_path / "page.html")
    replies = replies_of(data_of(tmp_path / "page.html"))
    opened = replies[key(complete("open"))]
    names = [method["name"] for method in lenet.handle(complete("open"))["explanations"]]
    assert [method["name"] for method in opened["explanations"]] == names
    for image in opened["images"]:
        request = complete("explanation", scene={"image": image["id"]}, method="occlusion")
        own, other = replies[key(request)], lenet.handle(request)
        spread = own["map"]["high"] - own["map"]["low"]
        values = own["map"]["low"] + own["map"]["levels"] / 255 * spread
        assert np.allclose(values, other["map"], atol=spread / 500)
        assert own["scores"] == pytest.approx(other["scores"])
        assert own["target_name"] == other["target_name"]


@pytest.mark.slow
def test_a_page_has_top_images_and_classes_of_every_unit_of_a_small_network(digits: Microscope, tmp_path: Path) -> None:
    save_page(digits, tmp_path / "page.html", visualise=3)
    assert (tmp_path / "page.html").stat().st_size < COMPLETE_BYTES
    data = data_of(tmp_path / "page.html")
    replies = replies_of(data)
    opened = replies[key(complete("open"))]
    assert all(opened["can"].values())
    assert opened["saved"]["units"] == "This file has the top images and classes of every unit."
    scene = {"image": opened["images"][0]["id"]}
    for node in opened["models"][0]["graph"]["nodes"]:
        channel = node["shape"][0] - 1
        for part in ("classes", "top_images"):
            request = complete("unit", scene=scene, node=node["id"], channel=channel, part=part)
            own, other = replies[key(request)], digits.handle(request)
            for name in own:
                assert (
                    np.allclose(own[name], other[name], rtol=1e-5)
                    if name == "values"
                    else np.all(own[name] == other[name])
                ), (node["id"], part, name)
        pictures = np.stack([data["pictures"][address]["pixels"] for address in own["ids"]])
        assert np.array_equal(pictures, other["pictures"])
    made = [json.loads(name) for name in replies if '"part":"visualise"' in name]
    assert [(one["node"], len(replies[key(one)]["picture"]["pixels"])) for one in made] == [
        ("act1", 28), ("s2", 28), ("act3", 28),
    ]  # fmt: skip


@pytest.mark.slow
def test_images_are_kept_once(digits: Microscope, tmp_path: Path) -> None:
    save_page(digits, tmp_path / "page.html")
    pictures = data_of(tmp_path / "page.html")["pictures"]
    contents = {picture["pixels"].tobytes() for picture in pictures.values()}
    assert len(contents) == len(pictures)
    assert not any("input" in picture for picture in pictures.values())


def test_inputs_that_pixels_do_not_give_are_kept(everything: Microscope, tmp_path: Path) -> None:
    save_page(everything, tmp_path / "page.html")
    for address, picture in data_of(tmp_path / "page.html")["pictures"].items():
        assert np.array_equal(picture["input"], everything.handle(complete("image", image=address))["input"])


def test_of_a_larger_network_replies_are_recorded(
    lenet: Microscope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "program_of", lambda *arguments: None)
    _, notes = save_page(lenet, tmp_path / "page.html")
    assert notes[0].endswith("It has 2 images with every layer, and of each layer the 4 strongest channels.")
    data = data_of(tmp_path / "page.html")
    assert data["programs"] is None
    replies = replies_of(data)
    opened = replies[key(complete("open"))]
    scene = {"image": opened["images"][1]["id"]}
    for node in opened["models"][0]["graph"]["nodes"]:
        layer = replies[key(complete("layer", scene=scene, node=node["id"]))]
        strongest = int(np.argmax(layer["strength"]))
        channel = replies[key(complete("channel", scene=scene, node=node["id"], channel=strongest))]
        assert channel["map"].dtype == np.float16
        assert max(layer["sheet"].shape[1:]) <= 32
        assert np.abs(channel["map"].astype(float)).mean() == pytest.approx(layer["strength"][strongest], rel=1e-3)
    contents = saved.recorded_contents(Recorder(lenet, lenet.handle(complete("open"))), most_bytes=1)
    assert contents.notes[0].endswith("It has 1 of 2 images with every layer, and of each layer the strongest channel.")


def test_a_page_asks_nothing_from_anywhere(lenet: Microscope, tmp_path: Path) -> None:
    save_page(lenet, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert not re.search(r'(?:src|href)="(?!data:)', text.partition("<script")[0])
    assert text.count("</script>") == 2


def test_a_title_is_text(lenet: Microscope, tmp_path: Path) -> None:
    contents = Contents({}, None, {}, {}, ["a < b"])
    saved.write_page(contents, tmp_path / "page.html", "</title><script>alert(1)</script>")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;</title>" in text
    assert "<p>a &lt; b</p>" in text


# Programs ------------------------------------------------------------------------------------------------------------


def test_a_program_has_a_step_for_every_node(everything: Microscope) -> None:
    program = program_of(everything)
    assert program is not None
    graph = everything.player()[1].graph
    assert [step["id"] for step in program["steps"]] == list(graph.nodes)
    operations = {step["op"] for step in program["steps"]}
    assert operations == {
        "convolution", "norm", "activation", "maximum", "average", "sum", "multiply", "concat", "move", "dense",
        "softmax",
    }  # fmt: skip


def test_weights_that_fit_into_16_bits_are_saved_in_16_bits() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 6 * 6, 3)).half().float()
    program = program_of(open_microscope(model, [torch.rand(1, 8, 8)]))
    assert program is not None
    assert {step["weight"]["array"].dtype.name for step in program["steps"] if "weight" in step} == {"float16"}


@pytest.mark.parametrize(
    "layer",
    [nn.ConvTranspose2d(1, 1, 3), nn.InstanceNorm2d(1), nn.PReLU(), nn.LayerNorm([8, 8]), nn.Upsample(scale_factor=2)],
    ids=lambda layer: type(layer).__name__,
)
def test_what_a_page_cannot_compute_has_no_program(layer: nn.Module) -> None:
    model = nn.Sequential(layer, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 3)).eval()
    assert program_of(open_microscope(model, [torch.rand(1, 8, 8)])) is None


# In a browser --------------------------------------------------------------------------------------------------------


class SavedPage:
    """A saved page in a browser, which can be asked by its own transport."""

    def __init__(self, browser: Any, microscope: Microscope, path: Path) -> None:
        save_page(microscope, path)
        text = path.read_text(encoding="utf-8")
        hook = (
            'saved_data(document.getElementById("saved").textContent).then((d) => (window.saved = saved_transport(d)));'
        )
        start, _, end = text.rpartition("</script>")
        path.write_text(f"{start}{hook}</script>{end}", encoding="utf-8")
        self.page = browser.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.goto(path.as_uri())
        self.page.wait_for_function("window.saved !== undefined")

    def ask(self, request: dict[str, Any]) -> Any:
        return arrays_back(
            self.page.evaluate(
                """async (request) => {
                    const plain = (value) => {
                        const shape = value && value.shape;
                        if (ArrayBuffer.isView(value)) return { values: [...value], shape: shape || [value.length] };
                        if (Array.isArray(value)) return value.map(plain);
                        if (value === null || typeof value !== "object") return value;
                        return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one)]));
                    };
                    if (request.pixels) {
                        const { values, shape } = request.pixels;
                        request.pixels = Uint8Array.from(values);
                        request.pixels.shape = shape;
                    }
                    return plain(await window.saved.ask(request));
                }""",
                request,
            )
        )


def arrays_back(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"values", "shape"}:
            return np.array(value["values"], np.float64).reshape(value["shape"])
        return {name: arrays_back(one) for name, one in value.items()}
    return [arrays_back(one) for one in value] if isinstance(value, list) else value


def assert_same(own: Any, other: Any, place: str, tolerance: float = 1e-4) -> None:
    """Check a reply of the page against one of Python."""
    if isinstance(other, dict):
        if "from" in other and own["at"] is None:
            other = {**other, "at": None}  # a weight has no place on a map
        # A number says that the value beside the sum is that of the page's own pass.
        assert set(own) - {"by_page"} == set(other), place
        assert own.get("by_page", "torch" in other) == ("torch" in other), place
        for name in other:
            loose = 1.01 if name in ("sheet", "thumbnails", "counts", "pixels") else tolerance
            assert_same(own[name], other[name], f"{place}.{name}", loose)
    elif isinstance(other, np.ndarray):
        assert np.shape(own) == other.shape, place
        assert np.allclose(own, other, rtol=tolerance, atol=tolerance), (place, own, other)
    elif isinstance(other, list):
        assert len(own) == len(other), (place, own, other)
        for i, (one, two) in enumerate(zip(own, other, strict=True)):
            assert_same(one, two, f"{place}[{i}]", tolerance)
    elif isinstance(other, float):
        assert own == pytest.approx(other, rel=tolerance, abs=tolerance), place
    elif isinstance(other, str) and any(character.isdigit() for character in other):
        assert re.sub(r"-?[\d.]+(e[+-]\d+)?", "#", own) == re.sub(r"-?[\d.]+(e[+-]\d+)?", "#", other), place
    else:
        assert own == other, place


def requests_of(microscope: Microscope, every: int) -> Iterator[dict[str, Any]]:
    """Yield requests about one of ``every`` nodes, some with changed channels."""
    random = np.random.default_rng(0)
    graph = microscope.player()[1].graph
    for image in microscope.pictures.first:
        yield complete("image", image=image)
        changed = [{"node": name, "channel": 0, "factor": 0.5} for name in list(graph.nodes)[::5]]
        for changes in ([], changed):
            scene = {"image": image, "changes": changes}
            yield complete("answer", scene=scene)
            yield complete("overview", scene=scene)
            for name, node in list(graph.nodes.items())[::every]:
                yield complete("layer", scene=scene, node=name)
                shape = [*node.shape, 1, 1][:3]
                for _ in range(2):
                    at = [int(random.integers(side)) for side in shape]
                    yield complete("channel", scene=scene, node=name, channel=at[0])
                    yield complete("number", scene=scene, node=name, at=at)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "every"), [("everything", 1), ("lenet", 1), ("shares", 1), ("resnet20", 9)])
def test_the_page_computes_what_python_computes(
    name: str, every: int, browser: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    torch.manual_seed(0)
    fixture = name in ("everything", "lenet", "shares")
    microscope = request.getfixturevalue(name) if fixture else open_microscope(name, random=True)
    page = SavedPage(browser, microscope, tmp_path / "page.html")
    for one in requests_of(microscope, every):
        own = page.ask(json.loads(json.dumps(one)))
        assert_same(own, microscope.handle(one), json.dumps(one))
    assert page.errors == []
    assert page.requests == [(tmp_path / "page.html").as_uri()]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(28, 28, 1), (28, 28, 3), (61, 40, 3), (12, 20, 1)], ids=str)
def test_an_image_that_is_added_is_the_same_as_in_python(
    shape: tuple[int, int, int], browser: Any, lenet: Microscope, tmp_path: Path
) -> None:
    page = SavedPage(browser, lenet, tmp_path / "page.html")
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    sent = {"values": pixels.ravel().tolist(), "shape": list(shape)}
    own = page.ask({"do": "add_image", "name": "drawn", "pixels": sent})["image"]["id"]
    other = lenet.handle(complete("add_image", name="drawn", pixels=pixels))["image"]["id"]
    shown, expected = page.ask({"do": "image", "image": own}), lenet.handle(complete("image", image=other))
    assert np.abs(shown["pixels"] - expected["pixels"].astype(int)).max() <= 1
    scene = {"model": 0, "epoch": None, "changes": []}
    answers = page.ask({"do": "answer", "scene": {**scene, "image": own}})
    assert_same(answers, lenet.handle(complete("answer", scene={**scene, "image": other})), "answer", 0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("side", "cropped"), [(448, True), (64, False), (100, False)])
def test_a_board_is_not_cropped_and_a_photo_is_as_in_python(
    side: int, cropped: bool, browser: Any, tmp_path: Path
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16 * 16, 5)).eval()
    preprocess = Preprocess(64, 3, (0.5,) * 3, (0.25,) * 3, resize="crop", crop_fraction=0.875)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    microscope = open_microscope(Classifier("crops", "crops", model, preprocess, list("abcde")), [pixels[::-1]])
    page = SavedPage(browser, microscope, tmp_path / "page.html")
    sent = {"values": pixels.ravel().tolist(), "shape": [side, side, 3]}
    own = page.ask({"do": "add_image", "name": "new", "pixels": sent, "cropped": cropped})["image"]["id"]
    shown = page.ask({"do": "image", "image": own})
    expected = dataclasses.replace(preprocess, crop_fraction=1.0 if cropped else 0.875)(pixels)[0].numpy()
    assert np.abs(shown["input"] - expected).max() * 0.25 * 255 <= 1.01  # levels of 8 bits
    other = microscope.handle(complete("add_image", name="new", pixels=pixels, cropped=cropped))["image"]["id"]
    reply = microscope.handle(complete("image", image=other))
    np.testing.assert_array_equal(reply["input"], expected)
    if cropped:  # the board, on which people go on painting
        np.testing.assert_array_equal(shown["pixels"], pixels)
        np.testing.assert_array_equal(reply["pixels"], pixels)


@pytest.mark.slow
def test_a_page_with_recorded_replies_opens_without_a_request(
    browser: Any, lenet: Microscope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "program_of", lambda *arguments: None)
    page = SavedPage(browser, lenet, tmp_path / "page.html")
    page.page.wait_for_selector(".view")
    page.page.wait_for_timeout(500)
    assert page.errors == []
    assert page.requests == [(tmp_path / "page.html").as_uri()]


@pytest.mark.slow
def test_the_page_shows_what_is_in_its_file_and_says_what_is_not(
    browser: Any, digits: Microscope, tmp_path: Path
) -> None:
    page = SavedPage(browser, digits, tmp_path / "page.html")
    first, second = list(digits.pictures.first)[:2]
    scene = {"model": 0, "epoch": None, "image": second, "changes": []}
    explained = complete("explanation", scene=scene, method="gradcam", scores=False)
    own, other = page.ask(explained), digits.handle(explained | {"scores": True})
    assert np.allclose(own["map"], other["map"], atol=np.ptp(other["map"]) / 500)
    assert own["scores"] == pytest.approx(other["scores"])
    unit = complete("unit", scene=scene | {"image": first}, node="c3", channel=5, part="top_images")
    own, other = page.ask(unit), digits.handle(unit)
    assert np.array_equal(own["pictures"], other["pictures"])
    assert own["ids"] == other["ids"]
    top = complete("answer", scene=scene | {"image": other["ids"][3]})
    assert_same(page.ask(top), digits.handle(top), "the answer for a top image")
    offers = "request => window.saved.offers(request)"
    assert page.page.evaluate(offers, explained)
    for absent in (
        explained | {"target": (int(digits.handle(complete("answer", scene=scene))["top"][1]["index"]))},
        explained | {"scene": scene | {"epoch": 1}},
        explained | {"scene": scene | {"changes": [{"node": "c1", "channel": 0, "factor": 0}]}},
        unit | {"part": "visualise"},
        unit | {"scene": scene | {"image": first, "epoch": 1}},
    ):
        assert not page.page.evaluate(offers, absent)
    page.page.evaluate("location.hash = '#/unit/c3/5'")
    page.page.wait_for_selector(".tiles canvas")
    assert "--visualise 20" in page.page.locator(".unit-cards").inner_text()
    assert page.page.locator(".unit-cards code", has_text="--visualise 20").count() == 1
    assert page.page.locator(".saved-notes code").count() > 0
    assert "`" not in page.page.locator("body").inner_text()
    assert page.page.get_by_role("button", name="Make the image").count() == 0
    assert page.errors == []


@pytest.mark.slow
def test_two_runs_and_epochs_stand_side_by_side_in_a_saved_page(browser: Any, digits_run: Path, tmp_path: Path) -> None:
    page = SavedPage(browser, open_microscope(digits_run, other=digits_run), tmp_path / "page.html").page
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector(".side select")
    sides = page.locator(".side")
    assert sides.count() == 2
    assert sides.nth(1).get_by_label("Network", exact=True).evaluate("select => select.selectedIndex") == 1
    sides.nth(0).get_by_label("Epoch", exact=True).select_option("0")
    until(page, "location.hash.includes('epoch=0')")
    page.wait_for_selector(".difference .answers")
    shares = (
        "[...document.querySelectorAll('.difference .answers > div')].map(side => side.querySelector('ol').innerText)"
    )
    until(page, f"(([one, two]) => one !== two)({shares})")


@pytest.mark.slow
def test_a_page_with_recorded_replies_has_no_dead_buttons(
    browser: Any, digits: Microscope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "program_of", lambda *arguments: None)
    page = SavedPage(browser, digits, tmp_path / "page.html")
    page.page.evaluate("location.hash = '#/layer/c3'")
    page.page.wait_for_selector(".sheet canvas")
    until(page.page, "document.querySelector('main').innerText.includes('the 4 strongest channels')")
    scene = {"image": next(iter(digits.pictures.first))}
    strength = digits.handle(complete("layer", scene=scene, node="c3"))["strength"]
    order = np.argsort(-strength, kind="stable").tolist()
    sheet = page.page.locator(".sheet")
    for channel, opens in ((order[-1], False), (order[0], True)):
        sheet.focus()
        page.page.keyboard.press("Home")
        for _ in range(channel):
            page.page.keyboard.press("ArrowRight")
        page.page.keyboard.press("Enter")
        page.page.wait_for_timeout(300)
        assert page.page.evaluate("location.hash").startswith(f"#/layer/c3/{channel}") == opens
    page.page.wait_for_selector(".map-frame.fixed")
    page.page.locator(".map-frame").click()
    page.page.wait_for_timeout(300)
    assert page.page.evaluate("location.hash").startswith(f"#/layer/c3/{order[0]}?")
    assert page.page.locator(".bar-error").count() == 0
    assert page.errors == []
