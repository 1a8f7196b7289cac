"""``cnnlab runs`` and ``report``; and what every command says of a folder that is no run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnnlab.runs import Run
from tests.cli.helpers import cnnlab
from tests.runs.helpers_runs import copy_run


def test_runs_lists_finished_and_damaged_ones(tiny_run: Run, tmp_path: Path) -> None:
    copy_run(tiny_run, tmp_path / "good")
    damaged = copy_run(tiny_run, tmp_path / "damaged")
    (damaged.path / "summary.json").write_text("{")
    (copy_run(tiny_run, tmp_path / "unreadable").path / "env.json").write_text("{")
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
