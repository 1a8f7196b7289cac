"""The page in a browser: the network as blocks, the zoom down to one number, addresses, keys, a server that stops."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab.microscope import bundle
from cnnlab.microscope.arithmetic import recompute
from cnnlab.microscope.opening import open_microscope
from cnnlab.microscope.protocol import complete
from cnnlab.microscope.server import serving
from cnnlab.microscope.session import Microscope
from cnnlab.zoo import list_models
from tests.microscope.conftest import OpenPage, settled, until
from tests.microscope.networks import numbers_of, scene_of, small_microscope

pytestmark = pytest.mark.slow

FOCUSED = "document.activeElement"
RECOMPUTED = """value => {
  const check = document.querySelector('.agrees');
  return check && Math.abs(check.dataset.torch - value) < 1e-6;
}"""


def go_to(page: Any, address: str) -> None:
    """Go to another view by the address, as somebody does who types it."""
    page.evaluate("address => {location.hash = address;}", address)


# The overview --------------------------------------------------------------------------------------------------------


def test_the_overview_shows_the_network_from_the_image_to_the_answer(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits)
    until(page, "document.querySelector('.block.answer .bars')")
    blocks = page.evaluate("[...document.querySelectorAll('.block')].map(block => block.dataset.id)")
    nodes = digits.player()[1].graph.nodes
    assert blocks == ["input", *nodes, "the answer"]  # a small network is unfolded at once
    answer = digits.handle(complete("answer", scene=scene_of(digits)))
    names = page.locator(".block.answer .bars .name").all_inner_texts()
    assert names == [entry["name"] for entry in answer["top"]]


def test_stages_unfold_by_a_click_and_fold_again(open_page: OpenPage) -> None:
    page = open_page(small_microscope("resnet20"))
    until(page, "document.querySelector('.block.answer .bars')")
    assert page.locator(".block.group").count() == 5
    page.locator(".block.group", has_text="stage2").click()
    assert page.locator(".block.group", has_text="layer2").count() == 3  # one level only: the blocks of the stage
    page.locator(".block.group", has_text="layer2.1").click()
    assert page.locator('.block[data-id="layer2.1:add"]').count() == 1
    assert page.locator(".edge.skip").count() >= 1  # the residual connection
    page.locator(".fold", has_text="stage2").click()
    assert page.locator(".block.group").count() == 5


def test_blocks_have_the_sides_of_their_maps(open_page: OpenPage) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    page = open_page(open_microscope(model, [torch.rand(3, 12, 32)]))
    until(page, "document.querySelector('.block.answer .bars')")
    assert "3 × 12 × 32" in page.locator('.block[data-id="input"]').inner_text()
    for node, ratio in (("input", 32 / 12), ("0", 30 / 10), ("2", 1)):
        sides = page.locator(f'.block[data-id="{node}"] canvas').evaluate("c => [c.offsetWidth, c.offsetHeight]")
        assert sides[0] / sides[1] == pytest.approx(ratio, rel=0.05), node


@pytest.mark.parametrize("name", list_models())
def test_every_network_opens_and_unfolds_without_an_error(open_page: OpenPage, name: str) -> None:
    page = open_page(small_microscope(name))
    until(page, "document.querySelector('.block.answer .bars')", seconds=120)
    assert int(page.evaluate("document.querySelector('.network').dataset.layoutTime")) < 3000  # alone: below 500
    page.get_by_role("button", name="Show every operation").click()
    settled(page)
    assert page.locator(".block.group").count() == 0
    page.locator(".block:not(.answer)").last.evaluate("block => block.click()")
    until(page, "document.querySelector('.sheet canvas, .vector .bars')")


# The zoom ------------------------------------------------------------------------------------------------------------


def test_a_layer_that_follows_is_sent_as_a_difference_and_shown_the_same(open_page: OpenPage) -> None:
    picture = "document.querySelector('.sheet canvas').toDataURL()"
    title = (
        "document.querySelector('.node-head')?.textContent.includes('{}') && document.querySelector('.sheet canvas')"
    )
    seen = []
    for way in (["layer1.0.bn1"], ["layer1.0.conv1", "layer1.0.bn1"]):
        page = open_page(small_microscope("resnet20"))
        sizes: list[int] = []
        until(page, "document.querySelector('.block.answer .bars')")
        settled(page)
        page.on("requestfinished", lambda request, sizes=sizes: sizes.append(request.sizes()["responseBodySize"]))
        for node in way:
            go_to(page, f"#/layer/{node}")
            until(page, title.format(node))
            settled(page)
        page.wait_for_timeout(300)
        seen.append((page.evaluate(picture), sizes[-1]))
    assert seen[0][0] == seen[1][0]
    assert seen[1][1] < 0.7 * seen[0][1]


def test_keys_alone_lead_from_the_network_to_one_number_and_back(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits)
    until(page, "document.querySelector('.block.answer .bars')")
    page.locator('.block[data-id="input"]').focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(f"{FOCUSED}.dataset.id") == "c1"
    page.keyboard.press("Enter")
    until(page, "document.activeElement.classList.contains('sheet')")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "Channel 2" in page.locator(".under-pointer").inner_text()
    page.keyboard.press("Enter")
    until(page, "document.activeElement.classList.contains('map-frame') && document.querySelector('.facts')")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert page.locator(".under-pointer").inner_text().startswith("Row 3, column 2")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.agrees')")
    assert page.evaluate("location.hash").startswith("#/layer/c1/2/3,2")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('.node-head').textContent.includes('row 3, column 3')")
    until(page, "location.hash.startsWith('#/layer/c1/2/3,3')")  # addresses are written every third of a second
    for place in ("#/layer/c1/2?", "#/layer/c1?", "#/stage/c1?", "#/?"):
        page.keyboard.press("Escape")
        until(page, "place => location.hash.startsWith(place)", place)
    until(page, "document.activeElement.dataset.id === 'c1'")  # on the block that one comes out of


def test_back_and_forward_of_the_browser(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/layer/c3")
    until(page, "document.querySelector('.sheet canvas')")
    page.locator(".sheet canvas").click(position={"x": 20, "y": 20})
    until(page, "location.hash.startsWith('#/layer/c3/0')")
    page.go_back()
    until(page, "location.hash.startsWith('#/layer/c3?') && document.querySelector('.sheet canvas')")
    page.go_forward()
    until(page, "location.hash.startsWith('#/layer/c3/0') && document.querySelector('.map-frame')")


@pytest.mark.parametrize(
    "address", ["#/layer/nowhere", "#/layer/c3/99", "#/layer/c3/0/99,0", "#/nonsense/x", "#/stage/q"]
)
def test_addresses_of_nothing_say_so_and_lead_on(open_page: OpenPage, digits: Microscope, address: str) -> None:
    page = open_page(digits, address)
    settled(page)
    assert page.locator(".bar-error, .network").count() >= 1
    go_to(page, "#/layer/c3/1")
    until(page, "document.querySelector('.map-frame') && document.querySelector('.facts')")


@pytest.mark.parametrize(
    ("address", "content"),
    [("#/layer/c3", ".sheet canvas"), ("#/layer/c3/1", ".map-frame canvas"), ("#/layer/c3/1/2,3", ".number-value")],
)
def test_a_view_is_whole_again_after_an_address_of_nothing(
    open_page: OpenPage, digits: Microscope, address: str, content: str
) -> None:
    page = open_page(digits, address)
    page.wait_for_selector(content)
    go_to(page, address.replace("c3", "nowhere"))
    page.wait_for_selector(".bar-error >> text=no layer or operation “nowhere”")
    assert page.locator(content).count() == 0
    go_to(page, address)
    page.wait_for_selector(content)
    assert not page.locator(".bar-error").count()


def test_the_numbers_of_a_dense_layer_are_torchs(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/layer/output")
    until(page, "document.querySelectorAll('.vector .n').length === 10")
    shown = [float(text.replace("\N{MINUS SIGN}", "-")) for text in page.locator(".vector .n").all_inner_texts()]
    logits = digits.handle(complete("answer", scene=scene_of(digits)))["logits"]
    np.testing.assert_allclose(shown, logits, rtol=1e-3, atol=1e-4)


def test_channels_stand_in_the_order_of_their_strength(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/layer/c3")
    until(page, "document.querySelector('.sheet canvas')")
    page.get_by_role("button", name="strongest first").click()
    strength = digits.handle(complete("layer", scene=scene_of(digits), node="c3"))["strength"]
    page.locator(".sheet").focus()
    page.keyboard.press("Home")
    for channel in np.argsort(-strength, kind="stable")[:4]:
        assert f"Channel {channel}:" in page.locator(".under-pointer").inner_text()
        page.keyboard.press("ArrowRight")


# One number ----------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A reply as JavaScript can be given it, with lists for arrays."""
    if isinstance(value, np.ndarray):
        return value.ravel().tolist()
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenet_v3_small", "densenet121", "squeezenet1_1"])
def test_the_rules_in_javascript_are_those_in_python(browser: Any, name: str) -> None:
    microscope = small_microscope(name)
    page = browser.new_page()
    code = (bundle.PAGE / "number_sum.js").read_text(encoding="utf-8")
    page.add_script_tag(content=re.sub(r"^export ", "", code, flags=re.M))
    for request in numbers_of(microscope, 150):
        reply = microscope.handle(request)
        here = page.evaluate("reply => recompute(reply)", plain(reply))
        if reply["how"] == "opaque":
            assert here is None
            continue
        close = 1e-4 * max(1, abs(reply["torch"]))
        assert here == pytest.approx(recompute(reply), rel=1e-9, abs=1e-9), request
        assert here == pytest.approx(reply["torch"], abs=close), request
    page.close()


def test_every_kind_of_number_is_drawn_and_recomputed_on_the_page(open_page: OpenPage) -> None:
    for name in ("lenet5", "mobilenet_v3_small"):
        microscope = small_microscope(name)
        kinds = {node.kind: node for node in microscope.player()[1].graph.nodes.values()}
        page = open_page(microscope)
        for node in kinds.values():
            at = [side // 2 for side in (*node.shape, 1, 1)[:3]]
            request = complete("number", scene=scene_of(microscope), node=node.id, at=at)
            go_to(page, f"#/layer/{node.id}/{at[0]}/{at[1]},{at[2]}")
            torch_value = float(microscope.handle(request)["torch"])
            until(page, RECOMPUTED, torch_value)


def test_an_operand_leads_to_the_number_that_it_is(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/layer/c3/3/2,5")
    until(page, "document.querySelector('.cell.link')")
    cell = page.locator(".cell.link").first
    value, words = cell.get_attribute("title").split(", ", 1)
    channel, row, column = re.findall(r"\d+", words)[:3]
    cell.click()
    place = f"s2/{channel}/{row},{column}"
    until(page, "place => document.querySelector('.number-content').dataset.place === place", place)
    assert page.locator(".number-value .value").inner_text() == value
    assert page.evaluate("location.hash").startswith(f"#/layer/{place}?")


# Where something is missing ------------------------------------------------------------------------------------------


def test_a_server_that_stops_is_named_and_the_page_goes_on_when_it_is_back(browser: Any, digits: Microscope) -> None:
    with serving(digits.handle) as address:
        page = browser.new_page()
        page.goto(address)
        until(page, "document.querySelector('.block.answer .bars')")
        page.route("**/ask", lambda route: route.abort())
        go_to(page, "#/layer/c3")
        until(page, "document.querySelector('.bar-error')")
        assert "trying again" in page.locator(".bar-error").inner_text()
        page.unroute("**/ask")
        until(page, "document.querySelector('.sheet canvas') && !document.querySelector('.bar-error')")
        page.close()


def test_a_server_that_was_started_anew_has_another_token_and_the_page_says_so(
    browser: Any, digits: Microscope
) -> None:
    page = browser.new_page()
    with serving(digits.handle) as address:
        page.goto(address)
        until(page, "document.querySelector('.block.answer .bars')")
    go_to(page, "#/layer/c3")
    until(page, "document.querySelector('.bar-error')")
    with serving(digits.handle, int(re.findall(r":(\d+)/", address)[0])):
        until(page, "document.querySelector('.bar-error')?.innerText.includes('the token is missing or wrong')")
    page.close()


@pytest.mark.parametrize(
    "wrong",
    ["epoch=99", "epoch=-1", "epoch=", "changes=garbage", "changes=c1:99:0", "changes=none:0:0", "changes=c1:0:"],
)
def test_what_an_address_has_wrong_is_left_out(open_page: OpenPage, digits: Microscope, wrong: str) -> None:
    page = open_page(digits, f"#/layer/c1?{wrong}")
    until(page, "document.querySelector('.sheet canvas')")
    assert not page.locator(".bar-error").count()
    until(page, "!/epoch|changes/.test(location.hash)")


def test_a_small_window_has_the_network_from_top_to_bottom(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, viewport={"width": 390, "height": 844})
    until(page, "document.querySelector('.block.answer .bars')")
    tops = page.evaluate("[...document.querySelectorAll('.block')].map(block => parseFloat(block.style.top))")
    assert tops == sorted(tops)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_finger_that_scrolls_the_page_does_not_move_the_upright_network(
    open_page: OpenPage, digits: Microscope
) -> None:
    page = open_page(digits, viewport={"width": 390, "height": 844}, has_touch=True)
    until(page, "document.querySelector('.network.down') && document.querySelector('.block.answer .bars')")
    place = "document.querySelector('.content').style.transform"
    before = page.evaluate(place)
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[int, int]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})
        page.wait_for_timeout(30)

    seen = []
    touch("touchStart", (200, 700))
    for y in range(690, 400, -10):
        touch("touchMove", (203, y))
        seen.append(page.evaluate(place))
    touch("touchEnd")
    assert set(seen) == {before}
    assert page.evaluate("scrollY") > 0
    page.evaluate("scrollTo(0, 0)")
    touch("touchStart", (200, 700))
    for x in range(190, 100, -10):
        touch("touchMove", (x, 700))
    touch("touchEnd")
    moved = page.evaluate(place)
    assert moved != before  # sideways it moves
    assert moved.split("px, ")[1] == before.split("px, ")[1]


def test_a_tall_network_begins_at_the_top_of_a_small_window(open_page: OpenPage) -> None:
    microscope = open_microscope("mobilenet_v3_small", random=True)
    page = open_page(microscope, viewport={"width": 390, "height": 844})
    until(page, "document.querySelector('.network.down .block.answer .bars')")
    page.click("text=Unfold all")
    until(page, "document.querySelectorAll('.block').length > 100")
    free = """() => {
        const area = document.querySelector(".network").getBoundingClientRect();
        const boxes = [...document.querySelectorAll(".block")].map(block => block.getBoundingClientRect());
        return [Math.min(...boxes.map(box => box.top)) - area.top, area.bottom - Math.max(...boxes.map(b => b.bottom))];
    }"""
    assert all(0 <= pixels < 60 for pixels in page.evaluate(free))
    page.evaluate("location.hash = '#/layer/classifier.0/0/0,0'")
    until(page, "document.querySelector('.products')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
