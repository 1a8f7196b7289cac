"""``cnnlab models`` as typer's runner sees it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cnnlab import zoo
from cnnlab.advisor import benchmark as measure
from cnnlab.advisor.measurements import load_measurements, save_measurement
from cnnlab.cli import app
from cnnlab.console import amount
from cnnlab.errors import TrainingError
from tests.advisor.test_benchmark import made_up


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "cache"))


def models(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_table_has_a_line_per_network_that_fits(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    save_measurement(made_up("vgg16", train_images_per_second=12.3, train_bytes=700 * 2**20))
    result = models()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 1 + len(zoo.models)
    assert max(map(len, lines)) <= columns
    for entry, line in zip(zoo.models, lines[1:], strict=True):
        assert line.split()[0] == entry.name
        assert amount(entry.facts.parameters) in line.split()
        assert "…" not in line.rstrip()[:-1]  # only the paper, at the end, may be cut
    assert ("paper" in lines[0]) == (columns == 200)
    row = next(line for line in lines if line.startswith("vgg16 "))
    assert "12.3" in row
    assert "700 MiB" in row or columns == 80
    assert "batches of 32" in result.stderr


def test_pattern_and_json() -> None:
    result = models("resnet20", "--json")
    assert result.exit_code == 0
    (row,) = json.loads(result.stdout)
    assert (row["name"], row["year"], row["parameters"], row["min_size"]) == ("resnet20", 2015, 269_722, 4)
    assert row["options"] == {"drop_path": 0.0, "shortcuts": True}
    assert "arxiv.org" in row["url"]
    assert 40e6 < row["macs"] < 41e6
    assert row["measured"] == []


def test_filters_and_order() -> None:
    def listed(*arguments: str) -> list[str]:
        return [row["name"] for row in json.loads(models(*arguments, "--json").stdout)]

    assert listed("resnet[135]*", "--takes", "4", "--sort", "parameters") == ["resnet32", "resnet56", "resnet110"]
    assert listed("resnet1*", "--pretrained", "--sort", "error") == ["resnet152", "resnet101", "resnet18"]
    assert listed("*net*", "--year", ":1999") == ["lenet5"]
    assert listed("*", "--max-params", "62k", "--reverse") == ["mnist_cnn", "lenet5"]
    assert listed("vgg*", "--max-macs", "7.7G") == ["vgg11", "vgg11_bn", "vgg11_quarter"]
    assert listed("vgg*", "--year", "1990") == []


def test_nothing_left_is_said() -> None:
    result = models("vgg*", "--year", "1990")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Ask for less" in result.stderr


def test_csv(tmp_path: Path) -> None:
    save_measurement(made_up("mlp"))
    result = models("[lm][enl][np]*", "--csv", str(tmp_path / "models.csv"))
    assert result.exit_code == 0, result.stderr
    rows = {row["name"]: row for row in csv.DictReader((tmp_path / "models.csv").read_text().splitlines())}
    assert set(rows) == {"lenet5", "mlp"}
    assert rows["lenet5"]["macs"] == "416520"
    assert rows["mlp"]["measured_train_images_per_second"] == "100.0"
    assert rows["lenet5"]["measured_train_images_per_second"] == ""
    assert models("mlp", "--csv", str(tmp_path / "no" / "folder.csv")).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnt18"], 'Did you mean "resnet18"?'),
        (["--sort", "yeer"], 'Did you mean "year"?'),
        (["--max-params", "few"], "such as 300k"),
        (["--year", "now"], "range of years"),
        (["mlp", "--measure", "--image-size", "big"], "neither a number"),
        (["mlp", "--sort", "speed"], "models --measure"),
    ],
)
def test_wrong_use(arguments: list[str], message: str) -> None:
    result = models(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""


@pytest.mark.slow
def test_measure_for_real() -> None:
    result = models("mlp", "--measure", "--batch-size", "4", "--device", "cpu", "--json")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)
    (measured,) = row["measured"]
    assert (measured["batch_size"], measured["image_size"], measured["device"]) == (4, 32, "cpu")
    assert measured["train_images_per_second"] > 0
    assert "[1/1] mlp: " in result.stderr
    assert "mlp" in models("mlp", "--sort", "speed").stdout  # a later call shows it


def test_measure_passes_its_options_on_and_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def fake(name: str, **options: Any) -> measure.Measurement:
        asked.append(options)
        if name == "lenet5":
            raise TrainingError("lenet5: not done within 5 s.")
        return made_up(name)

    monkeypatch.setattr(measure, "measure", fake)
    options = ["--image-size", "usual", "--batch-size", "8", "--time-limit", "5", "--device", "cpu"]
    result = models("[lm][enl][np]*", "--measure", *options)
    assert result.exit_code == 0
    assert asked == [{"image_size": None, "batch_size": 8, "device": "cpu", "time_limit": 5.0}] * 2
    assert "lenet5: not done within 5 s" in result.stderr
    monkeypatch.setattr(measure, "measure", lambda name, **options: fake("lenet5", **options))
    assert models("mlp", "--measure").exit_code == 1


def test_an_interrupted_measurement_keeps_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(name: str, **options: Any) -> measure.Measurement:
        if name == "mlp":
            raise KeyboardInterrupt
        return made_up(name)

    monkeypatch.setattr(measure, "measure", fake)
    result = models("[lm][enl][np]*", "--measure")
    assert result.exit_code == 130
    assert "1 of 2 networks were measured and are kept" in result.stderr
    assert [m.name for m in load_measurements()] == ["lenet5"]


def test_timeline_has_the_errors_of_the_landmarks(tmp_path: Path) -> None:
    """The book's numbers: 15.3, 6.67, 8.8, 4.49 and 3.57 %, as the papers report them."""
    result = models("--timeline", str(tmp_path / "history.svg"))
    assert result.exit_code == 0
    picture = (tmp_path / "history.svg").read_text(encoding="utf-8")
    for label in ("15.3", "6.67", "vgg16 8.8", "4.49", "3.57", "resnet50 6.71", "densenet121 7.71"):
        assert f"<!-- {label} -->" in picture
    assert "googlenet 6.67 % (seven networks, 144 crops)" in " ".join(result.stderr.split())
    refused = models("resnet20", "--timeline", str(tmp_path / "none.png"))
    assert refused.exit_code == 2
    assert "top-5" in refused.stderr
