"""The files of a run: what is written comes back, whatever files and classes are called."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from cnnlab.data import ArraySplit, ImageData
from cnnlab.files import csv_text, escape_formula, read_csv, unescape_formula
from cnnlab.runs import Run, RunFolder
from cnnlab.runs.folder import EPOCH_COLUMNS
from cnnlab.training.events import EpochDone
from tests.helpers import bars
from tests.runs.helpers_runs import copy_run

HOSTILE = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\tx",
    "'=1",
    "''=1",
    "plain",
    "-1",
    "+2.5",
    "'quoted'",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_a_formula_and_every_text_comes_back(text: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(csv_text(["name", "n"], [[text, 3]]), encoding="utf-8")
    assert read_csv(path) == [{"name": text, "n": "3"}]
    with open(path, newline="", encoding="utf-8") as file:
        cell = next(csv.DictReader(file))["name"]
    number = text in ("-1", "+2.5")
    assert number or not cell.startswith(("=", "+", "-", "@", "\t"))
    assert unescape_formula(escape_formula(text)) == text


def test_texts_have_one_form_each() -> None:
    assert len({escape_formula(text) for text in HOSTILE}) == len(HOSTILE)


def test_hostile_names_come_back_from_predictions_and_splits(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_run(tiny_run, tmp_path / "run")
    pixels, labels = bars(6)
    files = ["=a.png", "+b.png", "-c.png", "@d.png", "'e.png", "f.png"]
    data = ImageData("d", ["=x", "-y", "z"], ArraySplit(pixels, labels, files), None, None, "made up")
    run.write_split(data)
    assert run.split_files("train") == files
    run.write_scores(np.eye(3)[labels], labels.numpy(), data.classes, "train", files)
    assert run.evaluated_files() == files
    text = (run.path / "predictions.csv").read_text(encoding="utf-8")
    assert text.splitlines()[1].startswith("train,0,'=a.png,'=x,'=x,")
    assert [row["label"] for row in read_csv(run.path / "predictions.csv")] == [data.classes[k] for k in labels]


def test_every_value_of_an_epoch_is_a_column(tiny_run: Run) -> None:
    names = [field.name for field in fields(EpochDone)]
    assert list(EPOCH_COLUMNS) == [name for name in names if name != "session"]
    row = tiny_run.metrics[0]
    assert list(row) == list(EPOCH_COLUMNS)
    kinds = {"epoch": int, "lr": float, "split": str, "is_best": bool}
    assert all(type(row[name]) is kind for name, kind in kinds.items())


def test_a_column_that_an_older_version_did_not_write_is_none(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_run(tiny_run, tmp_path / "run")
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]
    (run.path / "metrics.csv").write_text(csv_text(list(rows[0]), [row.values() for row in rows]), encoding="utf-8")
    assert [row["seconds"] for row in run.metrics] == [None, None]
    run.write_metrics(run.metrics)
    assert [row["seconds"] for row in RunFolder(run.path).metrics] == [None, None]
    assert [row["lr"] for row in run.metrics] == [row["lr"] for row in rows]
