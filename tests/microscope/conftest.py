"""A browser for the tests of the microscope's page, and a run to look into."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cnnlab.microscope import bundle
from cnnlab.microscope.opening import open_microscope
from cnnlab.microscope.server import serving
from cnnlab.microscope.session import Microscope
from cnnlab.runs import Classifier, Run, open_classifier, train
from cnnlab.training import Recipe

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-gpu",
    "--use-fake-device-for-media-stream",  # a camera that shows a clock
)

OpenPage = Callable[..., Any]


def never() -> bool:
    """Say that somebody still waits for the reply."""
    return False


@pytest.fixture(scope="module")
def classifier(tiny_run: Run) -> Classifier:
    """The network of the tiny run, on the CPU in float32."""
    return open_classifier(tiny_run, "cpu", as_trained=False)


def until(page: Any, code: str, argument: Any = None, seconds: float = 60) -> None:
    """Wait until JavaScript code is true; ``page.wait_for_function`` is refused by the page's security policy."""
    end = time.monotonic() + seconds
    while not page.evaluate(code, argument):
        assert time.monotonic() < end, f"After {seconds} s it is not true that {code}"
        page.wait_for_timeout(150)


SETTLED = "document.querySelector('main').ariaBusy !== 'true'"


def settled(page: Any) -> None:
    """Wait until no request of the page is without a reply.

    The page is marked as busy as soon as it sends a request. A brush or a slider sends its own up to 400 ms later.
    """
    until(page, SETTLED)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright; the tests are skipped where either is missing.

    Playwright holds the event loop of the thread as long as it is open, so that modules follow one another.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"There is no {_NAMES[0]}.")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS, timeout=120_000)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a LeNet-5 that saw 400 digits for two epochs, with the weights of every epoch."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    recipe = Recipe.make(
        {"model": "lenet5", "data": "mnist5k", "epochs": 2, "train_limit": 400, "device": "cpu", "keep_epochs": "all"}
    )
    train(recipe, out=folder)
    return folder


@pytest.fixture(scope="session")
def digits(digits_run: Path) -> Microscope:
    """That run under the microscope."""
    return open_microscope(digits_run)


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """``open_page(microscope, "#/layer/c1")``: the page of a microscope, of which no script may report an error.

    Further arguments are those of a browser's context, such as ``reduced_motion="reduce"``.
    """
    faults: list[str] = []
    with ExitStack() as stack:

        def open_one(microscope: Microscope, view: str = "#/", **settings: Any) -> Any:
            address = stack.enter_context(serving(microscope.handle))
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | settings)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
            page.goto(address + view)
            page.wait_for_selector(".view > *")
            return page

        yield open_one
    assert not faults


def functions(page: Any, *modules: str) -> None:
    """Define the functions of some modules of the page, none of which needs others, in an empty page."""
    texts = [(bundle.PAGE / name).read_text(encoding="utf-8") for name in modules]
    code = "\n".join(re.sub(r"^import .*$|^export ", "", text, flags=re.M) for text in texts)
    page.add_script_tag(content=code)


@pytest.fixture
def empty_page(browser: Any) -> Iterator[Any]:
    """An empty page of the browser, in which code can be run."""
    page = browser.new_page()
    yield page
    page.close()
