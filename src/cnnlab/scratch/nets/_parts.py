"""What the nets share: Gaussian weights, the penalty on weights, the check of images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.errors import ShapeError, UsageError
from cnnlab.scratch._checks import Array


def gaussian(weight_scale: float, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return weights with mean 0 and standard deviation ``weight_scale``, drawn from the global NumPy stream."""
    return (weight_scale * np.random.randn(*shape)).astype(dtype)


def add_penalty(params: Mapping[str, Array], grads: dict[str, Array], reg: float) -> Any:
    """Return ``0.5 * reg * sum(W**2)`` over all weights, and add its gradient ``reg * W`` to theirs.

    Only names that begin with W count: biases, gamma and beta are not penalised.
    """
    weights = {name: w for name, w in params.items() if name.startswith("W")}
    for name, w in weights.items():
        grads[name] = grads[name] + reg * w
    return 0.5 * reg * sum(np.sum(w * w) for w in weights.values())


def checked_reg(reg: float) -> float:
    """Return the strength of the penalty as a Python float, which does not make float32 arrays float64."""
    if not reg >= 0:
        raise UsageError(f"reg, the strength of the penalty on weights, must be 0 or more, got {reg}.")
    return float(reg)


def checked_images(X: Array, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return ``X`` as images (N, *shape) of this ``dtype``; for a shape (D,) they become rows of D numbers.

    Raises:
        ShapeError: the images have another shape.
    """
    size = np.shape(X)[1:]
    if size != shape and (len(shape) > 1 or math.prod(size) != shape[0]):
        raise ShapeError(f"X must be (N, {', '.join(map(str, shape))}), as the net was made for, got {np.shape(X)}.")
    return np.asarray(X, dtype).reshape(len(X), *shape)
