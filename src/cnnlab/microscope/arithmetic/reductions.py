"""Means, sums and extremes over whole dimensions, such as global average pooling."""

from __future__ import annotations

import numpy as np

from cnnlab.microscope.arithmetic.elementwise import extreme_of_two
from cnnlab.microscope.arithmetic.operands import Operand, Question, Reply, count_text, number_text, reply_of
from cnnlab.microscope.arithmetic.pooling import average, largest


def mean(question: Question) -> Reply:
    """Return the arithmetic of a mean."""
    patch = _reduced(question)
    return average(question, patch, patch["array"].size)


def total(question: Question) -> Reply:
    """Return the arithmetic of a sum."""
    terms = _reduced(question, factor=1.0)
    count = count_text(terms["array"].size, "number")
    return reply_of(question, "sum", f"This number is the sum of {count}: {{value}}.", "sum(terms)", [terms])


def maximum(question: Question) -> Reply | None:
    """Return the arithmetic of a maximum over dimensions, or of the larger of two numbers."""
    return extreme_of_two(question) if "other" in question.arguments else largest(question, _reduced(question))


def minimum(question: Question) -> Reply | None:
    """Return the arithmetic of a minimum over dimensions, or of the smaller of two numbers."""
    if "other" in question.arguments:
        return extreme_of_two(question)
    positions = _positions(question)
    array = _reduced(question)["array"].ravel()
    smallest = question.operand("number", "self", [positions.ravel()[int(array.argmin())]])
    sentence = f"This number is the smallest of {count_text(array.size, 'number')}: {number_text(float(array.min()))}."
    return reply_of(question, "choice", sentence, "min(patch)", [smallest])


def _reduced(question: Question, **numbers: float) -> Operand:
    """Return the operand of the numbers that are reduced to the one asked for."""
    return question.operand("patch" if not numbers else "terms", "self", _positions(question)) | numbers


def _positions(question: Question) -> np.ndarray:
    """Return the positions of the numbers that are reduced to the one asked for."""
    shape, dims = question.argument("self").shape, question.arguments.get("dim")
    dims = list(range(len(shape))) if dims in (None, []) else [dims] if isinstance(dims, int) else dims
    reduced = {dim % max(len(shape), 1) for dim in dims}
    left = iter(question.index)
    index: list[int | slice] = []
    for dim in range(len(shape)):
        if dim in reduced:
            index.append(slice(None))
            if len(question.index) == len(shape):  # keepdim
                next(left)
        else:
            index.append(next(left))
    return np.asarray(np.arange(int(np.prod(shape))).reshape(tuple(shape))[tuple(index)])


OPERATIONS = {
    "mean": mean,
    "sum": total,
    "amax": maximum,
    "max": maximum,
    "maximum": maximum,
    "amin": minimum,
    "min": minimum,
    "minimum": minimum,
}
