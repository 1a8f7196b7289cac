"""``cs231n.classifiers.linear_classifier``: the linear classifiers of assignment 1, questions 2 and 3."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from cnnlab.course._arrays import Array
from cnnlab.course.cs231n.classifiers.linear_svm import svm_loss_naive, svm_loss_vectorized
from cnnlab.course.cs231n.classifiers.softmax import softmax_loss_naive, softmax_loss_vectorized

__all__ = [
    "LinearClassifier",
    "LinearSVM",
    "Softmax",
    "softmax_loss_naive",
    "softmax_loss_vectorized",
    "svm_loss_naive",
    "svm_loss_vectorized",
]


class LinearClassifier(ABC):
    """A linear classifier ``X @ W`` that is trained by stochastic gradient descent.

    Attributes:
        W: weights (D, C); ``None`` before the first training. A bias is a column of ones in the examples.
    """

    def __init__(self) -> None:
        self.W: Array | None = None

    def train(
        self,
        X: Array,
        y: Array,
        learning_rate: float = 1e-3,
        reg: float = 1e-5,
        num_iters: int = 100,
        batch_size: int = 200,
        verbose: bool = False,
    ) -> list[float]:
        """Train from the weights that there are, and return the loss of every iteration.

        A training that diverges goes on with losses that are not finite, as a search for a learning rate expects.

        Args:
            X: examples (N, D).
            y: labels (N,), from 0 to C - 1.
            learning_rate: length of a step.
            reg: strength of the penalty ``reg * sum(W**2)``.
            num_iters: number of iterations.
            batch_size: number of examples in a minibatch, drawn with replacement from NumPy's global stream.
            verbose: whether the loss of every 100th iteration is printed.
        """
        if self.W is None:
            self.W = 0.001 * np.random.randn(X.shape[1], int(np.max(y)) + 1)
        losses = []
        with np.errstate(over="ignore", invalid="ignore"):
            for iteration in range(num_iters):
                rows = np.random.choice(len(X), batch_size)
                loss, gradient = self.loss(X[rows], y[rows], reg)
                self.W = self.W - learning_rate * gradient
                losses.append(loss)
                if verbose and iteration % 100 == 0:
                    print(f"iteration {iteration} / {num_iters}: loss {loss:f}")
        return losses

    def predict(self, X: Array) -> Array:
        """Return the labels (M,) with the highest scores for the examples ``X`` (M, D)."""
        return np.argmax(X @ self.W, axis=1)

    @abstractmethod
    def loss(self, X_batch: Array, y_batch: Array, reg: float) -> tuple[Any, Array]:
        """Return the loss of a minibatch and its gradient (D, C); ``LinearSVM`` and ``Softmax`` differ in it."""


class LinearSVM(LinearClassifier):
    """The multiclass support vector machine."""

    def loss(self, X_batch: Array, y_batch: Array, reg: float) -> tuple[Any, Array]:
        assert self.W is not None
        return svm_loss_vectorized(self.W, X_batch, y_batch, reg)


class Softmax(LinearClassifier):
    """The softmax classifier."""

    def loss(self, X_batch: Array, y_batch: Array, reg: float) -> tuple[Any, Array]:
        assert self.W is not None
        return softmax_loss_vectorized(self.W, X_batch, y_batch, reg)
