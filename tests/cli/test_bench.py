"""``cnnlab bench``: the table, the file, the comparison, and what it says about files and folders that do not fit."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnlab.advisor import machine
from cnnlab.advisor.machine import MachineSpeed, Speed, compare_machines, measure_machine
from cnnlab.training import Recipe
from tests.cli.helpers import cnnlab


def speeds(**values: float) -> MachineSpeed:
    numbers = tuple(Speed(name, value, "images/s") for name, value in values.items())
    return MachineSpeed("a processor", 2, 2, "a system", "2026-01-01", False, "", numbers)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """Networks take no time here; the recipes with which they would have been trained."""
    recipes: list[Recipe] = []

    def run_job(what: str, recipe: Recipe, classes: int, limit: float, seconds: float) -> dict[str, Any]:
        recipes.append(recipe)
        plain = recipe.precision == "fp32" and recipe.channels_last is False
        rate = 100.0 if plain else 180.0
        return {"train_images_per_second": rate, "images_per_second": 3 * rate, "settings": "fp32" if plain else "bf16"}

    monkeypatch.setattr(machine, "run_job", run_job)
    return recipes


def test_a_measurement_is_shown_and_written(timed: list[Recipe], tmp_path: Path) -> None:
    out = tmp_path / "here.json"
    result = cnnlab("bench", "--quick", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert [(recipe.model, recipe.precision) for recipe in timed] == [
        ("lenet5", "auto"), ("lenet5", "fp32"), ("resnet20", "auto"), ("resnet20", "fp32"),
    ]  # fmt: skip
    row = next(line for line in result.stdout.splitlines() if line.startswith("lenet5 at 28, inference"))
    assert {"540", "images/s", "bf16", "1.80"} <= set(row.split())
    saved = MachineSpeed.load(out)
    assert saved.quick
    assert saved["resnet20 at 32, training, plain"] == Speed(
        "resnet20 at 32, training, plain", 100.0, "images/s", "fp32"
    )


def test_matrix_products_are_counted_as_two_operations_for_each_multiplication(timed: list[Recipe]) -> None:
    speed = measure_machine("cpu", quick=True)["matrix product fp32"]
    left, right = torch.rand(2, 1024, 1024)
    begun = time.process_time()
    for _ in range(20):
        left @ right
    operations = 20 * 1024 * 1024 * (1024 + 1024)
    assert speed
    # Other programs may run beside one of the two, but a thousand times more or less would be a wrong unit.
    assert 0.01 < speed.value / (operations / (time.process_time() - begun) / 1e9) < 100


def test_matrix_products_on_a_gpu_are_those_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: what torch is told while the product is timed."""
    told: list[str] = []
    monkeypatch.setattr(torch, "rand", lambda *shape, device: torch.zeros(1))
    monkeypatch.setattr(
        machine, "time_calls", lambda *_, **__: told.append(torch.get_float32_matmul_precision()) or [1.0]
    )
    before = torch.get_float32_matmul_precision()
    for device in ("cuda", "cpu"):
        machine.matrix_product_speed(torch.device(device), torch.float32, 0.0)
        assert torch.get_float32_matmul_precision() == before
    assert told == ["high", before]


def test_machines_are_compared_with_the_first(tmp_path: Path) -> None:
    here = speeds(lenet5=1000.0, bf16=80.0).save(tmp_path / "here.json")
    there = speeds(lenet5=2500.0, photos=7.0).save(tmp_path / "there.json")
    result = cnnlab("bench", here, there)
    assert result.exit_code == 0, result.stderr
    cells = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    assert cells["lenet5"] == ["images/s", "1,000", "2,500", "2.5"]
    assert cells["bf16"] == ["images/s", "80", "–", "–"]
    assert cells["photos"] == ["images/s", "–", "7", "–"]
    compared = json.loads(cnnlab("bench", here, there, "--json").stdout)["compared"]
    assert compared == compare_machines([speeds(lenet5=1000.0, bf16=80.0), speeds(lenet5=2500.0, photos=7.0)])


@pytest.mark.parametrize("text", ["{}", "[1, 2]", "not JSON", '{"speeds": [{"name": 1}]}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text, encoding="utf-8")
    result = cnnlab("bench", file)
    assert result.exit_code == 1
    assert "other.json holds no measurement" in result.stderr
    assert "cannot be read" in cnnlab("bench", tmp_path / "missing.json").stderr


def test_a_file_that_cannot_be_written_is_told_before_the_measurement(timed: list[Recipe], tmp_path: Path) -> None:
    result = cnnlab("bench", "--out", tmp_path / "missing" / "here.json")
    assert result.exit_code == 2
    assert "There is no folder" in result.stderr
    assert not timed
    assert cnnlab("bench", tmp_path / "a.json", "--quick").exit_code == 2


@pytest.mark.slow
def test_networks_are_really_timed(tmp_path: Path) -> None:
    result = cnnlab("bench", "--quick", "--json")
    assert result.exit_code == 0, result.stderr
    numbers = {speed["name"]: speed["value"] for speed in json.loads(result.stdout)["speeds"]}
    assert numbers["lenet5 at 28, training"] < numbers["lenet5 at 28, inference"]
    assert numbers["resnet20 at 32, training, plain"] < numbers["lenet5 at 28, training, plain"]
