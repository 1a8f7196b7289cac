"""``cnnlab experiment`` and ``cnnlab experiments``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnnlab.experiments.study import find_study
from tests.cli.helpers import cnnlab

TINY = ("--scale", "tiny", "--data", "mnist5k", "--seeds", 2)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    outcome = cnnlab("experiment", "batchnorm", *TINY, "--out", folder / "batchnorm")
    assert outcome.exit_code == 0, outcome.stderr
    assert "With BatchNorm the training loss is lower" in outcome.stdout
    assert "index.html" in outcome.stdout
    assert "seed 1  batchnorm: accuracy" in outcome.stderr
    return folder


def test_experiments_lists_claims_with_the_answers_so_far(results: Path, tmp_path: Path) -> None:
    outcome = cnnlab("experiments", "--results", results)
    assert outcome.exit_code == 0, outcome.stderr
    assert "Ioffe, Szegedy" in outcome.stdout
    assert "cannot be told" in outcome.stdout
    assert "not measured" in outcome.stdout  # other studies
    claims = json.loads(cnnlab("experiments", "batchnorm", "--results", results, "--json").stdout)
    assert [claim["study"] for claim in claims] == ["batchnorm"]
    assert claims[0]["n"] == 2
    assert claims[0]["interval"][0] < claims[0]["effect"] < claims[0]["interval"][1]
    file = tmp_path / "measured.md"
    assert cnnlab("experiments", "--results", results, "--markdown", file).exit_code == 0
    assert "**cannot be told**" in file.read_text()


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than anything else where nothing is measured."""
    monkeypatch.setattr(type(find_study("batchnorm")), "draw", lambda study, tables: {})


@pytest.mark.usefixtures("no_figures")
def test_what_lies_there_is_not_measured_again_and_that_is_said(results: Path) -> None:
    outcome = cnnlab("experiment", "batchnorm", *TINY, "--out", results / "batchnorm")
    assert "--again measures them anew" in outcome.stderr.replace("\n", " ")
    assert "With BatchNorm the training loss is lower" in outcome.stdout


@pytest.mark.usefixtures("no_figures")
def test_json(results: Path) -> None:
    outcome = cnnlab("experiment", "batchnorm", *TINY, "--out", results / "batchnorm", "--json")
    values = json.loads(outcome.stdout)
    assert values["claims"][0]["answer"] == "cannot be told"
    assert values["seeds"] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("experiment", "batchnrm"), "batchnorm"),
        (("experiment", "batchnorm", "--variants", "plain,x"), "batchnorm"),
        (("experiment", "batchnorm", "--seeds", "1"), "two seeds"),
        (("experiment", "batchnorm", "--seeds", "many"), "5-9"),
        (("experiment", "batchnorm", "--scale", "large"), "tiny, small, full"),
        (("experiments", "nothing*"), "cnnlab experiments"),
        (("experiments", "--results", "nowhere"), "There is no folder nowhere"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cnnlab(*arguments)
    assert outcome.exit_code == 2
    assert words in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_study_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """``kill -9`` in the middle, and the same command again."""

    def command(out: Path) -> list[str]:
        return [
            sys.executable, "-m", "cnnlab", "experiment", "batchnorm", "--scale", "tiny", "--data", "mnist5k",
            "--seeds", "6", "--out", str(out),
        ]  # fmt: skip

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    with subprocess.Popen(
        command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not (tmp_path / "killed" / "seeds" / "001.json").exists() and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "killed" / "results.csv").exists()
    subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True)
    for name in ("results.csv", "curves.csv", "steps.csv", "layer_outputs.csv", "answers.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
