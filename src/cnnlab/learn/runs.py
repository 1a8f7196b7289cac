"""An answer run on a case: what it returned as arrays, what it raised, and what it changed that it must not change."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.learn.exercise import Case, Exercise, Function, Mistake

Array = npt.NDArray[Any]


@dataclass
class Run:
    """What happened when an answer was called with the arguments of a case.

    Attributes:
        values: name of an output -> its value, without the cache.
        problem: what is wrong with the kind of what was returned, in a sentence; ``""`` when it can be compared.
        error: the exception that was raised.
        changed: names of the arguments that were changed and must not be.
    """

    values: dict[str, Array] = field(default_factory=dict)
    problem: str = ""
    error: BaseException | None = None
    changed: tuple[str, ...] = ()


@functools.cache
def solved(exercise: Exercise) -> tuple[list[Case], list[Run]]:
    """Return the cases of an exercise, and what the solution gives in each."""
    cases = exercise.make_cases()
    return cases, [run_case(exercise.solution, exercise, case) for case in cases]


@functools.cache
def typical_runs(exercise: Exercise) -> list[tuple[Mistake, list[Run]]]:
    """Return the typical mistakes of an exercise, and what each gives in every case."""
    cases, _ = solved(exercise)
    return [(each, [run_case(each.function, exercise, case) for case in cases]) for each in exercise.mistakes]


def run_case(function: Function, exercise: Exercise, case: Case) -> Run:
    """Call an answer with copies of the arguments of a case."""
    arguments = copy.deepcopy(case.arguments)
    try:
        with _quiet_and_seeded():
            returned = call(function, exercise, *arguments)
    except (Exception, SystemExit) as error:
        return Run(error=error)
    run = _structured(returned, exercise)
    run.changed = tuple(
        name
        for name, before, after in zip(argument_names(exercise, case), case.arguments, arguments, strict=True)
        if name not in exercise.writes and not same(before, after)
    )
    return run


def call(function: Function, exercise: Exercise, *arguments: Any) -> Any:
    """Call an answer as the exercise says; an answer in another process may do that there."""
    call_here = exercise.call is not None and not getattr(function, "calls_itself", False)
    return exercise.call(function, *arguments) if exercise.call and call_here else function(*arguments)


def adapted(function: Function, exercise: Exercise) -> Function:
    """Return an answer as the properties call it: without the cache, and a single output by itself."""

    def answer(*arguments: Any) -> Any:
        with _quiet_and_seeded():
            returned = call(function, exercise, *copy.deepcopy(arguments))
        if len(exercise.outputs) == 1:
            return returned
        values = [value for name, value in zip(exercise.outputs, returned, strict=True) if name != "cache"]
        return values[0] if len(values) == 1 else tuple(values)

    return answer


def argument_names(exercise: Exercise, case: Case) -> list[str]:
    """Return the names of the arguments of a case, as in the signature of the solution."""
    names = list(exercise.arguments or inspect.signature(exercise.solution).parameters)
    return names[: len(case.arguments)]


def to_array(value: Any) -> Array | None:
    """Return numbers as an array, or ``None`` when ``value`` is not made of numbers."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):
        return None
    return array if array.dtype.kind in "biuf" else None


def same(a: Any, b: Any) -> bool:
    """Return whether two arguments hold the same, whatever they are made of."""
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    first, second = to_array(a), to_array(b)
    if first is None or second is None:
        return first is None and second is None
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


def _structured(returned: Any, exercise: Exercise) -> Run:
    """Name the outputs, or say what is wrong with the kind of what was returned."""
    names = exercise.outputs
    listed = ", ".join(names)
    if returned is None:
        return Run(problem=f"The function returned None. Does it end with `return {listed}`?")
    if returned is NotImplemented:
        return Run(problem="The function returned NotImplemented.")
    if len(names) == 1:
        values: Any = (returned,)
        if isinstance(returned, tuple) and len(returned) == 1:
            return Run(problem=f"The function returned a tuple of one value. Return {listed} alone, without a comma.")
    elif not isinstance(returned, tuple | list):
        kind = type(returned).__name__
        return Run(problem=f"The function returned one {kind}, but {len(names)} values are expected: {listed}.")
    elif len(returned) != len(names):
        what = f"{len(names)} values are expected: {listed}"
        return Run(problem=f"The function returned {len(returned)} value{'s' * (len(returned) != 1)}, but {what}.")
    else:
        values = returned
    run = Run()
    for name, value in zip(names, values, strict=True):
        if name == "cache":
            continue
        array = None if value is None else to_array(value)
        if array is None:
            kind = "None" if value is None else f"a {type(value).__name__}"
            return Run(problem=f"{name} is {kind}, but numbers are expected.")
        run.values[name] = np.array(array)
    return run


@contextmanager
def _quiet_and_seeded() -> Iterator[None]:
    """Seed the global random numbers, and let no warning be printed; afterwards the random state is as before."""
    state = np.random.get_state()
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch else None
    np.random.seed(0)
    if torch:
        torch.manual_seed(0)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)
        if torch and torch_state is not None:
            torch.set_rng_state(torch_state)
