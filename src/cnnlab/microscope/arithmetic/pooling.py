"""Maximum and average over windows, and over the windows that adaptive pooling chooses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlab.microscope.arithmetic.operands import Operand, Question, Reply, count_text, number_text, reply_of


def max_pool(question: Question) -> Reply:
    """Return the arithmetic of one number of max pooling."""
    lines = [
        place * stride - padding + np.arange(size) * dilation
        for place, _, size, stride, padding, dilation in _windows(question)
    ]
    return largest(question, _patch(question, lines))


def average_pool(question: Question) -> Reply:
    """Return the arithmetic of one number of average pooling."""
    arguments = question.arguments
    lines = []
    for place, side, size, stride, padding, _ in _windows(question):
        start = place * stride - padding
        # A window that ceil_mode lets begin inside may pass the padded border: what is beyond does not count.
        lines.append(np.arange(start, min(start + size, side + padding)))
    patch = _patch(question, lines)
    inside = int(patch["mask"].sum()) if "mask" in patch else patch["array"].size
    counted = patch["array"].size if arguments.get("count_include_pad", True) else inside
    return average(question, patch, arguments.get("divisor_override") or counted)


def adaptive_max_pool(question: Question) -> Reply:
    """Return the arithmetic of one number of adaptive max pooling."""
    return largest(question, _patch(question, _adaptive_lines(question)))


def adaptive_average_pool(question: Question) -> Reply:
    """Return the arithmetic of one number of adaptive average pooling."""
    patch = _patch(question, _adaptive_lines(question))
    return average(question, patch, patch["array"].size)


def largest(question: Question, patch: Operand) -> Reply:
    """Return the reply to a number that is the largest of some."""
    count = int(patch["mask"].sum()) if "mask" in patch else patch["array"].size
    return reply_of(
        question,
        "maximum",
        f"This number is the largest of {count_text(count, 'number')}: {{value}}.",
        "max(patch)",
        [patch],
    )


def average(question: Question, patch: Operand, divisor: float) -> Reply:
    """Return the reply to a number that is a sum of some, divided."""
    total = float(patch["array"].astype(np.float64).sum())
    count = int(patch["mask"].sum()) if "mask" in patch else patch["array"].size
    by = f", divided by {number_text(divisor)}" if divisor != count else ""
    what = "sum" if by else "mean"
    return reply_of(
        question,
        "average",
        f"This number is the {what} of {count_text(count, 'number')}{by}: {{value}}.",
        "sum(patch) / divisor",
        [patch],
        [(f"sum of {count_text(count, 'number')}", total), ("/ divisor", divisor)],
        divisor=divisor,
    )


def _windows(question: Question) -> list[tuple[int, int, int, int, int, int]]:
    """Return place, side of the input, kernel size, stride, padding and dilation along each spatial dimension."""
    arguments, dims = question.arguments, _spatial(question)
    kernel = _each(arguments["kernel_size"], dims)
    stride = _each(arguments.get("stride") or kernel, dims)
    padding, dilation = (
        _each(arguments.get(key) or default, dims) for key, default in (("padding", 0), ("dilation", 1))
    )
    sides = question.argument("self").shape[-dims:]
    return list(zip(question.index[-dims:], sides, kernel, stride, padding, dilation, strict=True))


def _adaptive_lines(question: Question) -> list[np.ndarray]:
    """Return the positions along each spatial dimension that are pooled: output i of n from floor(i L / n) on."""
    dims = _spatial(question)
    sides, places = question.argument("self").shape[-dims:], question.index[-dims:]
    outs = question.output.shape[-dims:]
    return [np.arange(i * s // n, -(-(i + 1) * s // n)) for i, s, n in zip(places, sides, outs, strict=True)]


def _spatial(question: Question) -> int:
    """Return the number of spatial dimensions, which the operation's name says."""
    match = re.search(r"(\d)d", question.op)
    assert match is not None
    return int(match[1])


def _each(setting: Sequence[int] | int, dims: int) -> list[int]:
    """Return a setting along every dimension; one number is meant for all of them."""
    values = [setting] if isinstance(setting, int) else list(setting)
    return values * dims if len(values) == 1 else values


def _patch(question: Question, lines: list[np.ndarray]) -> Operand:
    """Return the operand of the window with these positions along the spatial dimensions."""
    shape = tuple(question.argument("self").shape)
    before = question.index[: len(shape) - len(lines)]
    grid = np.meshgrid(*lines, indexing="ij")
    sides = shape[len(shape) - len(lines) :]
    inside = np.all([(g >= 0) & (g < side) for g, side in zip(grid, sides, strict=True)], axis=0)
    index = [np.full_like(grid[0], i) for i in before] + [np.where(inside, g, 0) for g in grid]
    flat = np.where(inside, np.ravel_multi_index(index, shape), -1)
    box: list[Any] | None = [[before[-1]], *lines] if len(lines) == 2 and before else None
    return question.operand("patch", "self", flat[None], box)


OPERATIONS = (
    dict.fromkeys(
        ["max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool1d", "max_pool2d", "max_pool3d"], max_pool
    )
    | dict.fromkeys(["avg_pool1d", "avg_pool2d", "avg_pool3d"], average_pool)
    | dict.fromkeys(["adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"], adaptive_max_pool)
    | dict.fromkeys(
        [
            "_adaptive_avg_pool2d",
            "_adaptive_avg_pool3d",
            "adaptive_avg_pool1d",
            "adaptive_avg_pool2d",
            "adaptive_avg_pool3d",
        ],
        adaptive_average_pool,
    )
)
