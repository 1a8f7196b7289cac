"""The same dense layer at every step of a sequence."""

from __future__ import annotations

from typing import Any

from cnnlab.scratch._checks import Array, expect_floats, expect_ndim, expect_shape

Cache = tuple[Any, ...]


def temporal_affine_forward(x: Array, w: Array, b: Array) -> tuple[Array, Cache]:
    """Apply one dense layer to every step of every sequence.

    Args:
        x: sequences (N, T, D).
        w: weights (D, M).
        b: biases (M,).

    Returns:
        Scores (N, T, M), and the cache for the backward pass.

    Raises:
        ShapeError: shapes that do not fit each other, or integers.
    """
    expect_floats(x=x, w=w, b=b)
    expect_ndim("x", x, 3, "(N, T, D)")
    expect_ndim("w", w, 2, "(D, M)")
    (N, T, D), M = x.shape, w.shape[1]
    expect_shape("w", w, (D, M), f"x of shape {x.shape}")
    expect_shape("b", b, (M,), f"w of shape {w.shape}")
    # One product of (N * T, D) and (D, M): NumPy would do N small ones for x @ w.
    out = x.reshape(N * T, D) @ w + b
    return out.reshape(N, T, M), (x, w)


def temporal_affine_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`temporal_affine_forward`: dx (N, T, D), dw (D, M), db (M,).

    Args:
        dout: gradient with respect to the output, (N, T, M).
        cache: the cache that the forward pass returned.

    Raises:
        ShapeError: ``dout`` does not have the shape of the output.
    """
    x, w = cache
    (N, T, D), M = x.shape, w.shape[1]
    expect_shape("dout", dout, (N, T, M), f"x of shape {x.shape} and w of shape {w.shape}")
    rows, drows = x.reshape(N * T, D), dout.reshape(N * T, M)
    return (drows @ w.T).reshape(N, T, D), rows.T @ drows, drows.sum(axis=0)
