"""The check of an answer: the cases, the properties, and when something is wrong, what it is.

:func:`check_answer` runs the answer in this process. A loop without end is stopped by :mod:`cnnlab.learn.process`,
which runs this in another process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.learn.comparison import Comparison
from cnnlab.learn.diagnosis import diagnose, ways_wrong
from cnnlab.learn.exercise import Case, Exercise, Function, get_exercise
from cnnlab.learn.loading import AnswerError, load_file
from cnnlab.learn.runs import Run, adapted, argument_names, run_case, solved, to_array
from cnnlab.learn.verdict import Diagnosis, PropertyResult, Verdict
from cnnlab.scripts import Line, describe, last_line

_PRINTED = 1500  # characters of what the answer printed that are shown
_VALUES = "The results are right."
_UNCHANGED = "The arguments are left as they were."


def check_answer(function: Function, exercise: Exercise) -> Verdict:
    """Try an answer on every case of an exercise, and say what is wrong with it.

    Args:
        function: the answer: a function (for some exercises a class) as the exercise asks for it.
        exercise: the exercise.
    """
    begin = time.perf_counter()
    cases, expected = solved(exercise)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        got = [run_case(function, exercise, case) for case in cases]
    diagnoses = diagnose(exercise, cases, got, expected)
    broken = next((i for i, run in enumerate(got) if run.error or run.problem), None)
    if broken is not None:
        verdict = _broken(function, exercise, cases[broken], got[broken], diagnoses)
    else:
        with contextlib.redirect_stdout(io.StringIO()):
            properties = _properties(function, exercise, cases, got, expected)
        if all(each.holds for each in properties):
            verdict = Verdict(exercise.name, "passed", "right.", properties)
        else:
            comparison = _comparison(exercise, cases, got, expected)
            message = "not yet right." if diagnoses else _unrecognised(comparison)
            verdict = Verdict(exercise.name, "wrong", message, properties, tuple(diagnoses), comparison)
    text = printed.getvalue()
    text = text if len(text) <= _PRINTED else f"{text[:_PRINTED]}..."
    return _timed(dataclasses.replace(verdict, printed=text), begin)


def check_file(path: Path, exercise: Exercise) -> Verdict:
    """Check the answer in a file, as :func:`check_answer` does; a file without an answer gets a verdict too."""
    begin = time.perf_counter()
    try:
        function = load_file(path, exercise)
    except AnswerError as error:
        verdict = Verdict(exercise.name, "unreadable", str(error), line=error.line, code=error.code)
        return _timed(verdict, begin)
    return check_answer(function, exercise)


def check(function: Function, exercise: str | Exercise | None = None) -> Verdict:
    """Check an answer, as in a notebook: ``learn.check(affine_forward)``.

    Args:
        function: the answer.
        exercise: the exercise or its name; by default the function's own name.

    Raises:
        UnknownNameError: there is no such exercise.
    """
    if not isinstance(exercise, Exercise):
        exercise = get_exercise(exercise or str(getattr(function, "__name__", function)))
    verdict = check_answer(function, exercise)
    from cnnlab.learn.progress import record

    record(verdict)
    return verdict


def describe_case(exercise: Exercise, case: Case) -> str:
    """Say what a case is: what is special about it, and the shapes or values of its arguments."""
    parts = []
    for name, value in zip(argument_names(exercise, case), case.arguments, strict=True):
        array = to_array(value)
        if array is not None and array.ndim:
            parts.append(f"{name} {array.shape}".replace(",)", ")"))
        elif array is not None or isinstance(value, str):
            parts.append(f"{name} = {value!r}")
        elif isinstance(value, dict) and all(np.ndim(item) == 0 for item in value.values()):
            parts.append(f"{name} = {value}")
    shapes = ", ".join(parts)
    return f"{case.about} ({shapes})" if case.about and shapes else case.about or shapes


def _properties(
    function: Function, exercise: Exercise, cases: Sequence[Case], got: Sequence[Run], expected: Sequence[Run]
) -> tuple[PropertyResult, ...]:
    wrong = np.any([ways_wrong(name, got, expected) for name in exercise.compared], axis=0)
    results = [_result(_VALUES, exercise, cases, [not each for each in wrong])]
    answer = adapted(function, exercise)
    for each in exercise.properties:
        holds = []
        for case in cases:
            try:
                holds.append(bool(each.holds(answer, case)))
            except Exception:  # the property could not even be computed with this answer
                holds.append(False)
        results.append(_result(each.sentence, exercise, cases, holds))
    results.append(_result(_UNCHANGED, exercise, cases, [not run.changed for run in got]))
    return tuple(results)


def _result(sentence: str, exercise: Exercise, cases: Sequence[Case], holds: Sequence[bool]) -> PropertyResult:
    failed = next((case for case, each in zip(cases, holds, strict=True) if not each), None)
    return PropertyResult(sentence, failed is None, describe_case(exercise, failed) if failed else "")


def _broken(function: Function, exercise: Exercise, case: Case, run: Run, diagnoses: Sequence[Diagnosis]) -> Verdict:
    """Return the verdict on an answer that raises, or returns things of another kind."""
    about = describe_case(exercise, case)
    if run.error is None:
        return Verdict(exercise.name, "wrong", run.problem, diagnoses=tuple(diagnoses))
    code: Any = getattr(function, "__code__", None) or getattr(getattr(function, "__init__", None), "__code__", None)
    place = last_line(run.error, code.co_filename) if code else Line()
    if isinstance(run.error, NotImplementedError):
        message = "not written yet: it raises NotImplementedError."
        return Verdict(exercise.name, "unwritten", message, line=place.number, code=place.text)
    message = f"{describe(run.error)}\nThis happens for {about}."
    return Verdict(exercise.name, "error", message, diagnoses=tuple(diagnoses), line=place.number, code=place.text)


def _comparison(
    exercise: Exercise, cases: Sequence[Case], got: Sequence[Run], expected: Sequence[Run]
) -> Comparison | None:
    """Return the first output that is wrong, in the smallest case that shows it well."""
    candidates = [
        (
            order,
            right.values[name].shape != run.values[name].shape,
            right.values[name].size < 3,
            right.values[name].size,
            i,
        )
        for i, (run, right) in enumerate(zip(got, expected, strict=True))
        for order, name in enumerate(exercise.compared)
        if ways_wrong(name, [run], [right])[0]
    ]
    if not candidates:
        return None
    order, *_, i = min(candidates)
    name = exercise.compared[order]
    return Comparison(name, describe_case(exercise, cases[i]), expected[i].values[name], got[i].values[name])


def _unrecognised(comparison: Comparison | None) -> str:
    if comparison is None:
        return "the results are right, but a property does not hold."
    return f"not yet right. {comparison.output} is wrong in a way that was not recognised."


def _timed(verdict: Verdict, begin: float) -> Verdict:
    return dataclasses.replace(verdict, seconds=time.perf_counter() - begin)
