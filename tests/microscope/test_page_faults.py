"""What the page does when something goes wrong: in Chromium, driven by playwright."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnnlab.errors import ProtocolError
from cnnlab.microscope.opening import open_microscope
from cnnlab.microscope.session import Microscope
from tests.microscope.conftest import OpenPage, settled, until

pytestmark = pytest.mark.slow


class Failing:
    """A microscope that fails for one image.

    Args:
        microscope: the microscope that answers for all others.

    Attributes:
        image: id of the image for which requests fail; None for none.
    """

    def __init__(self, microscope: Microscope) -> None:
        self.microscope = microscope
        self.image: str | None = None

    def handle(self, request: Mapping[str, Any], cancelled: Any) -> Any:
        """Answer a request, or fail."""
        if request.get("scene", {}).get("image") == self.image and self.image is not None:
            raise ProtocolError("failed", "This image cannot be looked at.")
        return self.microscope.handle(request, cancelled)


def images_of(microscope: Microscope) -> list[str]:
    return list(microscope.pictures.first)


SHOWN = """() => {
    const bytes = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const drawn = (canvas) => bytes(canvas).some((value) => value > 0);
    return [...document.querySelectorAll(".block canvas")].filter(drawn).length;
}"""


def test_after_an_error_nothing_of_another_image_is_shown(open_page: OpenPage, digits: Microscope) -> None:
    failing = Failing(digits)
    first, second = images_of(digits)[:2]
    failing.image = second
    page = open_page(failing, f"#/?image={first}")
    until(page, f"() => ({SHOWN})() === document.querySelectorAll('.block canvas').length")
    page.wait_for_selector(".answer-bars li")
    page.click(f'[data-image="{second}"]')
    page.wait_for_selector(".bar-error >> text=This image cannot be looked at.")
    until(page, f"() => ({SHOWN})() <= 1")  # the image itself is there
    settled(page)  # all three requests failed
    assert page.locator(".answer-body").inner_text() == "There is no answer."
    assert page.locator(".block.answer li").count() == 0
    page.wait_for_timeout(400)
    assert page.locator(".bar-error").count() == 1  # another reply that arrives takes no error away
    page.click(f'[data-image="{first}"]')
    until(page, f"() => ({SHOWN})() === document.querySelectorAll('.block canvas').length")
    page.wait_for_selector(".answer-bars li")
    until(page, "() => document.querySelectorAll('.bar-error').length === 0")


@pytest.mark.parametrize("view", ["layer/c1", "layer/c1/2", "layer/c1/2/3,4", "explanation"])
def test_after_an_error_no_view_shows_another_image(open_page: OpenPage, digits: Microscope, view: str) -> None:
    failing = Failing(digits)
    first, second = images_of(digits)[:2]
    failing.image = second
    page = open_page(failing, f"#/{view}?image={first}")
    content = ".layer-content, .channel-content, .number-content, .explanation-side"
    until(
        page, f"() => document.querySelector('{content}') && document.querySelector('{content}').childElementCount > 0"
    )
    page.click(f'[data-image="{second}"]')
    page.wait_for_selector(".bar-error")
    until(page, f"() => document.querySelector('{content}').childElementCount === 0")
    page.click(f'[data-image="{first}"]')
    until(page, f"() => document.querySelector('{content}').childElementCount > 0")
    until(page, "() => document.querySelectorAll('.bar-error').length === 0")


class Gated(nn.Module):
    """Maps that are multiplied with a number which sees the whole image, and a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rows, self.head = nn.Conv2d(5, 4, 3), nn.Conv1d(4, 3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(x)
        x = x * torch.sigmoid(x.mean((2, 3), keepdim=True))
        rows = self.rows(x.flatten(2))
        return self.head(rows.mean(2))[0], x


def test_networks_of_other_kinds_are_shown(open_page: OpenPage) -> None:
    microscope = open_microscope(Gated(), [torch.rand(5, 12, 12), torch.rand(5, 12, 12)])
    page = open_page(microscope)
    aside = page.locator("aside")
    assert "images of 5 channels" in aside.inner_text()
    assert "the answer is output 1 of 2" in aside.inner_text()
    assert not page.locator("button:has-text('Paint')").is_visible()
    for view, words in [
        ("layer/:sigmoid/1", "the whole image"),
        ("layer/rows/2", "channel 2"),
        ("layer/rows", "3 × 1 × 98"),
    ]:
        page.evaluate("view => (location.hash = '#/' + view)", view)
        page.wait_for_selector(f"main >> text={words}")
    page.evaluate("location.hash = '#/layer/:mul/1/2,3'")
    page.wait_for_selector(".agrees")


def test_a_stage_that_is_not_there_is_the_overview(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/stage/none")
    assert page.locator(".crumbs li").count() == 1
    assert page.evaluate("location.hash").startswith("#/?")


def test_ten_thousand_moves_of_a_slider_end_at_the_last(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/layer/c1/2")
    page.wait_for_selector("input[aria-label='Factor of this channel']")
    page.evaluate("""async () => {
        window.written = 0;
        const replace = history.replaceState.bind(history);
        history.replaceState = (...all) => { window.written += 1; replace(...all); };
        const slider = document.querySelector("input[aria-label='Factor of this channel']");
        for (let i = 0; i < 10000; i++) {
            slider.value = String(i === 9999 ? 2.5 : (i % 31) / 10);
            slider.dispatchEvent(new Event("input"));
            if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
        }
    }""")
    until(page, "() => location.hash.includes('changes=c1:2:2.5')")
    settled(page)
    assert page.evaluate("written") < 60
    assert page.locator(".changes li").count() == 1
    page.keyboard.press("Control+z")  # all moves are one step
    until(page, "() => !location.hash.includes('changes')")


def test_two_windows_do_not_disturb_each_other(open_page: OpenPage, digits: Microscope) -> None:
    first, second = images_of(digits)[:2]
    one = open_page(digits, f"#/layer/c3?image={first}")
    two = one.context.new_page()  # of the same server
    two.goto(f"{one.url.split('#')[0]}#/layer/c3?image={second}")
    two.wait_for_selector(".view > *")
    pages = [one, two]
    for _ in range(3):
        for page, view in zip(pages, ["layer/c3/1", "layer/c1"], strict=True):
            page.evaluate("view => (location.hash = '#/' + view + '?image=' + location.hash.split('image=')[1])", view)
    for page, image, view in zip(pages, (first, second), ["layer/c3/1", "layer/c1"], strict=True):
        settled(page)
        assert page.evaluate("location.hash").startswith(f"#/{view}?image={image}")
        assert page.locator(".bar-error").count() == 0
