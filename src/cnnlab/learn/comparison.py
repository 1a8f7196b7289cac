"""Expected and actual value of an output, and as a table of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_ROWS, _COLUMNS = 6, 6  # numbers of a table that are shown at most

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Comparison:
    """Expected and actual value of an output in one case.

    Attributes:
        output: name of the output.
        about: the case in words: what is special, and shapes of its arguments.
        expected: the right value.
        got: the value of the answer.
    """

    output: str
    about: str
    expected: Array
    got: Array


def comparison_as_text(comparison: Comparison) -> str:
    """Return expected and actual value and their difference as a table of numbers; of large arrays a part."""
    expected, got = np.asarray(comparison.expected, float), np.asarray(comparison.got, float)
    title = f"{comparison.output} for {comparison.about}:"
    if expected.shape == got.shape:
        slices, cut = shown_part(expected, got)
        parts = {"expected": slices[0], "got": slices[1], "difference": slices[1] - slices[0]}
    else:
        cut = ""
        parts = {f"{word} {array.shape}": corner(array) for word, array in (("expected", expected), ("got", got))}
    blocks = {name: _number_lines(part) for name, part in parts.items()}
    height = max(len(block) for block in blocks.values())
    widths = {name: max([len(name), *map(len, block)]) for name, block in blocks.items()}
    rows = ["   ".join(name.ljust(widths[name]) for name in blocks)]
    rows += [
        "   ".join((block[i] if i < len(block) else "").ljust(widths[name]) for name, block in blocks.items())
        for i in range(height)
    ]
    if cut:
        title = f"{title} {cut}"
    return "\n".join([title, *(f"  {row.rstrip()}" for row in rows)])


def shown_part(expected: Array, got: Array, rows: int = _ROWS, columns: int = _COLUMNS) -> tuple[list[Array], str]:
    """Return a matrix of each array around the largest difference, and which part that is, in words."""
    both = [np.atleast_2d(expected), np.atleast_2d(got)]
    difference = np.abs(np.nan_to_num(both[1] - both[0], nan=np.inf))
    at = np.unravel_index(int(np.argmax(difference)), difference.shape)
    lead = tuple(int(index) for index in at[:-2])
    both = [array[lead] for array in both]
    cuts = []
    for size, index, limit in zip(both[0].shape, at[-2:], (rows, columns), strict=True):
        start = int(min(max(0, index - limit // 2), max(0, size - limit)))
        cuts.append(slice(start, min(start + limit, size)))
    whole = both[0].shape == tuple(cut.stop - cut.start for cut in cuts)
    words = [str(index) for index in lead] + [":" if whole else f"{cut.start}:{cut.stop}" for cut in cuts]
    cut_text = f"the part [{', '.join(words)}]" if lead or not whole else ""
    return [array[tuple(cuts)] for array in both], cut_text


def corner(array: Array, rows: int = _ROWS, columns: int = _COLUMNS) -> Array:
    """Return the first rows and columns of the first matrix in an array."""
    if not array.size:
        return np.zeros((0, 0))
    matrix = np.atleast_2d(array)
    return matrix[(0,) * (matrix.ndim - 2)][:rows, :columns]


def _number_lines(matrix: Array) -> list[str]:
    numbers = [[f"{value:.4g}" for value in row] for row in matrix]
    width = max((len(number) for row in numbers for number in row), default=1)
    return [" ".join(number.rjust(width) for number in row) for row in numbers]
