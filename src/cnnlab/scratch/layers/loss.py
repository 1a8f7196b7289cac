"""Losses of scores: how wrong a classifier is, and in which direction its scores should move.

``svm_loss`` and ``softmax_loss`` stand at the end of a net: ``(scores, y) -> (loss, gradient of the scores)``. The
naive versions are the first thing to write by hand: a linear classifier with explicit weights, one image and one class
at a time. The penalty on weights is ``0.5 * reg * sum(W**2)`` as everywhere here, so that its gradient is ``reg * W``;
where a text of the course leaves out the half, its ``reg`` is half of this one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlab.errors import ShapeError
from cnnlab.scratch._checks import Array, expect_floats, expect_ndim, expect_positions, expect_shape


def svm_loss(scores: Array, y: Array) -> tuple[Any, Array]:
    """Return the multiclass hinge loss and its gradient: every class should score at least 1 below the right one.

    Args:
        scores: (N, C), one row for each input.
        y: labels (N,), whole numbers from 0 to C - 1.

    Returns:
        The mean over the inputs of ``sum over j != y of max(0, scores[j] - scores[y] + 1)``, and dscores (N, C).

    Raises:
        ShapeError: the shapes do not fit each other, scores are not floats, or there are none.
        LabelError: a label is out of range.

    Source: Weston & Watkins 1999; CS231n, "Linear classification".
    """
    y, rows = _checked(scores, y)
    margins = np.maximum(0, scores - scores[rows, y, None] + 1)
    margins[rows, y] = 0
    dscores = (margins > 0).astype(scores.dtype)
    dscores[rows, y] = -dscores.sum(axis=1)
    dscores /= len(scores)
    return margins.sum() / len(scores), dscores


def softmax_loss(scores: Array, y: Array) -> tuple[Any, Array]:
    """Return the cross-entropy of softmax and its gradient: the right class should have all the probability.

    The largest score of a row is subtracted first, which changes no probability and lets no exponential overflow.
    Arguments and errors are those of :func:`svm_loss`.

    Returns:
        The mean over the inputs of ``-log(probability of y)``, and dscores (N, C).

    Source: Bridle 1990; CS231n, "Linear classification".
    """
    y, rows = _checked(scores, y)
    shifted = scores - scores.max(axis=1, keepdims=True)
    dscores = np.exp(shifted)
    totals = dscores.sum(axis=1, keepdims=True)
    loss = (np.log(totals[:, 0]) - shifted[rows, y]).sum() / len(scores)
    dscores /= totals  # the probabilities
    dscores[rows, y] -= 1
    dscores /= len(scores)
    return loss, dscores


def svm_loss_naive(W: Array, X: Array, y: Array, reg: float) -> tuple[Any, Array]:
    """Return the loss of a linear SVM and its gradient, in loops.

    Args:
        W: weights (D, C).
        X: inputs (N, D).
        y: labels (N,), whole numbers from 0 to C - 1.
        reg: strength of the penalty ``0.5 * reg * sum(W**2)``.

    Returns:
        The loss, mean over the inputs plus penalty, and dW (D, C).

    Raises:
        ShapeError: the shapes do not fit each other, an array is not of floats, or it is empty.
        LabelError: a label is out of range.
    """
    y = _checked_linear(W, X, y)
    loss, dW = X.dtype.type(0), np.zeros_like(W)
    for i in range(len(X)):
        scores = X[i] @ W
        for j in range(W.shape[1]):
            if j == y[i]:
                continue
            margin = scores[j] - scores[y[i]] + 1
            if not margin <= 0:  # above zero, or NaN, which must show in the loss
                loss += margin
                dW[:, j] += X[i]
                dW[:, y[i]] -= X[i]
    return with_penalty(loss / len(X), dW / len(X), W, reg)


def softmax_loss_naive(W: Array, X: Array, y: Array, reg: float) -> tuple[Any, Array]:
    """Return the loss of a linear softmax classifier and its gradient, in loops; as :func:`svm_loss_naive`."""
    y = _checked_linear(W, X, y)
    loss, dW = X.dtype.type(0), np.zeros_like(W)
    for i in range(len(X)):
        scores = X[i] @ W
        scores -= scores.max()
        total = np.exp(scores).sum()
        loss += np.log(total) - scores[y[i]]
        for j in range(W.shape[1]):
            probability = np.exp(scores[j]) / total
            dW[:, j] += (probability - (j == y[i])) * X[i]
    return with_penalty(loss / len(X), dW / len(X), W, reg)


def with_penalty(loss: Any, dW: Array, W: Array, reg: float) -> tuple[Any, Array]:
    """Return the loss plus ``0.5 * reg * sum(W**2)``, and the gradient ``dW`` plus ``reg * W``."""
    reg = float(reg)  # NumPy's own float64 would make float32 weights wider
    return loss + 0.5 * reg * np.sum(W**2), dW + reg * W


def expect_linear(W: Array, X: Array) -> None:
    """Raise unless weights ``W`` (D, C) and inputs ``X`` (N, D) of a linear classifier fit each other.

    Raises:
        ShapeError: an array has another number of axes, or they differ in D.
    """
    expect_ndim("W", W, 2, "(D, C)")
    if np.ndim(X) != 2 or X.shape[1] != len(W):
        raise ShapeError(f"X of shape {np.shape(X)} does not fit W of shape {W.shape}: X must be (N, {len(W)}).")


def _checked(scores: Array, y: Array) -> tuple[Array, Array]:
    """Return the labels as an array, and the numbers of the rows."""
    expect_floats(scores=scores)
    expect_ndim("scores", scores, 2, "(N, C)")
    if not scores.size:
        raise ShapeError(f"scores is empty, of shape {scores.shape}: a mean needs at least one row and one class.")
    return _labels(y, *scores.shape), np.arange(len(scores))


def _checked_linear(W: Array, X: Array, y: Array) -> Array:
    expect_floats(W=W, X=X)
    expect_linear(W, X)
    if not X.size or not W.size:
        raise ShapeError(f"X of shape {X.shape} or W of shape {W.shape} is empty: a mean needs at least one row.")
    return _labels(y, len(X), W.shape[1])


def _labels(y: Array, count: int, classes: int) -> Array:
    labels = np.asarray(y)
    expect_shape("y", labels, (count,), f"{count} rows of scores")
    expect_positions("y", labels, classes, "classes")
    return labels
