"""Time the microscope in a browser, and take the pictures of the documentation.

::

    cnnlab train lenet5 --data mnist5k epochs=12 keep_epochs=all --out runs/lenet
    python benchmarks/look.py runs/lenet efficientnet_lite0

For each run or network: the time from the start of the command to the first picture in the browser (the browser itself
is open before), to the next layer after a click, and to the picture of another epoch; the bytes of a walk through every
layer; the size of the saved page. Each is repeated with a new process. ``results/look.md`` and
``results/look.json`` are written from the measurements. ``--pictures`` takes the pictures in
``docs/images/microscope`` of the first run instead.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from cnnlab.files import write_text
from cnnlab.hardware import processor_name

ROOT = Path(__file__).parents[1]
PAINTED = """selector => {
  const canvases = [...document.querySelectorAll(selector)];
  return canvases.length > 0 && canvases.every(canvas => canvas.width > 0 &&
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(value => value));
}"""
OVERVIEW = ".block canvas"
SHOWN = "layer => document.querySelector('.layer-content')?.dataset.node === layer"
PICTURES = {
    "overview": "#/",
    "layer": "#/layer/c3",
    "channel": "#/layer/c3/4",
    "number": "#/layer/c3/4/5,5",
    "unit": "#/unit/c3/4",
    "playground": "#/playground",
}


def until(page: Page, condition: Callable[[], Any], seconds: float = 60) -> float:
    """Wait until a condition is true, and return the time at which it was."""
    end = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > end:
            raise SystemExit(f"After {seconds:.0f} s the page does not show what it should: {page.url}")
        page.wait_for_timeout(10)
    return time.perf_counter()


@contextmanager
def command(target: str) -> Iterator[tuple[str, float]]:
    """Start ``cnnlab look`` and yield the address that it prints, and the time of the start."""
    arguments = [sys.executable, "-m", "cnnlab", "look", target, "--no-browser"]
    # The modules of an installed package are compiled; those of a checkout are when they were first imported.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("open: "):
            raise SystemExit(process.communicate()[1])
        yield line.removeprefix("open: ").strip(), started
    finally:
        process.terminate()
        process.communicate()


def walk(browser: Browser, target: str) -> dict[str, float]:
    """Walk through a network once and return seconds and bytes."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    received: list[int] = []
    page.on("requestfinished", lambda request: received.append(request.sizes()["responseBodySize"]))
    measured: dict[str, float] = {}
    with command(target) as (address, started):
        page.goto(address)
        measured["first picture"] = until(page, lambda: page.evaluate(PAINTED, OVERVIEW)) - started
        if page.locator(".block.group").count():  # what follows is about single layers
            page.locator("button", has_text="Unfold all").click()
            until(page, lambda: not page.locator(".block.group").count())
        layers = page.evaluate(
            "() => [...document.querySelectorAll('.block:not(.group)[data-id]')].map(b => b.dataset.id)"
        )
        layers = [layer for layer in layers if layer not in ("input", "the answer")]
        times = []
        if (slider := page.locator(".time input")).count():
            first = f"() => document.querySelectorAll('{OVERVIEW}')[1].toDataURL()"
            epochs = []
            for epoch in range(int(slider.get_attribute("max") or 0)):
                before, begun = page.evaluate(first), time.perf_counter()
                slider.fill(str(epoch))
                epochs.append(until(page, lambda before=before: page.evaluate(first) != before) - begun)
            measured["another epoch"] = statistics.median(epochs)
        for layer in layers[:40]:
            begun = time.perf_counter()
            page.evaluate("layer => { location.hash = `#/layer/${encodeURIComponent(layer)}`; }", layer)
            until(page, lambda layer=layer: page.evaluate(SHOWN, layer))
            times.append(time.perf_counter() - begun)
        measured["next layer"] = statistics.median(times) if times else float("nan")
    measured["layers"] = len(times)
    measured["megabytes of the walk"] = sum(received) / 1e6
    context.close()
    return measured


def saved(target: str) -> float:
    """Return the size of the saved page in megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        arguments = [sys.executable, "-m", "cnnlab", "look", target, "--save", str(path)]
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        return path.stat().st_size / 1e6


def settle(page: Page) -> None:
    """Wait until the network is open and everything that a view asks for is there."""
    until(page, lambda: page.evaluate("() => document.querySelector('.busy')?.hidden === true"))
    page.wait_for_timeout(1000)
    until(page, lambda: page.evaluate("() => document.querySelector('.busy').hidden"))


def take_pictures(browser: Browser, target: str, folder: Path) -> None:
    """Write a picture of every view, and one of a small dark window."""
    folder.mkdir(parents=True, exist_ok=True)
    with command(target) as (address, _):
        for name, view in PICTURES.items():
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            page = context.new_page()
            page.goto(address + view)
            settle(page)
            bottom = page.evaluate("() => document.querySelector('.body').getBoundingClientRect().bottom")
            page.screenshot(
                path=folder / f"{name}.png", clip={"x": 0, "y": 0, "width": 1280, "height": min(800, bottom + 16)}
            )
            context.close()
        context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
        page = context.new_page()
        page.goto(f"{address}#/layer/c3/4/5,5")
        settle(page)
        page.screenshot(path=folder / "small-dark.png")
        context.close()


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| opened | first picture | next layer | another epoch | walk | saved page | n |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [
            row["name"],
            f"{row['first picture']:.1f} ± {row['first picture std']:.1f} s",
            f"{row['next layer']:.2f} s",
            f"{row['another epoch']:.2f} s" if "another epoch" in row else "",
            f"{row['megabytes of the walk']:.1f} MB, {row['layers']:.0f} layers",
            f"{row['saved']:.1f} MB",
            str(row["n"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    threads = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count())
    return "\n".join([
        "# The microscope, timed in a browser", "",
        "From the start of the command to the first picture (mean ± standard deviation over n starts); from a click to "
        "the next layer and from the slider to another epoch (medians over layers and epochs, mean over n). Written by "
        "`benchmarks/look.py`.", "",
        *lines, "",
        f"Machine: {processor_name()}, {threads} threads, Chromium without a graphics card.", "",
    ])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or take pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", help="run folders or names of networks")
    parser.add_argument("--repeats", type=int, default=3, help="starts of each (default 3)")
    parser.add_argument("--pictures", action="store_true", help="take the pictures of the documentation instead")
    parser.add_argument("--root", type=Path, default=ROOT, help="where results/ and docs/ are written")
    options = parser.parse_args(arguments)
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit("There is no chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        )
        if options.pictures:
            take_pictures(browser, options.targets[0], options.root / "docs" / "images" / "microscope")
            return
        rows = []
        for target in options.targets:
            walk(browser, target)  # not counted: files are read and modules compiled for the first time
            walks = [walk(browser, target) for _ in range(options.repeats)]
            row: dict[str, Any] = {key: statistics.mean(walk[key] for walk in walks) for key in walks[0]}
            firsts = [walk["first picture"] for walk in walks]
            row["first picture std"] = statistics.stdev(firsts) if len(firsts) > 1 else 0.0
            rows.append({"name": Path(target).name, "n": len(walks), "saved": saved(target), **row})
            print(rows[-1])
        browser.close()
    (options.root / "results").mkdir(parents=True, exist_ok=True)
    write_text(options.root / "results" / "look.json", json.dumps(rows, indent=2) + "\n")
    write_text(options.root / "results" / "look.md", table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
