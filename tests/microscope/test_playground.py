"""The playground in a browser: torch's numbers, worked out, and its animation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from cnnlab.explain import KERNELS
from cnnlab.microscope.session import Microscope
from tests.microscope.conftest import OpenPage, functions, until

pytestmark = pytest.mark.slow

MINUS = "\N{MINUS SIGN}"


def test_convolution_and_pooling_are_those_of_torch(empty_page: Any) -> None:
    functions(empty_page, "sliding.js")
    generator = np.random.default_rng(0)
    for _ in range(60):
        height, width, size = (int(n) for n in (*generator.integers(5, 20, 2), generator.choice([3, 5, 7])))
        stride, padding, dilation = (int(generator.integers(low, 4)) for low in (1, 0, 1))
        image, kernel, bias = generator.random((height, width)), generator.normal(size=(size, size)), 0.25
        case = {
            "picture": {"height": height, "width": width, "data": image.ravel().tolist()},
            "kernel": kernel.tolist(),
            "bias": bias,
            "settings": {"stride": stride, "padding": padding, "dilation": dilation},
        }
        convolved = empty_page.evaluate(
            "({picture, kernel, bias, settings}) => {const o = convolve(picture, kernel, bias, settings);"
            "return o && {...o, data: [...o.data]};}",
            case,
        )
        tensor = torch.tensor(image)[None, None]
        try:
            wanted = functional.conv2d(
                tensor, torch.tensor(kernel)[None, None], torch.tensor([bias], dtype=torch.float64),
                stride, padding, dilation,
            )[0, 0]  # fmt: skip
        except RuntimeError:  # the kernel does not fit
            assert convolved is None
            continue
        assert (convolved["height"], convolved["width"]) == wanted.shape
        np.testing.assert_allclose(convolved["data"], wanted.numpy().ravel(), atol=1e-12)


@pytest.mark.parametrize("kind", ["max", "average"])
def test_pooling_is_that_of_torch(empty_page: Any, kind: str) -> None:
    functions(empty_page, "sliding.js")
    generator = np.random.default_rng(1)
    for _ in range(30):
        height, width, size = (int(n) for n in (*generator.integers(6, 16, 2), generator.integers(2, 5)))
        stride, padding = int(generator.integers(1, 4)), int(generator.integers(0, size // 2 + 1))
        image = generator.normal(size=(height, width))
        pooled = empty_page.evaluate(
            "([picture, kind, size, settings]) => {const o = pool(picture, kind, size, settings);"
            "return {...o, data: [...o.data]};}",
            [
                {"height": height, "width": width, "data": image.ravel().tolist()},
                kind,
                size,
                {"stride": stride, "padding": padding, "dilation": 1},
            ],
        )
        function = functional.max_pool2d if kind == "max" else functional.avg_pool2d
        wanted = function(torch.tensor(image)[None, None], size, stride, padding)[0, 0]
        assert (pooled["height"], pooled["width"]) == wanted.shape
        np.testing.assert_allclose(pooled["data"], wanted.numpy().ravel(), atol=1e-12)


def test_the_named_kernels_are_those_of_the_package(empty_page: Any) -> None:
    functions(empty_page, "sliding.js")
    named = empty_page.evaluate("NAMED_KERNELS")
    assert {name: weights for name, (_, weights) in named.items()} == {
        name: pytest.approx(np.array(kernel)) for name, kernel in KERNELS.items()
    }


def test_a_number_of_the_playground_is_worked_out(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/playground")
    section = page.locator(".sliding").first
    section.get_by_label("Kernel", exact=True).select_option("laplacian")
    section.get_by_label("stride", exact=True).fill("2")
    section.get_by_label("padding", exact=True).fill("1")
    section.get_by_label("dilation", exact=True).fill("2")
    section.get_by_label("dilation", exact=True).press("Tab")
    pixels = next(iter(digits.pictures.first.values())).source
    image = torch.tensor(np.asarray(pixels), dtype=torch.float64).reshape(1, 1, 28, 28) / 255
    kernel = torch.tensor(KERNELS["laplacian"], dtype=torch.float64)[None, None]
    wanted = functional.conv2d(image, kernel, None, 2, 1, 2)[0, 0]
    assert f"output {wanted.shape[0]} × {wanted.shape[1]}" in section.inner_text()
    assert "height: ⌊(28 + 2·1 − 2·(3 − 1) − 1) / 2⌋ + 1 = 13" in section.inner_text()
    output = section.locator("canvas").nth(1)
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowUp"):
        output.press(key)
        row, column, value = re.match(
            r"Output at row (\d+), column (\d+): (\S+?)\. ", output.get_attribute("aria-label")
        ).groups()
        assert float(value.replace(MINUS, "-")) == pytest.approx(float(wanted[int(row), int(column)]), abs=0.0051)
        assert section.locator(".sum b").inner_text().strip() == f"= {value}"
    first_weight = section.get_by_label("Weight in row 0, column 0")
    first_weight.fill("1/9")
    assert section.get_by_label("Kernel", exact=True).input_value() == "own"
    first_weight.fill("abc")
    assert first_weight.get_attribute("aria-invalid") == "true"


def test_the_playground_plays_and_steps(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/playground")
    output = page.locator(".sliding").first.locator("canvas").nth(1)
    page.get_by_label("Pixels", exact=True).select_option("8")
    page.get_by_label("Positions per second").fill("60")
    page.get_by_role("button", name="▶ Play").click()
    until(page, "document.querySelectorAll('.cells')[1]?.ariaLabel?.startsWith('Output at row 5, column 5')")
    until(page, "document.querySelector('.play').textContent.includes('Play')")
    page.get_by_role("button", name="One position back").click()
    assert output.get_attribute("aria-label").startswith("Output at row 5, column 4")


def test_nothing_moves_by_itself_for_those_who_asked_for_less_motion(open_page: OpenPage, digits: Microscope) -> None:
    page = open_page(digits, "#/playground", reduced_motion="reduce")
    assert page.get_by_role("button", name="One position on").is_visible()
    assert page.get_by_role("button", name="Play", exact=False).filter(has_text="▶ Play").count() == 0
    assert "less motion" in page.locator(".player").inner_text()
