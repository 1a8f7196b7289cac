"""``cnnlab evaluate``: a table for people, JSON for machines, files where asked."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cnnlab.runs import Run
from tests.cli.helpers import cnnlab


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


def test_wrong_use(tiny_run: Run, tmp_path: Path) -> None:
    assert cnnlab("evaluate", tiny_run.path, "--split", "tset").exit_code == 2
    unwritable = cnnlab("evaluate", tiny_run.path, "--csv", tmp_path / "no" / "folder" / "x.csv")
    assert unwritable.exit_code == 1
    assert "cannot be written" in unwritable.stderr
