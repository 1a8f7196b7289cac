"""The fully connected layer: every output is a weighted sum of all inputs."""

from __future__ import annotations

import math

from cnnlab.errors import ShapeError
from cnnlab.scratch._checks import Array, Cache, expect_floats, expect_ndim, expect_shape


def affine_forward(x: Array, w: Array, b: Array) -> tuple[Array, Cache]:
    """Return ``x @ w + b``, each of the N inputs laid out as one row.

    Args:
        x: inputs (N, d1, ..., dk) with d1 * ... * dk = D.
        w: weights (D, M).
        b: biases (M,).

    Returns:
        The outputs (N, M), and the cache.

    Raises:
        ShapeError: the shapes do not fit each other, or an array is not of floats.
    """
    expect_floats(x=x, w=w, b=b)
    expect_ndim("w", w, 2, "(D, M)")
    if x.ndim < 2 or math.prod(x.shape[1:]) != len(w):
        raise ShapeError(
            f"x of shape {x.shape} does not fit w of shape {w.shape}: x must be (N, d1, ..., dk) with "
            f"d1 * ... * dk = {len(w)}, the rows of w."
        )
    expect_shape("b", b, w.shape[1:], f"w of shape {w.shape}")
    return x.reshape(len(x), len(w)) @ w + b, (x, w)


def affine_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Return the gradients dx, dw, db from the gradient ``dout`` (N, M) of the outputs.

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    x, w = cache
    expect_shape("dout", dout, (len(x), w.shape[1]), f"x of shape {x.shape} and w of shape {w.shape}")
    dx = (dout @ w.T).reshape(x.shape)
    dw = x.reshape(len(x), len(w)).T @ dout
    db = dout.sum(axis=0)
    return dx, dw, db
