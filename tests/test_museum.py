"""The museum of planted bugs: every script trains, and its bug really costs accuracy."""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import cnnlab
from benchmarks import museum
from benchmarks.museum import exhibit
from cnnlab.figures.style import to_png

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "lessons" / "museum"
SCRIPTS = museum.script_names(FOLDER)
# A bug costs at least this much held-out accuracy: four standard errors of 500 images at 90 %.
MARGIN = 0.05
QUICK = ("labels_shifted", "step_forgotten", "broadcast_loss")


digits = functools.cache(cnnlab.load_data)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Train with one thread, as the benchmark does; read the digits once; leave the random stream as it was."""
    monkeypatch.setattr(cnnlab, "load_data", digits)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def check_that_the_bug_costs(script: str) -> None:
    with_bug, fixed = (exhibit.train(FOLDER / f"{script}.py", mended) for mended in (False, True))
    assert len(with_bug.losses) >= 100
    if script == "validated_on_the_training_images":  # the training is sound, the number is not
        assert with_bug.reported > with_bug.accuracy + MARGIN
        assert abs(fixed.reported - fixed.accuracy) < MARGIN
    else:
        assert fixed.accuracy > with_bug.accuracy + MARGIN
    assert fixed.losses[-1] < fixed.losses[0]


@pytest.mark.parametrize("script", QUICK)
def test_a_bug_costs_accuracy(script: str) -> None:
    check_that_the_bug_costs(script)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_bug_costs_accuracy(script: str) -> None:
    check_that_the_bug_costs(script)


def test_there_are_at_least_28_scripts() -> None:
    assert len(SCRIPTS) >= 28


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_says_what_it_is_about_and_trains_one_step_either_way(script: str) -> None:
    path = FOLDER / f"{script}.py"
    source = path.read_text("utf-8")
    text = ast.get_docstring(ast.parse(source)) or ""
    for part in ("What one sees", "Why", "How to find it by hand", "The fix", "Known from"):
        assert f"**{part}.**" in text
    assert "https://" in text or "torchvision" in text, "the bug is known from somewhere"
    assert source.count("FIXED") >= 2
    assert f'sphinx_gallery_thumbnail_path = "images/museum/{script}.png"' in source
    for fixed in (False, True):
        module = exhibit.load(path, fixed)
        assert module.BUG.endswith(".")
        assert module.FIX.endswith(".")
        torch.manual_seed(0)
        loader, (images, labels) = module.make_data()
        assert len(images) == len(labels)
        model = module.make_model()
        optimizer = exhibit.optimizer_of(module, model)
        batch, targets = next(iter(loader))
        loss = exhibit.step(module, model, optimizer, batch, targets)
        assert math.isfinite(loss)
        assert 0 <= exhibit.accuracy_of(module, model, images, labels) <= 1


def test_a_script_runs_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    exhibit.main(str(FOLDER / "labels_shifted.py"))
    printed = capsys.readouterr().out
    assert "with bug" in printed
    assert "fixed" in printed


def test_the_benchmark_writes_table_and_picture(tmp_path: Path) -> None:
    (row,) = museum.main(["step_forgotten", "--seeds", "1", "--root", str(tmp_path)])
    assert row["fixed"][0] > row["with_bug"][0] + MARGIN
    assert "step_forgotten.py) |" in (tmp_path / "results" / "museum.md").read_text("utf-8")
    with Image.open(tmp_path / "docs" / "images" / "museum" / "step_forgotten.png") as picture:
        assert min(picture.size) > 100


def test_curves_survive_a_training_that_diverges() -> None:
    assert to_png(museum.loss_curves([1.0, 1e6, float("nan")], [2.0, 1.0, 0.5]))
