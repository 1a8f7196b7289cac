"""The loss of sequences of different lengths: of every word that counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlab.errors import ShapeError
from cnnlab.scratch._checks import Array, expect_floats, expect_ndim, expect_shape
from cnnlab.scratch.layers.embedding import expect_words
from cnnlab.scratch.layers.loss import softmax_loss


def temporal_softmax_loss(x: Array, y: Array, mask: Array) -> tuple[Any, Array]:
    """Return the cross-entropy of the words of a sequence, summed over time and divided by N, and its gradient.

    Captions have different lengths. They are filled up to the same T, and the filling does not count: where ``mask``
    is False, scores and words are not looked at.

    Args:
        x: scores (N, T, V) of every word of the vocabulary at every step.
        y: the right words (N, T), integers 0..V - 1 where ``mask`` is True.
        mask: (N, T), True where a word counts.

    Returns:
        The loss, and its gradient with respect to ``x``, (N, T, V).

    Raises:
        ShapeError: shapes that do not fit each other, or a type that does not.
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
    expect_words("y", np.where(mask, y, 0), V)
    dx = np.zeros_like(x)
    if not mask.any():
        return x.dtype.type(0), dx
    # softmax_loss takes the mean over the words that count. Their sum divided by N is that, times their number over N.
    scale = x.dtype.type(mask.sum() / N)
    mean, drows = softmax_loss(x[mask], y[mask])
    dx[mask] = scale * drows
    return scale * mean, dx
