"""Spearman's rank correlation: the agreement of two orders."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor


def ranks(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the rank of each value in rising order, from 1; equal values share the mean of their ranks."""
    _, which, counts = np.unique(np.ravel(values), return_inverse=True, return_counts=True)
    last: npt.NDArray[Any] = counts.cumsum()
    means: npt.NDArray[np.float64] = last - (counts - 1) / 2
    return means[which.ravel()]


def spearman(one: npt.ArrayLike | Tensor, other: npt.ArrayLike | Tensor) -> float:
    """Return the rank correlation of two arrays of one shape, -1 to 1; 0 when all values of one are equal.

    Spearman: The proof and measurement of association between two things. American Journal of Psychology 1904.
    """
    first, second = (ranks(v.detach().double().cpu() if isinstance(v, Tensor) else v) for v in (one, other))
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / size if size > 0 else 0.0
