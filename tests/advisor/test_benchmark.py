"""Measuring in processes of their own: memory against what must be there at least, failures, what is kept."""

from __future__ import annotations

import platform
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnlab.advisor import benchmark as measure
from cnnlab.advisor.benchmark import measure_all, measure_memory, run_job
from cnnlab.advisor.measurements import Measurement, comparable, load_measurements, save_measurement
from cnnlab.errors import TrainingError
from cnnlab.files import cache_dir
from cnnlab.hardware import processor_name
from cnnlab.training import Recipe
from cnnlab.zoo import models

TINY = Recipe(model="mlp", image_size=28, in_channels=1, batch_size=2, device="cpu", precision="fp32")


def made_up(name: str, **changes: Any) -> Measurement:
    values: dict[str, Any] = {
        "name": name,
        "image_size": 32,
        "asked_size": 32,
        "channels": 1,
        "classes": 10,
        "batch_size": 32,
        "settings": "fp32",
        "train_images_per_second": 100.0,
        "images_per_second": 300.0,
        "train_bytes": 1000,
        "bytes": 500,
        "device": "cpu",
        "threads": 1,
        "machine": platform.node(),
        "processor": processor_name(),
        "torch": str(torch.__version__),
        "date": "2026-01-01",
    }
    return Measurement(**values | changes)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_a_network_is_measured() -> None:
    done = measure.measure("mlp", image_size=None, batch_size=16, device="cpu", seconds=0.1)
    assert (done.name, done.image_size, done.asked_size, done.batch_size, done.device) == ("mlp", 28, None, 16, "cpu")
    assert done.is_from_here
    assert done.images_per_second > done.train_images_per_second > 0
    assert done.train_bytes is not None
    assert done.bytes is not None
    weights = 4 * models.get("mlp").facts.parameters
    # In training there are weights, gradients and AdamW's two moments; only the allocator's rounding comes on top.
    assert 4 * weights <= done.train_bytes < 4 * weights + 30e6
    assert weights <= done.bytes < done.train_bytes


@pytest.mark.slow
def test_memory_grows_with_the_batch() -> None:
    def peak(batch_size: int) -> int:
        recipe = Recipe(
            model="convnet", image_size=32, in_channels=3, batch_size=batch_size,
            device="cpu", precision="fp32", channels_last=False,
        )  # fmt: skip
        found = measure_memory(recipe, 10)
        assert found is not None
        return found

    # The first block alone keeps for the backward pass what its two convolutions and its normalisation put out.
    kept = 4 * 32 * 32 * 32 * 2
    assert peak(64) - peak(8) >= 56 * kept


def test_images_are_enlarged_to_what_the_network_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {}

    def answer(what: str, recipe: Recipe, classes: int, *rest: float) -> dict[str, Any]:
        jobs[what] = (recipe, classes)
        if what == "memory":
            return {"bytes": 1, "train_bytes": 2}
        return {
            "settings": "bf16 channels_last",
            "precision": {"precision": "bf16", "channels_last": True},
            "train_images_per_second": 1.0,
            "images_per_second": 2.0,
            "device": "cpu",
        }

    monkeypatch.setattr(measure, "run_job", answer)
    done = measure.measure("lenet5", image_size=8, device="cpu")
    assert (done.image_size, done.asked_size) == (28, 8)
    recipe, classes = jobs["memory"]  # memory is measured with the settings that were chosen
    assert (recipe.precision, recipe.channels_last, recipe.image_size, classes) == ("bf16", True, 28, 10)


def fake_python(folder: Path, script: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for Python")
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -9 $$", "killed .signal 9., perhaps for want of memory"),
        ("echo boom >&2; exit 3", "failed: boom"),
        ("exec sleep 20", "not done within 0.5 s"),
        ('echo \'{"error": "too large"}\'', "mlp: too large"),
    ],
    ids=["killed", "crashed", "slow", "says so"],
)
def test_a_process_that_fails_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, script))
    with pytest.raises(TrainingError, match=message):
        run_job("speed", TINY, 10, 0.5 if "sleep" in script else 30)


@pytest.mark.slow
def test_errors_of_the_network_come_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a file in the current folder that is called like a module of Python is not taken for it."""
    (tmp_path / "random.py").write_text("raise SystemExit('the wrong module')\n")
    monkeypatch.chdir(tmp_path)
    recipe = TINY.model_copy(update={"model": "lenet5", "image_size": 8})
    with pytest.raises(TrainingError, match=r"lenet5: .*at least 28 x 28"):
        run_job("memory", recipe, 10, 60)


def test_each_result_is_kept_at_once_and_a_failure_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(name: str, **options: Any) -> Measurement:
        if name == "lenet5":
            raise TrainingError("lenet5: too large")
        return made_up(name)

    monkeypatch.setattr(measure, "measure", fake)
    results: Iterator[Any] = measure_all(
        ["mlp", "lenet5", "convnet"], image_size=32, batch_size=32, device="cpu", time_limit=1
    )
    assert next(results) == made_up("mlp")
    assert load_measurements() == [made_up("mlp")]
    assert isinstance(next(results), TrainingError)
    assert next(results).name == "convnet"
    assert [m.name for m in load_measurements()] == ["mlp", "convnet"]


def test_a_new_measurement_replaces_the_old_one_under_the_same_conditions_only() -> None:
    save_measurement(made_up("mlp"))
    save_measurement(made_up("mlp", batch_size=64))
    save_measurement(made_up("mlp", train_images_per_second=7.0, date="2026-02-02"))
    assert [(m.batch_size, m.train_images_per_second) for m in load_measurements()] == [(64, 100.0), (32, 7.0)]


def test_only_what_can_be_compared_is_shown() -> None:
    """Of this machine, under the conditions of the latest measurement."""
    here = [made_up("mlp", batch_size=64), made_up("convnet"), made_up("mlp")]
    there = replace(made_up("lenet5"), machine="another machine")
    assert comparable([*here, there]) == {"convnet": here[1], "mlp": here[2]}
    assert comparable([there]) == {}


@pytest.mark.parametrize("content", ["", "{", "[1, {}]", '[{"name": "mlp"}]'])
def test_a_damaged_file_is_no_trouble(content: str) -> None:
    cache_dir().mkdir(parents=True)
    (cache_dir() / "measured.json").write_text(content)
    assert load_measurements() == []
    save_measurement(made_up("mlp"))
    assert load_measurements() == [made_up("mlp")]
