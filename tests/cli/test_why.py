"""``cnnlab why``: its exit codes, its JSON, and its answers to scripts that cannot be examined."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.helpers import cnnlab
from tests.why.training import GOOD, planted


@pytest.mark.slow
def test_a_planted_bug_is_exit_code_1(tmp_path: Path) -> None:
    script = planted(tmp_path / "train.py", ("model.train()", "model.eval()"))
    result = cnnlab("why", f"{script}:make_model", "--json")
    assert result.exit_code == 1
    values = json.loads(result.stdout)
    assert values["harmful"]
    assert values["findings"][0]["kind"] == "eval mode while training"


def test_a_wrong_syntax_is_shown_with_its_line(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(GOOD.replace("def make_model():", "def make_model()"), encoding="utf-8")
    result = cnnlab("why", f"{script}:make_model")
    assert result.exit_code == 2
    assert "line 9:" in result.stderr
    assert "def make_model()" in result.stderr


def test_a_missing_function_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    result = cnnlab("why", f"{planted(tmp_path / 'train.py')}:make_modle")
    assert result.exit_code == 2
    assert 'Did you mean "make_model"?' in result.stderr
    assert "train_step" in result.stderr


def test_an_unknown_name_says_what_can_be_named() -> None:
    result = cnnlab("why", "lenet5-mnist5")
    assert result.exit_code == 2
    assert 'There is no script, run folder or recipe "lenet5-mnist5". Did you mean "lenet5-mnist5k"?' in result.stderr


@pytest.mark.slow
def test_an_endless_loop_is_stopped_and_its_line_named(tmp_path: Path) -> None:
    script = planted(tmp_path / "train.py", ("def make_model():", "def make_model():\n    while True: pass"))
    result = cnnlab("why", f"{script}:make_model", "--time-limit", "3")
    assert result.exit_code == 2
    assert "line 10, in make_model" in result.stderr
    script.write_text("while True: pass\n")
    assert "train.py, line 1, in <module>: not done after 1 s" in cnnlab("why", script, "--time-limit", "1").stderr
