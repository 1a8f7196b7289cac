"""What holds for every exercise: the package passes its own properties, and every typical mistake is named."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from cnnlab.learn.checking import check_answer, check_file
from cnnlab.learn.diagnosis import diagnose, same_run
from cnnlab.learn.exercise import Exercise, get_exercise, list_exercises
from cnnlab.learn.loading import load_source
from cnnlab.learn.runs import run_case, solved, typical_runs
from cnnlab.learn.texts import solution_text, starter

every_exercise = pytest.mark.parametrize("exercise", list_exercises(), ids=lambda exercise: exercise.name)


@every_exercise
def test_the_function_of_the_package_has_every_property(exercise: Exercise) -> None:
    verdict = check_answer(exercise.solution, exercise)
    assert verdict.passed, str(verdict)
    assert exercise.properties
    assert len(exercise.make_cases()) >= 2


@every_exercise
def test_the_solution_as_a_file_passes(exercise: Exercise) -> None:
    assert check_answer(load_source(solution_text(exercise), exercise, "solution.py"), exercise).passed


@every_exercise
def test_the_starter_is_not_written_yet(exercise: Exercise, tmp_path: Path) -> None:
    file = tmp_path / "answer.py"
    file.write_text(starter(exercise))
    verdict = check_file(file, exercise)
    assert verdict.status == "unwritten", str(verdict)
    assert "raise NotImplementedError" in verdict.code
    assert "cnnlab." not in starter(exercise)  # so that it also runs where the solutions cannot be imported


@every_exercise
def test_every_typical_mistake_fails_and_is_named(exercise: Exercise) -> None:
    assert 3 <= len(exercise.mistakes) <= 9
    cases, expected = solved(exercise)
    for mistake in exercise.mistakes:
        got = [run_case(mistake.function, exercise, case) for case in cases]
        assert [diagnosis.name for diagnosis in diagnose(exercise, cases, got, expected)] == [mistake.name]


@every_exercise
def test_no_two_mistakes_give_the_same_results(exercise: Exercise) -> None:
    runs = {mistake.name: runs for mistake, runs in typical_runs(exercise)}
    assert len(runs) == len(exercise.mistakes)
    for (first, a), (second, b) in itertools.combinations(runs.items(), 2):
        assert not all(map(same_run, a, b)), f"{first} and {second}"


@every_exercise
def test_hints_and_explanations_are_sentences(exercise: Exercise) -> None:
    assert 2 <= len(exercise.hints) <= 3
    sentences = [*exercise.hints, *(each.explanation for each in exercise.mistakes)]
    sentences += [each.sentence for each in exercise.properties]
    for sentence in sentences:
        assert sentence.endswith((".", "?", ")")), sentence


def test_titles_are_short_and_tell_the_exercises_apart() -> None:
    titles = [exercise.title for exercise in list_exercises()]
    assert len(set(titles)) == len(titles)
    assert all(0 < len(title) <= 40 for title in titles)


def test_the_order_of_exercises_is_unambiguous() -> None:
    orders = [exercise.order for exercise in list_exercises()]
    assert len(set(orders)) == len(orders)


def test_modules_of_exercises_do_not_load_torch() -> None:
    import subprocess

    code = "import sys; from cnnlab.learn import list_exercises; list_exercises(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_squeeze_and_excitation_may_be_made_of_dense_layers_as_its_note_says() -> None:
    from torch import Tensor, nn

    class SqueezeExcitation(nn.Module):
        def __init__(self, channels: int, squeezed: int) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)

        def forward(self, x: Tensor) -> Tensor:
            gates = self.fc2(self.fc1(x.mean((2, 3))).relu()).sigmoid()  # (N, C)
            return x * gates[:, :, None, None]

    verdict = check_answer(SqueezeExcitation, get_exercise("SqueezeExcitation"))
    assert verdict.passed, str(verdict)
