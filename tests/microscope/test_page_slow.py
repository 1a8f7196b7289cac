"""What the page says and does while a computation takes long: in Chromium, driven by playwright."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cnnlab.microscope.session import Microscope
from tests.microscope.conftest import OpenPage, until

pytestmark = pytest.mark.slow


class Slow:
    """A microscope whose layers wait, without looking whether somebody still wants them, until they are let go."""

    def __init__(self, microscope: Microscope) -> None:
        self.microscope, self.free = microscope, threading.Event()

    def handle(self, request: Mapping[str, Any], cancelled: Any) -> Any:
        """Answer a request."""
        if request["do"] in ("layer", "unit"):
            self.free.wait(120)
        return self.microscope.handle(dict(request), cancelled)


@pytest.fixture
def slow(digits: Microscope) -> Iterator[Slow]:
    one = Slow(digits)
    yield one
    one.free.set()


def test_a_long_computation_is_named_and_the_page_goes_on_after_it(open_page: OpenPage, slow: Slow) -> None:
    page = open_page(slow)
    page.wait_for_selector(".block.answer .bars")
    assert not page.locator(".slow").is_visible()
    page.evaluate("location.hash = '#/layer/c3'")
    page.wait_for_selector(".slow >> text=Still computing")
    seconds = "() => parseInt(document.querySelector('.slow .n').innerText)"
    first = page.evaluate(seconds)
    until(page, f"() => ({seconds})() > {first}")
    slow.free.set()
    page.wait_for_selector(".sheet canvas")
    until(page, "() => document.querySelector('.slow').hidden")


def test_a_long_computation_can_be_stopped_and_asked_for_again(open_page: OpenPage, slow: Slow) -> None:
    page = open_page(slow)
    page.wait_for_selector(".block.answer .bars")
    page.evaluate("location.hash = '#/layer/c3'")
    page.click(".slow >> text=Stop")
    page.wait_for_selector(".bar-error >> text=was stopped")  # at once: nothing was let go yet
    assert not page.locator(".slow").is_visible()
    slow.free.set()
    page.click(".bar-error >> text=Compute it")
    page.wait_for_selector(".sheet canvas")
    assert page.locator(".bar-error").count() == 0


def test_the_parts_of_a_unit_can_be_stopped_and_asked_for_again(open_page: OpenPage, slow: Slow) -> None:
    page = open_page(slow, "#/unit/c3/4")
    page.click(".slow >> text=Stop")
    again = page.locator(".unit-head ~ * >> text=Compute it")
    until(
        page,
        "() => [...document.querySelectorAll('.card')].filter(c => c.innerText.includes('was stopped')).length === 2",
    )
    slow.free.set()
    for _ in range(2):
        again.first.click()
    page.wait_for_selector(".tiles canvas")
    page.wait_for_selector(".card >> text=Correlation of that mean")
