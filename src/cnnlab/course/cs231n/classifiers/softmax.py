"""``cs231n.classifiers.softmax``: the loss of assignment 1, question 3; its penalty is that of ``linear_svm``."""

from __future__ import annotations

from typing import Any

from cnnlab.course._arrays import Array
from cnnlab.scratch import classifiers
from cnnlab.scratch.layers import loss

__all__ = ["softmax_loss_naive", "softmax_loss_vectorized"]


def softmax_loss_naive(W: Array, X: Array, y: Array, reg: float) -> tuple[Any, Array]:
    """Return the cross-entropy of a linear classifier and its gradient (D, C), in loops.

    Args:
        W: weights (D, C).
        X: examples (N, D).
        y: labels (N,).
        reg: strength of the penalty ``reg * sum(W**2)``.
    """
    return loss.softmax_loss_naive(W, X, y, 2 * reg)


def softmax_loss_vectorized(W: Array, X: Array, y: Array, reg: float) -> tuple[Any, Array]:
    """Return the same as :func:`softmax_loss_naive`, without loops."""
    return classifiers.softmax_loss_vectorized(W, X, y, 2 * reg)
