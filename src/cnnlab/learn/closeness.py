"""When two results count as the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def differs(got: Array, expected: Array) -> Array:
    """Return where two arrays of the same shape differ: True beyond 1e-5 of the value and 1e-6 of the largest value.

    That leaves room for float32 and for another order of summation. NaN equals NaN.
    """
    a, b = np.asarray(got, float), np.asarray(expected, float)
    finite = np.abs(b[np.isfinite(b)])
    scale = float(finite.max(initial=0.0))
    return ~np.isclose(a, b, rtol=1e-5, atol=1e-6 * scale + 1e-12, equal_nan=True)


def is_close(got: Any, expected: Any) -> bool:
    """Return whether two results have the same shape and nearly the same values."""
    a, b = np.asarray(got), np.asarray(expected)
    return a.shape == b.shape and not differs(a, b).any()
