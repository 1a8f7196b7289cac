"""What the page does when something goes wrong: in Chromium, driven by playwright."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from cnnlab.errors import ProtocolError
from cnnlab.microscope.session import Microscope
from tests.microscope.conftest import OpenPage, until

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
