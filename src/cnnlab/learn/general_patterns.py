"""Patterns of wrong values that any exercise can show: a factor, the sign, another order, only the border."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cnnlab.learn.closeness import differs, is_close
from cnnlab.learn.exercise import Case, Exercise
from cnnlab.learn.runs import Array, Run, argument_names, to_array
from cnnlab.learn.verdict import Diagnosis

Pairs = list[tuple[Array, Array]]  # value of the answer and right value, for each case


# Factors that come from a confusion, and what was confused.
_FACTORS = {
    1 / math.log(2): "Is the logarithm of base 2, and not the natural one?",
    1 / math.log(10): "Is the logarithm of base 10, and not the natural one?",
    180 / math.pi: "Degrees instead of radians?",
    math.pi / 180: "Radians instead of degrees?",
    255: "Values of 0..255 instead of 0..1?",
    1 / 255: "Values of 0..1 instead of 0..255?",
}


def describe_values(
    name: str, exercise: Exercise, cases: Sequence[Case], got: Sequence[Run], expected: Sequence[Run]
) -> Diagnosis | None:
    """Describe how an output differs from the right one, or return ``None``.

    Args:
        name: name of the output.
        exercise: the exercise.
        cases: its cases.
        got: what the answer gave in each case.
        expected: what the solution gives in each case.
    """
    # As floats: a mask has no negative, and unsigned integers have another one.
    pairs = [
        (np.asarray(run.values[name], float), np.asarray(right.values[name], float))
        for run, right in zip(got, expected, strict=True)
    ]
    for other in exercise.compared:
        if other != name and all(
            is_close(a, right.values[other]) for (a, _), right in zip(pairs, expected, strict=True)
        ):
            return Diagnosis("swapped", f"What you return as {name} is {other}: check the order of the outputs.", name)
    wrong = [(i, pair) for i, pair in enumerate(pairs) if not is_close(*pair)]
    if shape := _about_shape(name, [pair for _, pair in wrong]):
        return shape
    copies = [
        {key for key, value in _arrays(exercise, case) if is_close(pair[0], value)}
        for case, pair in zip(cases, pairs, strict=True)
    ]
    if shared := set.intersection(*copies):
        return Diagnosis("argument_returned", f"{name} is {min(shared)}, unchanged.", name)
    if nan := _about_nan(name, cases, pairs):
        return nan
    for pattern in (_about_constants, _about_equal_numbers, _about_functions, _about_order):
        if diagnosis := pattern(name, pairs):
            return diagnosis
    for pattern_of_cases in (_about_factor, _about_arguments):
        if diagnosis := pattern_of_cases(name, exercise, cases, pairs):
            return diagnosis
    return _about_places(name, cases, pairs)


def _about_shape(name: str, wrong: Pairs) -> Diagnosis | None:
    different = [(got, right) for got, right in wrong if got.shape != right.shape]
    if not different:
        return None
    got, right = different[0]
    shapes = f"{name} has the shape {got.shape}, expected {right.shape}"
    if all(is_close(got.T, right) for got, right in wrong):
        return Diagnosis("transposed", f"{name} is right but transposed: return its transpose.", name)
    if all(got.size == right.size and is_close(got.ravel(), right.ravel()) for got, right in different):
        return Diagnosis("reshape", f"{shapes}; the values are right, so only a reshape is missing.", name)
    if got.ndim == 0:
        return Diagnosis(
            "shape", f"{shapes}: a single number. Is a sum or mean taken over all axes instead of one?", name
        )
    if got.shape == right.shape[::-1]:
        return Diagnosis("shape", f"{shapes}. It looks transposed, and the values differ too.", name)
    if got.ndim < right.ndim:
        return Diagnosis("shape", f"{shapes}. Too many axes are summed, or an axis got lost.", name)
    if got.ndim > right.ndim:
        return Diagnosis("shape", f"{shapes}. A sum over an axis is missing.", name)
    if got.ndim == 1:
        return Diagnosis("shape", f"{shapes}. Is the sum or mean taken over the wrong axis?", name)
    return Diagnosis("shape", f"{shapes}.", name)


def _about_nan(name: str, cases: Sequence[Case], pairs: Pairs) -> Diagnosis | None:
    """Say in which cases a result is NaN or infinite where the right one is a number."""
    bad = [i for i, (got, right) in enumerate(pairs) if not np.isfinite(got[np.isfinite(right)]).all()]
    if not bad:
        return None
    kind = "NaN" if any(np.isnan(pairs[i][0]).any() for i in bad) else "infinite"
    where = ""
    if len(bad) < len(pairs):
        about = "; ".join(dict.fromkeys(cases[i].about for i in bad if cases[i].about))
        where = f" in {len(bad)} of {len(pairs)} cases" + (f" ({about})" if about else "")
    return Diagnosis("nan", f"{name} is {kind}{where}: a division by zero, the log of 0, or an overflow of exp?", name)


def _about_constants(name: str, pairs: Pairs) -> Diagnosis | None:
    if all(not got.any() for got, _ in pairs):
        return Diagnosis("zeros", f"{name} is zero everywhere: is it ever filled?", name)
    if all(is_close(-got, right) for got, right in pairs):
        return Diagnosis("sign", f"{name} has the wrong sign.", name)
    if all(is_close(got, np.abs(right)) for got, right in pairs):
        return Diagnosis("sign", f"{name} has lost its sign: it is the absolute value of the right result.", name)
    offsets = [_only(got - right) for got, right in pairs]
    if all(offset is not None for offset in offsets) and any(got.size > 1 for got, _ in pairs):
        return Diagnosis(
            "offset", f"{name} differs by the same number everywhere ({offsets[0]:.4g} in the first case).", name
        )
    return None


def _about_equal_numbers(name: str, pairs: Pairs) -> Diagnosis | None:
    """Name an axis along which all numbers are the same, although the right ones differ."""
    ndim = pairs[0][1].ndim
    if any(right.ndim != ndim for _, right in pairs):
        return None
    for axis in range(ndim):
        if not all(is_close(got, _spread(got.take([0], axis), got)) for got, _ in pairs if got.size):
            continue
        if all(is_close(right, _spread(right.take([0], axis), right)) for _, right in pairs if right.size):
            continue
        same = f"{name} is the same number all along axis {axis}"
        if all(is_close(got, _spread(right.sum(axis, keepdims=True), got)) for got, right in pairs):
            return Diagnosis("constant", f"{same}: the sum of the right numbers. It sums over axis {axis} too.", name)
        return Diagnosis("constant", f"{same}, and the right numbers differ: is that axis summed or averaged?", name)
    return None


def _about_functions(name: str, pairs: Pairs) -> Diagnosis | None:
    functions: dict[str, Callable[[Array], Array]] = {
        "the square of the right result: is a root missing?": np.square,
        "the root of the right result: is there a root too many?": lambda a: np.sqrt(np.abs(a)),
        "the exponential of the right result: is a logarithm missing?": np.exp,
        "the reciprocal of the right result: is a fraction upside down?": lambda a: 1 / np.where(a == 0, np.nan, a),
        "cut to whole numbers: the array is of integers, or // was used.": np.trunc,
        "rounded down to whole numbers: the array is of integers, or // was used.": np.floor,
    }
    with np.errstate(all="ignore"):
        for sentence, function in functions.items():
            if all(is_close(got, function(np.asarray(right, float))) for got, right in pairs):
                return Diagnosis("function", f"{name} is {sentence}", name)
    return None


def _about_order(name: str, pairs: Pairs) -> Diagnosis | None:
    ndim = pairs[0][1].ndim
    if any(right.ndim != ndim for _, right in pairs) or not ndim:
        return None
    for axis in range(ndim):
        if all(is_close(np.flip(got, axis), right) for got, right in pairs):
            return Diagnosis("flipped", f"{name} is right but reversed along axis {axis}.", name)
    for first, second in itertools.combinations(range(ndim), 2):
        if all(is_close(np.swapaxes(got, first, second), right) for got, right in pairs):
            return Diagnosis("transposed", f"{name} is right but its axes {first} and {second} are swapped.", name)
    for axis, shift in itertools.product(range(ndim), (1, -1)):
        if all(is_close(np.roll(got, shift, axis), right) for got, right in pairs):
            return Diagnosis("shifted", f"{name} is right but shifted by one along axis {axis}.", name)
    if all(is_close(np.sort(got.ravel()), np.sort(right.ravel())) for got, right in pairs):
        return Diagnosis("order", f"{name} has the right numbers in wrong places: a reshape without a transpose?", name)
    return None


def _about_factor(name: str, exercise: Exercise, cases: Sequence[Case], pairs: Pairs) -> Diagnosis | None:
    """Name a factor between the answer and the right result: a length of an axis, or the same number in all cases."""
    factors = []
    for got, right in pairs:
        nonzero = np.abs(right) > 1e-9 * np.abs(right).max(initial=0)
        factor = _only(got[nonzero] / right[nonzero])
        if factor is None or differs(got, factor * right).any():
            return None
        factors.append(factor)
    lengths: dict[str, list[float]] = {}
    for case in cases:
        for key, value in _lengths(exercise, case):
            lengths.setdefault(key, []).append(value)
    settings: dict[str, list[tuple[float, float]]] = {}  # with the factor, in the cases that have the setting
    for case, factor in zip(cases, factors, strict=True):
        for key, value in _settings(exercise, case):
            settings.setdefault(key, []).append((value, factor))
    for key, both in settings.items():
        values, factors_there = np.array(both).T
        if len(set(values)) > 1 and values.all():
            if np.allclose(factors_there, values):
                return Diagnosis("factor", f"{name} is multiplied with {key} once too often.", name)
            if np.allclose(factors_there, 1 / values):
                return Diagnosis("factor", f"{name} lacks the factor {key}: multiply by it.", name)
    for key, values in lengths.items():
        if len(values) == len(cases) and len(set(values)) > 1:
            if np.allclose(factors, values):
                return Diagnosis(
                    "factor",
                    f"{name} is too large by the factor {key}: divide by it (a sum that should be a mean).",
                    name,
                )
            if np.allclose(factors, 1 / np.asarray(values)):
                return Diagnosis(
                    "factor", f"{name} is too small by the factor {key}: it is divided by it once too often.", name
                )
    if np.allclose(factors, factors[0]):
        meaning = next((f" {words}" for number, words in _FACTORS.items() if np.isclose(factors[0], number)), "")
        return Diagnosis("factor", f"{name} is {factors[0]:.4g} times the right result in every case.{meaning}", name)
    if all(right.size == 1 for _, right in pairs):  # a number is always a multiple of another
        values, expected = (", ".join(f"{side.item():.4g}" for side in sides[:4]) for sides in zip(*pairs, strict=True))
        return Diagnosis("multiple", f"{name} is {values} in the cases one by one, expected {expected}.", name)
    listed = ", ".join(f"{factor:.4g}" for factor in factors[:4])
    return Diagnosis(
        "multiple", f"{name} is a multiple of the right result: {listed} times in the cases one by one.", name
    )


def _about_arguments(name: str, exercise: Exercise, cases: Sequence[Case], pairs: Pairs) -> Diagnosis | None:
    """Say that an argument is added to the result too often, or not at all, when that makes the whole difference."""
    lines: dict[tuple[str, int], list[float]] = {}
    for case, (got, right) in zip(cases, pairs, strict=True):
        difference = np.asarray(got, float) - right
        for argument, array in _arrays(exercise, case):
            if array.ndim != 1 or not array.any():
                continue
            for axis in range(1 - difference.ndim, 1):  # counted from the last one, so that it is the same in all cases
                if difference.shape[axis - 1] != len(array):
                    continue
                shape = [1] * difference.ndim
                shape[axis - 1] = len(array)
                added = np.broadcast_to(array.reshape(shape), difference.shape)
                times = float((difference * added).sum() / (added**2).sum())
                if not differs(difference + right, times * added + right).any():
                    lines.setdefault((argument, axis), []).append(times)
    for (argument, _), factors in lines.items():
        if len(factors) == len(cases) and np.any(np.abs(factors) > 1e-6):
            if np.allclose(factors, -1):
                return Diagnosis("argument_added", f"{argument} is not added to {name}.", name)
            often = ", ".join(f"{factor + 1:.3g}" for factor in factors[:4])
            sentence = f"{argument} is added to {name} {often} times in the cases one by one; add it once."
            return Diagnosis("argument_added", sentence, name)
    return None


def _about_axes(name: str, pairs: Pairs) -> Diagnosis | None:
    """Say that the difference is the same along an axis, as when something is broadcast along the wrong one."""
    wrong = [np.asarray(got, float) - right for got, right in pairs if not is_close(got, right)]
    ndim = wrong[0].ndim
    if ndim < 2 or any(each.ndim != ndim for each in wrong):
        return None
    for axis in range(ndim):
        long = [each for each in wrong if each.shape[axis] > 1]
        if long and all(
            is_close(each, np.broadcast_to(each.mean(axis=axis, keepdims=True), each.shape)) for each in long
        ):
            sentence = f"The difference in {name} is the same along axis {axis}: is something added or averaged "
            return Diagnosis("along_axis", f"{sentence}along the wrong axis?", name)
    return None


def _about_places(name: str, cases: Sequence[Case], pairs: Pairs) -> Diagnosis | None:
    """Say in which entries or in which cases the output is wrong, when it is not wrong everywhere."""
    masks = [differs(got, right) for got, right in pairs]
    some = [mask for mask in masks if mask.any()]
    ndim = some[0].ndim
    if ndim == 4 and all(min(mask.shape[-2:]) >= 3 and not mask[..., 1:-1, 1:-1].any() for mask in some):
        return Diagnosis("border", f"{name} is right inside and wrong at the border: look at the padding.", name)
    if (by_value := _about_values(name, pairs, masks)) is not None:
        return by_value
    for axis in range(ndim):
        along = [_any_along(mask, axis) for mask in some if mask.ndim == ndim]
        if all(len(line) > 1 and line[0] and not line[1:].any() for line in along):
            return Diagnosis("some_entries", f"{name} is wrong only at index 0 along axis {axis}.", name)
        if all(len(line) > 1 and line[-1] and not line[:-1].any() for line in along):
            return Diagnosis("some_entries", f"{name} is wrong only at the last index along axis {axis}.", name)
    if (by_axes := _about_axes(name, pairs)) is not None:
        return by_axes
    if len(some) < len(masks):
        right = [case.about for case, mask in zip(cases, masks, strict=True) if not mask.any() and case.about]
        wrong = [case.about for case, mask in zip(cases, masks, strict=True) if mask.any() and case.about]
        right, wrong = list(dict.fromkeys(right)), list(dict.fromkeys(wrong))
        parts = [f"right in {len(masks) - len(some)} of {len(masks)} cases"]
        parts += [f"right for: {'; '.join(right)}"] * bool(right) + [f"wrong for: {'; '.join(wrong)}"] * bool(wrong)
        return Diagnosis("some_cases", f"{name} is {', '.join(parts)}.", name)
    share = sum(int(mask.sum()) for mask in masks) / max(1, sum(mask.size for mask in masks))
    if share < 0.9:
        return Diagnosis("some_entries", f"{name} is wrong in {share:.0%} of its entries.", name)
    return None


def _about_values(name: str, pairs: Pairs, masks: Sequence[Array]) -> Diagnosis | None:
    conditions: dict[str, Callable[[Array], Array]] = {
        "negative.": lambda a: a < 0,
        "positive.": lambda a: a > 0,
        "0: is a mask missing?": lambda a: a == 0,
    }
    for words, condition in conditions.items():
        elsewhere = [~condition(right) for _, right in pairs]
        if any(place.any() for place in elsewhere) and not any(
            mask[place].any() for mask, place in zip(masks, elsewhere, strict=True)
        ):
            return Diagnosis("some_entries", f"{name} is wrong only where the right result is {words}", name)
    errors = [np.abs(got - right) / (np.abs(right).max(initial=0) + 1e-12) for got, right in pairs]
    if all(error.max(initial=0) < 1e-3 for error in errors):
        sentence = f"{name} is nearly right: it differs by less than 0.1 %. Is a small number (eps) in the wrong place?"
        return Diagnosis("precision", sentence, name)
    return None


def _spread(values: Array, like: Array) -> Array:
    """Return values with axes of length 1, repeated to the shape of another array."""
    return np.broadcast_to(values, like.shape)


def _any_along(mask: Array, axis: int) -> Array:
    """Return for each index along an axis whether the mask is True anywhere there."""
    return np.asarray(np.moveaxis(mask, axis, 0).reshape(mask.shape[axis], -1).any(axis=1))


def _only(values: Array) -> float | None:
    """Return the number that all values are, or ``None`` when they differ or there are none."""
    values = np.asarray(values, float).ravel()
    if not values.size or not np.isfinite(values).all():
        return None
    return float(values[0]) if np.allclose(values, values[0], rtol=1e-4, atol=1e-12) else None


def _arrays(exercise: Exercise, case: Case) -> Iterator[tuple[str, Array]]:
    """Yield the arrays among the arguments of a case, also those within tuples, with names."""

    def within(name: str, value: Any) -> Iterator[tuple[str, Array]]:
        if isinstance(value, tuple | list):
            for i, item in enumerate(value):
                yield from within(f"{name}[{i}]", item)
        elif (array := to_array(value)) is not None and array.ndim:
            yield name, array

    for name, value in zip(argument_names(exercise, case), case.arguments, strict=True):
        yield from within(name, value)


def _lengths(exercise: Exercise, case: Case) -> Iterator[tuple[str, float]]:
    """Yield the lengths of the axes of all arguments, and their numbers of values, with names."""
    for name, array in _arrays(exercise, case):
        for axis, length in enumerate(array.shape):
            yield f"{name}.shape[{axis}]", float(length)
        yield f"{name}.size", float(array.size)


def _settings(exercise: Exercise, case: Case) -> Iterator[tuple[str, float]]:
    """Yield the numbers among the arguments of a case, also those in dictionaries, with names."""
    for name, value in zip(argument_names(exercise, case), case.arguments, strict=True):
        if isinstance(value, dict):
            yield from ((f'{name}["{key}"]', float(item)) for key, item in value.items() if _is_number(item))
        elif _is_number(value):
            yield name, float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
