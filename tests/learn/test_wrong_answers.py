"""Answers that are wrong as students' are, written without a look at the exercises' own lists of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import learn as learn_benchmark

ANSWERS = sorted(learn_benchmark.FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", ANSWERS[::8], ids=lambda path: path.stem)
def test_a_wrong_answer_is_not_passed_and_stays_named(path: Path) -> None:
    check_that_it_stays_named(path)


@pytest.mark.slow
@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_every_wrong_answer_is_not_passed_and_stays_named(path: Path) -> None:
    check_that_it_stays_named(path)


def check_that_it_stays_named(path: Path) -> None:
    row = learn_benchmark.check(path)
    assert not row.passed
    assert row.named or not learn_benchmark.constant(path.read_text("utf-8"), "NAMED"), row.said


def test_there_are_fifty_answers_to_twenty_exercises() -> None:
    exercises = {learn_benchmark.constant(path.read_text("utf-8"), "EXERCISE") for path in ANSWERS}
    assert len(ANSWERS) >= 50
    assert len(exercises) >= 20
    assert {path.stem.rpartition("_")[0] for path in ANSWERS} == exercises


def test_the_table_says_how_many_are_named() -> None:
    row = learn_benchmark.check(learn_benchmark.FOLDER / "rnn_step_forward_1.py")
    text = learn_benchmark.page([row])
    assert "| 1 | 1 | 1 (100%) | 1 (100%) |" in text
    assert "| [rnn_step_forward_1](../tests/learn/wrong_answers/rnn_step_forward_1.py) | The tanh is missing. |" in text
    assert text.rstrip().endswith("| yes |")
