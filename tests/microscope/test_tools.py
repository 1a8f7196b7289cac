"""The page's tools in a browser: touching, units, explanations, time, comparison and help."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cnnlab import explain
from cnnlab.microscope.pictures import picture_of
from cnnlab.microscope.session import Microscope, Subject
from tests.microscope.conftest import SETTLED, OpenPage, functions, until

pytestmark = pytest.mark.slow

# Touching ------------------------------------------------------------------------------------------------------------


def answer(page: Any) -> dict[str, float]:
    """Return the answer that the page shows, class -> percent, once nothing is computed any more."""
    page.wait_for_timeout(400)  # a brush or a slider sends what it did a moment later
    until(
        page,
        "(() => { const now = document.querySelector('.answer-bars')?.textContent, same = now && now === window.before;"
        f"window.before = now; return same && {SETTLED}; }})()",
    )
    rows = page.locator(".answer-bars li").all()
    return {
        row.locator(".name").inner_text(): float(re.search(r"[\d.]+", row.locator(".n").inner_text()).group())
        for row in rows
    }


def scene_of(microscope: Microscope, **others: Any) -> dict[str, Any]:
    """Return the scene that a page begins with, with other values of some fields."""
    return {"model": 0, "epoch": None, "image": next(iter(microscope.pictures.first)), "changes": []} | others


def probabilities(microscope: Microscope, factors: dict[int, float], layer: str = "c1", image: Any = None) -> Any:
    """Return the probabilities in percent with the outputs of some channels of a layer scaled by a hook of torch."""
    classifier = microscope.subjects[0].classifier
    if image is None:
        image = microscope.pictures.views(0, classifier, next(iter(microscope.pictures.first)))[0]

    def scale(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        for channel, factor in factors.items():
            output[:, channel] *= factor
        return output

    with classifier.model.get_submodule(layer).register_forward_hook(scale), torch.no_grad():
        return 100 * classifier.model(image).softmax(1)[0].numpy()


def test_a_changed_channel_moves_the_answer_and_undo_brings_it_back(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/?changes=c1:0:0,c1:3:2.5")
    for name, percent in answer(page).items():
        index = digits.subjects[0].classifier.classes.index(name)
        assert percent == pytest.approx(probabilities(digits, {0: 0, 3: 2.5})[index], abs=0.11)
    assert page.locator(".answer-bars .bar.before").count() >= 5
    page.get_by_role("button", name="Take the change of c1, channel 0 away").click()
    until(page, "document.querySelectorAll('.changes li').length === 1")
    page.keyboard.press("Control+z")
    until(page, "document.querySelectorAll('.changes li').length === 2")
    page.keyboard.press("Control+Shift+z")
    until(page, "document.querySelectorAll('.changes li').length === 1")
    for name, percent in answer(page).items():
        index = digits.subjects[0].classifier.classes.index(name)
        assert percent == pytest.approx(probabilities(digits, {3: 2.5})[index], abs=0.11)


def drag(page: Any, places: list[tuple[float, float]]) -> None:
    """Move the pressed mouse over the board, through places in shares of its width and height."""
    board = page.locator("canvas.drawing")
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()


@pytest.fixture(params=["whole images", "cropped photos"])
def touched(request: pytest.FixtureRequest, digits: Microscope) -> Microscope:
    """The network of the digits with its images, or with a photo of which it takes the middle."""
    if request.param == "whole images":
        return digits
    classifier = digits.subjects[0].classifier
    preprocess = dataclasses.replace(classifier.preprocess, resize="crop", crop_fraction=0.875)
    pixels = np.asarray(next(iter(digits.pictures.first.values())).source)
    photo = picture_of("photo", pixels.repeat(2, 0).repeat(2, 1))
    return Microscope([Subject(dataclasses.replace(classifier, preprocess=preprocess))], [photo])


def test_covering_the_image_moves_the_answer(open_page: OpenPage, touched: Microscope) -> None:
    page = open_page(touched)
    before = answer(page)
    page.get_by_role("button", name="Cover or paint on this image").click()
    page.wait_for_selector("canvas.drawing")
    page.locator(".drawing-board").get_by_label("Size").fill("8")
    drag(page, [(0.1, 0.5), (0.9, 0.5)])
    until(page, "document.querySelector('.caption').textContent.includes('painted')")
    after = answer(page)
    assert after != before
    assert page.locator(".answer-bars .bar.before").count() >= 5
    centre = page.evaluate(
        "[...document.querySelector('.photo-row .photo').getContext('2d').getImageData(14, 14, 1, 1).data]"
    )
    assert centre == [128, 128, 128, 255]
    page.locator("canvas.drawing").press("Control+z")  # the stroke
    assert answer(page) == before
    page.get_by_role("button", name="Undo (Ctrl+Z)").click()  # all that was painted
    until(page, "!document.querySelector('.caption').textContent.includes('painted')")
    assert answer(page) == before


def test_a_drawn_digit_is_centred_as_mnist_is(open_page: OpenPage, touched: Microscope) -> None:
    page = open_page(touched)
    page.get_by_role("button", name="Draw an image").click()
    drag(page, [(0.1, 0.1), (0.1, 0.4)])  # a one in the corner
    until(page, "document.querySelector('.caption').textContent.includes('drawing')")
    answer(page)
    pixels = page.evaluate(
        "[...document.querySelector('.centre canvas').getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    until(  # the network gets it so
        page,
        "pixels => [...document.querySelector('.photo-row .photo').getContext('2d').getImageData(0, 0, 28, 28).data]"
        ".every((value, i) => value === pixels[i])",
        pixels,
    )
    image = np.array(pixels).reshape(28, 28, 4)[..., 0].astype(float)
    rows, columns = np.nonzero(image)
    assert np.ptp(rows) + 1 == 20
    mass = np.array([(image.sum(1) * np.arange(28)).sum(), (image.sum(0) * np.arange(28)).sum()]) / image.sum()
    np.testing.assert_allclose(mass, 13.5, atol=0.51)
    assert image[rows.min() : rows.max(), columns.min() : columns.max()].max() == 255
    page.get_by_label("centre the digit").uncheck()  # the lower half stays black, as it was drawn
    lower_half = "document.querySelector('.photo-row .photo').getContext('2d').getImageData(0, 16, 28, 12).data"
    until(page, f"[...{lower_half}].every((value, i) => i % 4 === 3 || value === 0)")


def test_centring_is_area_resampling(empty_page: Any) -> None:
    functions(empty_page, "sliding.js", "digit.js")
    empty_page.add_script_tag(content="function shaped(values, shape) { values.shape = shape; return values; }")
    drawing = np.zeros((280, 280), np.uint8)
    drawing[40:200, 30:90] = np.random.default_rng(2).integers(1, 255, (160, 60))
    centred = empty_page.evaluate(
        "(values) => [...centred_digit(shaped(Uint8Array.from(values), [280, 280, 1]), 28)]", drawing.ravel().tolist()
    )
    small = np.repeat(drawing[40:200, 30:90], 2, axis=1).reshape(20, 8, 8, 15).mean((1, 3))  # 160 x 60 to 20 x 8
    rows, columns = np.nonzero(np.array(centred).reshape(28, 28))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (20, 8)
    result = np.array(centred).reshape(28, 28)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    np.testing.assert_allclose(result, small, atol=0.501)


def test_photos_come_by_file_drop_and_paste(open_page: OpenPage, digits: Microscope, tmp_path: Path) -> None:
    page = open_page(digits)
    photo = tmp_path / "four.png"
    Image.fromarray(np.full((40, 30, 3), 200, np.uint8)).save(photo)
    page.locator("input[type=file]").set_input_files(photo)
    until(page, "document.querySelector('.caption').textContent === 'four.png'")
    code = """([kind, name, bytes]) => {
      const files = new DataTransfer();
      const type = name.endsWith("png") ? "image/png" : "text/plain";
      files.items.add(new File([Uint8Array.from(bytes)], name, {type}));
      const settings = {clipboardData: files, dataTransfer: files, bubbles: true, cancelable: true};
      const event = kind === "paste" ? new ClipboardEvent("paste", settings) : new DragEvent("drop", settings);
      document.querySelector(".microscope").dispatchEvent(event);
    }"""
    for kind, level in (("drop", 90), ("paste", 120)):
        Image.fromarray(np.full((20, 20), level, np.uint8)).save(photo)
        page.evaluate(code, [kind, f"{kind}.png", list(photo.read_bytes())])
        until(page, f"document.querySelector('.caption').textContent === '{kind}.png'")
        until(
            page,
            "level => document.querySelector('.photo-row .photo')"
            ".getContext('2d').getImageData(9, 9, 1, 1).data[0] === level",
            level,
        )
    page.evaluate(code, ["drop", "notes.txt", list(b"no picture")])
    page.wait_for_selector(".bar-error")
    assert "notes.txt" in page.locator(".bar-error").inner_text()
    assert page.locator(".caption").inner_text() == "paste.png"


def test_a_refused_camera_says_what_to_do(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, permissions=[])
    page.get_by_role("button", name="A picture of the camera").click()
    page.wait_for_selector(".camera button")
    text = page.locator(".camera").inner_text()
    assert "camera" in text
    assert "Try again" in text


def test_the_camera_gives_a_picture_and_is_followed(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, permissions=["camera"])
    before = page.evaluate("location.hash")
    page.get_by_role("button", name="A picture of the camera").click()
    page.get_by_role("button", name="Take the picture").click()
    until(page, "document.querySelector('.caption').textContent === 'camera'")
    until(page, f"location.hash !== {before!r}")  # the page writes its address a moment later
    first = re.search(r"image=(\w+)", page.evaluate("location.hash")).group(1)
    assert len(digits.handle({"do": "answer", "scene": scene_of(digits, image=first)})["top"]) == 5
    page.get_by_label("follow live").check()
    until(page, f"!location.hash.includes({first!r})")
    page.evaluate("window.track = document.querySelector('video').srcObject.getTracks()[0]")
    page.get_by_role("button", name="A picture of the camera").click()
    until(page, "window.track.readyState === 'ended'")  # the camera is off
    page.get_by_role("button", name="Undo (Ctrl+Z)").click()  # all of its pictures are one step
    until(page, "document.querySelector('.caption').textContent !== 'camera'")


def test_the_tools_of_a_channel_switch_it_off(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/layer/c1/2")
    page.get_by_role("switch").uncheck()
    until(page, "document.querySelectorAll('.changes li').length === 1")
    until(page, "location.hash.includes('c1:2:0')")
    classes = digits.subjects[0].classifier.classes
    for name, percent in answer(page).items():
        assert percent == pytest.approx(probabilities(digits, {2: 0})[classes.index(name)], abs=0.11)
    page.get_by_label("Factor of this channel").fill("1.5")
    until(page, "location.hash.includes('c1:2:1.5')")
    page.get_by_role("button", name="Reset").click()
    until(page, "!document.querySelector('.changes li')")


# Units and explanations ----------------------------------------------------------------------------------------------


def test_the_page_of_a_unit_shows_its_images_classes_and_visualisation(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/unit/c3/1")
    page.wait_for_selector(".tile .unit-box")
    page.wait_for_selector(".unit-cards .bars li")
    unit = {"do": "unit", "scene": scene_of(digits), "node": "c3", "channel": 1}
    top = digits.handle({**unit, "part": "top_images"})
    classes = digits.subjects[0].classifier.classes
    tiles = page.locator(".tile").all()
    assert len(tiles) == len(top["values"])
    for tile, value, label in zip(tiles, top["values"], top["labels"], strict=True):
        number, name = tile.inner_text().split()
        assert float(number) == pytest.approx(float(value), rel=0.006)
        assert name == classes[label]
    best = digits.handle({**unit, "part": "classes"})["index"][0]
    assert page.locator(".unit-cards .bars .name").first.inner_text() == classes[best]
    page.get_by_role("button", name="Make the image").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Make the image").click()
    page.wait_for_selector("canvas.visualised")
    tiles[0].click()
    until(page, "location.hash.startsWith('#/layer/c3/1?')")
    until(page, f"location.hash.includes('image={top['ids'][0]}')")


def test_an_explanation_lies_over_the_photo(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/explanation")
    page.wait_for_selector(".explanation-side h2")
    classifier = digits.subjects[0].classifier
    image = digits.pictures.views(0, classifier, next(iter(digits.pictures.first)))[0]
    page.get_by_label("Class", exact=True).select_option("3")
    until(page, "document.querySelector('.explanation-side h2').textContent.includes('“3”')")
    values = explain.gradcam(classifier.model, image, 3).map
    opaque = page.evaluate(
        "(() => {const c = document.querySelector('.overlay');"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 3);})()"
    )
    np.testing.assert_allclose(np.array(opaque) / 255, values.ravel() / values.max(), atol=0.01)
    until(page, "document.querySelector('.score') || document.querySelector('.explanation-side button')")
    if page.locator(".explanation-side button").count():
        page.locator(".explanation-side button").click()
    page.wait_for_selector(".score")
    assert "lower is better" in page.locator(".explanation-side").inner_text()
    page.get_by_label("Opacity of the map").fill("0.25")
    assert page.locator(".overlay").evaluate("one => getComputedStyle(one).opacity") == "0.25"


# Time, comparison, help ----------------------------------------------------------------------------------------------


def test_the_slider_shows_the_answer_of_every_epoch(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits)
    slider = page.get_by_label("Epoch", exact=True)
    run, classifier = digits.subjects[0].run, digits.subjects[0].classifier
    assert run is not None
    image = digits.pictures.views(0, classifier, next(iter(digits.pictures.first)))[0]
    slider.focus()
    for epoch, text in ((2, "after epoch 2"), (1, "after epoch 1"), (0, "before training")):
        slider.press("ArrowLeft")
        assert page.locator(".epoch").inner_text() == text
        until(page, f"location.hash.includes('epoch={epoch}')")  # the page writes its address a moment later
        with torch.no_grad():
            wanted = 100 * run.model(epoch)(image).softmax(1)[0].numpy()
        for name, percent in answer(page).items():
            assert percent == pytest.approx(wanted[classifier.classes.index(name)], abs=0.11)
    page.get_by_role("button", name="Play through the epochs").click()
    until(page, "document.querySelector('.epoch').textContent === 'final weights'")


def test_two_images_stand_side_by_side_with_their_difference(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/layer/c1/2")
    page.get_by_role("button", name="Two images, or two runs, side by side").click()
    page.wait_for_selector(".difference canvas.map")
    assert page.locator(".side").count() == 2
    classifier = digits.subjects[0].classifier
    ids = list(digits.pictures.first)[:2]
    with torch.no_grad():
        one, two = (classifier.model.get_submodule("c1")(digits.pictures.views(0, classifier, i)[0])[0, 2] for i in ids)
    text = page.locator(".difference").inner_text()
    largest = float(re.search(r"Largest difference ([\d.]+)", text).group(1))
    assert largest == pytest.approx(float((one - two).abs().max()), rel=0.01)
    page.locator(".side").nth(1).get_by_label("Image", exact=True).select_option(ids[0])
    until(page, "document.querySelector('.difference').textContent.includes('Both maps are equal')")
    page.get_by_role("button", name="Close the comparison").click()
    until(page, "!document.querySelector('.side')")


def test_two_networks_stand_side_by_side_even_where_one_lacks_the_layer(
    open_page: OpenPage, digits: Microscope
) -> None:
    one = digits.subjects[0]
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval()
    other = Subject(dataclasses.replace(one.classifier, name="linear", model=linear))
    page = open_page(Microscope([one, other], list(digits.pictures.first.values())), "#/layer/c1")
    page.get_by_role("button", name="Two images, or two runs, side by side").click()
    page.wait_for_selector(".difference .answers")
    right = page.locator(".side").nth(1)
    assert "This network has no c1" in right.inner_text()
    image = digits.pictures.views(0, one.classifier, next(iter(digits.pictures.first)))[0]
    with torch.no_grad():
        wanted = 100 * linear(image).softmax(1)[0].numpy()
    shares = page.locator(".difference .answers > div").nth(1).locator("li").all()
    for row in shares:
        index = one.classifier.classes.index(row.locator(".name").inner_text())
        percent = float(re.search(r"[\d.]+", row.locator(".n").inner_text()).group())
        assert percent == pytest.approx(wanted[index], abs=0.11)
    right.get_by_label("Network").select_option("0")
    page.wait_for_selector(".difference .strengths")
    assert "This network has no c1" not in right.inner_text()


def test_help_opens_by_keys_and_gives_the_focus_back(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits)
    button = page.get_by_role("button", name="The table of keys")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog.help")
    assert "zoom out" in dialog.inner_text()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert button.evaluate("one => one === document.activeElement")
    page.keyboard.press("?")
    dialog.wait_for()
    page.mouse.click(5, 5)
    dialog.wait_for(state="detached")
