"""The page's own numbers in a browser, against torch: single numbers, channels switched off, covered images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch

from cnnlab.microscope import bundle
from cnnlab.microscope.server import serving
from cnnlab.microscope.session import Microscope
from tests.microscope.conftest import OpenPage, settled, until
from tests.microscope.networks import as_batch, module_outputs, network_and_input, numbers_of, small_microscope

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NETWORKS = ("lenet5", "resnet20", "mobilenet_v3_small")

# All in one call: the page asks by its own store for the numbers, and recomputes them by its own rules.
RECOMPUTE = """async places => {
  const {store, recompute} = await globalThis.inside;
  const {scene} = store.state;
  const numbers = [];
  for (const {node, at} of places) {
    const reply = await store.ask({do: "number", scene, node, at});
    numbers.push([recompute(reply), reply.torch]);
  }
  return numbers;
}"""
PROBABILITIES = """async () => {
  const {store} = await globalThis.inside;
  return [...(await store.ask({do: "answer", scene: store.state.scene})).probabilities];
}"""
SCENE = "async () => (await globalThis.inside).store.state.scene"
PAINTED = """() => {
  const board = document.querySelector("canvas.drawing");
  return [...board.getContext("2d").getImageData(0, 0, board.width, board.height).data];
}"""


@pytest.fixture
def open_inside(browser: Any) -> Iterator[OpenPage]:
    """``open_inside(microscope, "#/layer/c1")``: the page, with its store and rule in ``globalThis.inside``."""
    script = bundle.script("server").replace("\nstart(", "\nconst started = start(")
    script += "\nglobalThis.inside = started.then((store) => ({ store, recompute }));\n"
    with ExitStack() as stack:

        def open_one(microscope: Microscope, view: str = "#/") -> Any:
            address = stack.enter_context(serving(microscope.handle))
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            stack.callback(page.close)
            page.route("**/*.js*", lambda route: route.fulfill(body=script, content_type="text/javascript"))
            page.goto(address + view)
            until(page, "document.querySelector('.answer-bars')")
            return page

        yield open_one


def probabilities(model: torch.nn.Module, image: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(image).softmax(1)[0].numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_two_hundred_numbers_on_the_page_are_torchs(open_inside: OpenPage, name: str) -> None:
    microscope = small_microscope(name)
    requests = numbers_of(microscope, 200)
    page = open_inside(microscope)
    numbers = page.evaluate(RECOMPUTE, [{"node": one["node"], "at": one["at"]} for one in requests])
    torchs = module_outputs(microscope)
    nodes = microscope.player()[1].graph.nodes
    hooked = 0
    assert len(numbers) >= 200
    for request, (here, recorded) in zip(requests, numbers, strict=True):
        close = 1e-4 * max(1, abs(recorded))
        assert here == pytest.approx(recorded, abs=close), request
        output = torchs.get(request["node"])
        if output is not None and output.shape == tuple(nodes[request["node"]].shape):
            by_hook = float(output[tuple(request["at"][: output.ndim])])
            assert here == pytest.approx(by_hook, abs=close), request
            hooked += 1
    assert hooked > 50


@pytest.mark.parametrize(
    ("name", "layer", "channel"),
    [("lenet5", "c1", 3), ("resnet20", "layer2.0.conv1", 7), ("mobilenet_v3_small", "features.3.block.1.0", 11)],
)
def test_a_channel_that_is_switched_off_gives_the_answer_of_a_hook(
    open_inside: OpenPage, name: str, layer: str, channel: int
) -> None:
    microscope = small_microscope(name)
    model, image = network_and_input(microscope)
    page = open_inside(microscope, f"#/layer/{layer}/{channel}")
    before = page.evaluate(PROBABILITIES)
    np.testing.assert_allclose(before, probabilities(model, image), atol=1e-5)
    page.get_by_label("switched on").click()
    until(page, "location.hash.includes('changes=')")

    def switch_off(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, channel] = 0
        return output

    with model.get_submodule(layer).register_forward_hook(switch_off):
        expected = probabilities(model, image)
    assert np.abs(expected - np.asarray(before)).max() > 1e-4  # the channel matters
    np.testing.assert_allclose(page.evaluate(PROBABILITIES), expected, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_covered_by_the_brush_gives_torchs_answer(open_inside: OpenPage, name: str) -> None:
    microscope = small_microscope(name)
    model, image = network_and_input(microscope)
    page = open_inside(microscope)
    original = page.evaluate(SCENE)["image"]
    page.get_by_role("button", name="Cover or paint on this image").click()
    board = page.locator("canvas.drawing")
    board.wait_for()
    page.locator(".drawing-board").get_by_label("Size").fill("6")
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"], steps=6)
    page.mouse.up()
    page.wait_for_timeout(400)  # a brush sends what it did a moment later
    until(page, "document.querySelector('.caption').textContent.includes('painted')")
    settled(page)
    assert page.evaluate(SCENE)["image"] != original
    channels, side = image.shape[1:3]
    pixels = np.asarray(page.evaluate(PAINTED), np.uint8).reshape(side, side, 4)[..., :channels]
    covered = as_batch(pixels)
    changed = ((covered - image).abs() > 1e-3).any(1)[0].float().mean().item()
    assert 0.05 < changed < 0.5
    assert (covered[0, :, side // 2, side // 2] - (128 / 255 - 0.5) / 0.25).abs().max() < 1e-6
    expected = probabilities(model, covered)
    assert np.abs(expected - probabilities(model, image)).max() > 1e-4
    np.testing.assert_allclose(page.evaluate(PROBABILITIES), expected, atol=1e-5)
