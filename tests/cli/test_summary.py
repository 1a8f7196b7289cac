"""``cnnlab summary`` as typer's runner sees it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cnnlab.cli import app
from cnnlab.runs import Run


def run_summary(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["summary", *map(str, arguments)])


@pytest.mark.parametrize("columns", [80, 120])
def test_layers_totals_and_stages(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    result = run_summary("resnet18")
    assert result.exit_code == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= columns
    lines = [line.split() for line in result.stdout.splitlines()]
    conv = next(line for line in lines if line[:1] == ["conv1"])
    assert {"Conv2d", "64x112x112", "9,408", "118M"} <= set(conv)
    assert ("3x224x224" in conv) == (columns == 120)
    assert next(line for line in lines if line[:1] == ["parameters"])[1] == "11,689,512"
    stage = next(line for line in lines if line[:1] == ["stage4"])
    assert stage == ["stage4", "layer4", "512x7x7", "32", "435", "0", "8,393,728", "411M"]


def test_sizes_and_options_reach_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    result = run_summary("convnet", "--num-classes", 7, "--in-channels", 1, "--image-size", 28, "batch_norm=false",
                         "widths=[4, 8, 16]", "--depth", 2)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "1x1x28x28" in result.stdout
    assert "BatchNorm2d" not in result.stdout
    assert "16x" in result.stdout


def test_json_csv_and_figure(tmp_path: Path) -> None:
    table, figure = tmp_path / "layers.csv", tmp_path / "lenet5.svg"
    result = run_summary("lenet5", "--json", "--csv", table, "--figure", figure)
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    assert (values["parameters"], values["macs"]) == (61_706, 416_520)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["own_macs"]) for row in rows) == 416_520
    assert [row["name"] for row in rows][1:4] == ["c1", "act1", "s2"]
    assert rows[1]["field"] == "5x5"
    assert "<svg" in figure.read_text()


def test_a_run_folder_is_summarised_by_its_model_file(tiny_run: Run) -> None:
    result = run_summary(tiny_run.path, "--json")
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    model = tiny_run.model()
    assert values["name"] == tiny_run.arch["name"]
    assert values["parameters"] == sum(p.numel() for p in model.parameters())
    assert values["inputs"] == [[1, tiny_run.arch["in_channels"], *[tiny_run.arch["image_size"]] * 2]]
    larger = run_summary(tiny_run.path, "--json", "--image-size", 32)
    assert json.loads(larger.stdout)["inputs"][0][2:] == [32, 32]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnt18"], 'Did you mean "resnet18"?'),
        (["lenet5", "alexnet"], '"alexnet" is no option=value'),
        (["lenet5", "activation=loud"], "activation"),
        (["lenet5", "--figure", "lenet5.doc"], "png"),
        (["lenet5", "--image-size", "0"], "image-size"),
    ],
)
def test_wrong_use(arguments: list[str], said: str) -> None:
    result = run_summary(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    result = run_summary(tmp_path)
    assert result.exit_code == 1
    assert "model.json" in result.stderr
