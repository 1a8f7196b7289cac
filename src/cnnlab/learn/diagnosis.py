"""What is wrong with an answer: its outputs beside the right ones, those of typical mistakes, and general patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from cnnlab.learn.closeness import differs
from cnnlab.learn.exercise import Case, Exercise, Mistake
from cnnlab.learn.general_patterns import describe_error, describe_values
from cnnlab.learn.runs import Array, Run, typical_runs
from cnnlab.learn.verdict import Diagnosis

_VAGUE = ("some_cases", "some_entries")  # kinds that say where something is wrong, but not what
_NEAR = 0.05  # distance to the nearest mistake, in units of the distance to the right result


def diagnose(exercise: Exercise, cases: Sequence[Case], got: Sequence[Run], expected: Sequence[Run]) -> list[Diagnosis]:
    """Say what is wrong with an answer.

    The whole answer is compared with every typical mistake of the exercise. When none gives the same, each wrong output
    is: two mistakes in two outputs are both named. An output that is like no typical mistake is described by general
    patterns (a factor, the sign, only the border, ...), and else by the nearest typical mistake.

    Args:
        exercise: the exercise.
        cases: its cases.
        got: what the answer gave in each case.
        expected: what the solution gives in each case.

    Returns:
        The diagnoses; none when nothing was recognised or nothing is wrong.
    """
    wrong = {name: ways_wrong(name, got, expected) for name in exercise.compared}
    if not any(run.error or run.problem or run.changed for run in got) and not any(map(any, wrong.values())):
        return []
    typical = typical_runs(exercise)
    for mistake, runs in typical:
        if all(map(same_run, got, runs)):
            return [_named(mistake)]
    if any(run.error or run.problem for run in got):
        error = next((run.error for run in got if run.error), None)
        return [each for each in [error and describe_error(error)] if each]
    diagnoses = []
    for name in exercise.compared:
        if any(wrong[name]):
            diagnoses += _diagnose_output(name, exercise, cases, got, expected, typical)
    changed = sorted({name for run in got for name in run.changed})
    if changed:
        names = " and ".join(changed)
        sentence = f"The function changes its argument {names}. Work on a copy: `{changed[0]} = {changed[0]}.copy()`."
        diagnoses.append(Diagnosis("argument_changed", sentence))
    diagnoses.sort(key=lambda diagnosis: diagnosis.kind in _VAGUE)
    return list({diagnosis.sentence: diagnosis for diagnosis in diagnoses}.values())


def ways_wrong(name: str, got: Sequence[Run], expected: Sequence[Run]) -> list[bool]:
    """Return for each case whether an output differs from the right one."""
    return [
        name not in run.values or not equal(run.values[name], right.values[name])
        for run, right in zip(got, expected, strict=True)
    ]


def equal(a: Array, b: Array) -> bool:
    """Return whether two outputs have the same shape and values."""
    return a.shape == b.shape and not differs(a, b).any()


def same_run(a: Run, b: Run) -> bool:
    """Return whether two answers did the same in a case."""
    if a.error or b.error:
        return _same_error(a.error, b.error)
    if a.problem or b.problem:
        return a.problem == b.problem
    return a.changed == b.changed and all(equal(a.values[name], b.values[name]) for name in a.values)


def _same_error(a: BaseException | None, b: BaseException | None) -> bool:
    """Return whether two exceptions are of one type and about the same sizes, whatever their words (@ or np.dot)."""
    if type(a) is not type(b):
        return False
    first, second = (set(re.findall(r"\d+", str(error))) for error in (a, b))
    return str(a) == str(b) or (bool(first and second) and (first <= second or second <= first))


def _named(mistake: Mistake, output: str = "") -> Diagnosis:
    return Diagnosis("mistake", mistake.explanation, output, mistake.name)


def _diagnose_output(
    name: str,
    exercise: Exercise,
    cases: Sequence[Case],
    got: Sequence[Run],
    expected: Sequence[Run],
    typical: Sequence[tuple[Mistake, Sequence[Run]]],
) -> list[Diagnosis]:
    values = [run.values[name] for run in got]
    alike = [
        (mistake, runs)
        for mistake, runs in typical
        if all(name in run.values and equal(value, run.values[name]) for value, run in zip(values, runs, strict=True))
    ]
    general = describe_values(name, exercise, cases, got, expected)
    if alike:
        mistake, runs = alike[0]
        # The words of a mistake that spoils other outputs too would be wrong about those that are right here.
        spoils = [
            other
            for other in exercise.compared
            if any(ways_wrong(other, runs, expected)) and not any(ways_wrong(other, got, expected))
        ]
        return [general if spoils and general is not None and general.kind == "factor" else _named(mistake, name)]
    if general is not None and general.kind not in _VAGUE:
        return [general]
    near = _nearest(name, values, [run.values[name] for run in expected], typical)
    return [each for each in (near, general) if each is not None]


def _nearest(
    name: str, values: Sequence[Array], right: Sequence[Array], typical: Sequence[tuple[Mistake, Sequence[Run]]]
) -> Diagnosis | None:
    """Return the typical mistake whose output is much nearer to the answer's than the right one is."""

    def distance(others: Sequence[Array | None]) -> float:
        if any(other is None or other.shape != value.shape for value, other in zip(values, others, strict=True)):
            return np.inf
        gaps = [np.linalg.norm(np.asarray(value, float) - other) for value, other in zip(values, others, strict=True)]
        return float(np.sum(gaps))

    reference = distance(right)
    distances = [(distance([run.values.get(name) for run in runs]), i) for i, (_, runs) in enumerate(typical)]
    if not distances or not np.isfinite(reference) or not min(distances)[0] < _NEAR * reference:
        return None
    mistake = typical[min(distances)[1]][0]
    return Diagnosis("near", f"It looks like this mistake: {mistake.explanation}", name, mistake.name)
