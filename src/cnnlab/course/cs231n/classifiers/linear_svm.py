"""``cs231n.classifiers.linear_svm``: the loss of assignment 1, question 2.

The course's penalty is ``reg * sum(W**2)``, without the half that :mod:`cnnlab.scratch` has.
"""

from __future__ import annotations

from typing import Any

from cnnlab.course._arrays import Array
from cnnlab.scratch import classifiers
from cnnlab.scratch.layers import loss

__all__ = ["svm_loss_naive", "svm_loss_vectorized"]


def svm_loss_naive(W: Array, X: Array, y: Array, reg: float) -> tuple[Any, Array]:
    """Return the hinge loss of a linear classifier and its gradient (D, C), in loops.

    Args:
        W: weights (D, C).
        X: examples (N, D).
        y: labels (N,).
        reg: strength of the penalty ``reg * sum(W**2)``.
    """
    return loss.svm_loss_naive(W, X, y, 2 * reg)


def svm_loss_vectorized(W: Array, X: Array, y: Array, reg: float) -> tuple[Any, Array]:
    """Return the same as :func:`svm_loss_naive`, without loops."""
    return classifiers.svm_loss_vectorized(W, X, y, 2 * reg)
