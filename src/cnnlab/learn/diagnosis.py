"""What is wrong with an answer: its outputs beside the right ones, those of typical mistakes, and general patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from cnnlab.learn.closeness import differs
from cnnlab.learn.error_hints import describe_error
from cnnlab.learn.exercise import Case, Exercise, Mistake
from cnnlab.learn.general_patterns import describe_values
from cnnlab.learn.runs import Array, Run, typical_runs
from cnnlab.learn.verdict import Diagnosis

# Kinds that say where something is wrong, but not what.
_VAGUE = ("some_cases", "some_entries", "precision", "along_axis", "nan", "multiple")
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
    typical: Sequence[tuple[Mistake, list[Run]]],
) -> list[Diagnosis]:
    values = [run.values[name] for run in got]
    right = [run.values[name] for run in expected]
    others = [(mistake, [run.values.get(name) for run in runs]) for mistake, runs in typical]
    # A mistake that is wrong in other outputs too explains less of an answer in which those are right.
    fine = [each for each in exercise.compared if not any(ways_wrong(each, got, expected))]
    spoils = {mistake.name: sum(any(ways_wrong(each, runs, expected)) for each in fine) for mistake, runs in typical}
    others.sort(key=lambda each: spoils[each[0].name])
    others = [each for each in others if not all(map(_agree, right, each[1]))]  # those that are wrong in this output
    general = describe_values(name, exercise, cases, got, expected)
    for mistake, results in others:
        if all(map(_agree, values, results)):
            is_better = spoils[mistake.name] and general is not None and general.kind == "factor"
            return [general] if is_better and general else [_named(mistake, name)]
    if general is not None and general.kind == "shape" and (like := _of_these_shapes(values, others)):
        sentence = f"{name} has the shape that this mistake gives: {like.explanation}"
        return [Diagnosis("near", sentence, name, like.name)]
    if general is not None and general.kind not in _VAGUE:
        return [general]
    for mistake, results in others:
        if all(map(_agree_but_for_axes, values, results)):
            return [_named(mistake, name)]
        if (factor := _common_factor(values, results)) is not None:
            times = "with the opposite sign" if np.isclose(factor, -1) else f"times {factor:.4g}"
            return [Diagnosis("mistake", f"{mistake.explanation} (It is that result {times}.)", name, mistake.name)]
    in_cases = _in_some_cases(name, cases, values, right, others)
    near = in_cases or _nearest(name, values, right, typical)
    return [each for each in (near, general) if each is not None]


def _agree(value: Array, other: Array | None) -> bool:
    return other is not None and equal(value, other)


def _of_these_shapes(
    values: Sequence[Array], others: Sequence[tuple[Mistake, Sequence[Array | None]]]
) -> Mistake | None:
    """Return the only typical mistake whose output has the answer's shape in every case; numbers have no shape."""
    shapes = [value.shape for value in values]
    if () in shapes:
        return None
    alike = [mistake for mistake, results in others if [getattr(each, "shape", None) for each in results] == shapes]
    return alike[0] if len(alike) == 1 else None


def _agree_but_for_axes(value: Array, other: Array | None) -> bool:
    """Return whether two outputs are equal when axes of length 1 are left out, or one number is repeated."""
    if other is None:
        return False
    first, second = np.squeeze(value), np.squeeze(other)
    if second.ndim == 0:
        return bool(first.size) and not differs(first, np.broadcast_to(second, first.shape)).any()
    return equal(first, second)


def _common_factor(values: Sequence[Array], others: Sequence[Array | None]) -> float | None:
    """Return the number other than 1 by which an output is larger than another in every case, or ``None``."""
    factors = []
    for value, other in zip(values, others, strict=True):
        if other is None or other.shape != value.shape or not np.isfinite(other).all():
            return None
        nonzero = other != 0
        if not nonzero.any():
            return None
        factor = float(np.median(np.asarray(value, float)[nonzero] / other[nonzero]))
        if not np.isfinite(factor) or abs(factor) < 1e-6 or differs(value, factor * other).any():
            return None
        factors.append(factor)
    return factors[0] if np.allclose(factors, factors[0]) and not np.isclose(factors[0], 1) else None


def _in_some_cases(
    name: str,
    cases: Sequence[Case],
    values: Sequence[Array],
    right: Sequence[Array],
    others: Sequence[tuple[Mistake, Sequence[Array | None]]],
) -> Diagnosis | None:
    """Return the typical mistake that gives the same in most of the cases in which the output is wrong.

    A case counts when it tells mistakes apart, and no case may contradict by being right where the mistake is wrong.
    """
    wrong = [i for i, (value, good) in enumerate(zip(values, right, strict=True)) if not equal(value, good)]
    scores = []
    for position, (_, results) in enumerate(others):
        shared = [
            i
            for i in wrong
            if (other := results[i]) is not None and equal(values[i], other) and not equal(right[i], other)
        ]
        told_apart = [i for i in shared if sum(_agree(values[i], each[i]) for _, each in others) == 1]
        scores.append((len(told_apart), len(shared), -position))
    told, shared_count, position = max(scores, default=(0, 0, 0))
    if not told or 2 * shared_count < len(wrong):
        return None
    mistake = others[-position][0]
    return Diagnosis("mistake", mistake.explanation, name, mistake.name)


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
