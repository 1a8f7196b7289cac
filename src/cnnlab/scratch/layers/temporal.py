"""Sequences: the same dense layer at every step, and the loss of sequences that have different lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlab.errors import ShapeError
from cnnlab.scratch._checks import Array, Cache, expect_floats, expect_ndim, expect_positions, expect_shape
from cnnlab.scratch.layers.loss import softmax_loss


def temporal_affine_forward(x: Array, w: Array, b: Array) -> tuple[Array, Cache]:
    """Apply one dense layer to every step of every sequence.

    Args:
        x: sequences (N, T, D).
        w: weights (D, M).
        b: biases (M,).

    Returns:
        The outputs (N, T, M), and the cache.

    Raises:
        ShapeError: the shapes do not fit each other, or an array is not of floats.
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
    """Return the gradients dx (N, T, D), dw (D, M), db (M,) from the gradient ``dout`` (N, T, M) of the outputs.

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    x, w = cache
    (N, T, D), M = x.shape, w.shape[1]
    expect_shape("dout", dout, (N, T, M), f"x of shape {x.shape} and w of shape {w.shape}")
    rows, drows = x.reshape(N * T, D), dout.reshape(N * T, M)
    return (drows @ w.T).reshape(N, T, D), rows.T @ drows, drows.sum(axis=0)


def temporal_softmax_loss(x: Array, y: Array, mask: Array) -> tuple[Any, Array]:
    """Return the cross-entropy of the words of sequences, summed over time and divided by N, and its gradient.

    Captions have different lengths. They are padded to the same T, and the padding does not count: where ``mask`` is
    False, neither the scores nor the word make a difference.

    Args:
        x: scores (N, T, V) of every word of the vocabulary at every step.
        y: the right words (N, T), integers 0..V - 1 where ``mask`` is True.
        mask: (N, T), True for the words that count.

    Returns:
        The loss, and its gradient with respect to ``x``, (N, T, V).

    Raises:
        ShapeError: the shapes do not fit each other, or an array has another type.
        LabelError: a word that counts is not in the vocabulary.
    """
    expect_floats(x=x)
    expect_ndim("x", x, 3, "(N, T, V)")
    y, mask = np.asarray(y), np.asarray(mask)
    N, T, V = x.shape
    expect_shape("y", y, (N, T), f"x of shape {x.shape}")
    expect_shape("mask", mask, (N, T), f"x of shape {x.shape}")
    if mask.dtype != np.bool_:
        raise ShapeError(f"mask must be True or False, got an array of {mask.dtype}. Try mask.astype(bool).")
    expect_positions("y", np.where(mask, y, 0), V, "words in the vocabulary")
    dx = np.zeros_like(x)
    if not mask.any():
        return x.dtype.type(0), dx
    # softmax_loss takes the mean over the words that count. Their sum divided by N is that, times their number over N.
    scale = x.dtype.type(mask.sum() / N)
    mean, drows = softmax_loss(x[mask], y[mask])
    dx[mask] = scale * drows
    return scale * mean, dx
