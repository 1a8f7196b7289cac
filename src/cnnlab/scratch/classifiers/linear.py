"""Linear classifiers, trained by stochastic gradient descent: the multiclass support vector machine and softmax.

Both compute scores ``X @ W`` and differ in the loss alone: the hinge loss of J. Weston and C. Watkins (Support vector
machines for multi-class pattern recognition, 1999) asks that the right class lead by a margin of 1, the cross-entropy
that it be probable. The loops that spell these losses out are in ``layers.loss``.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from cnnlab.errors import DivergedError, UsageError
from cnnlab.scratch._checks import Array
from cnnlab.scratch._estimator import Classifier, examples
from cnnlab.scratch.layers.loss import expect_linear, softmax_loss, svm_loss, with_penalty


def svm_loss_vectorized(W: Array, X: Array, y: Array, reg: float) -> tuple[Any, Array]:
    """Return the loss of a linear SVM and its gradient; as :func:`~cnnlab.scratch.layers.loss.svm_loss_naive`.

    A linear classifier is an affine layer without a bias: its loss is that of the scores ``X @ W``.
    """
    expect_linear(W, X)
    loss, dscores = svm_loss(X @ W, y)
    return with_penalty(loss, X.T @ dscores, W, reg)


def softmax_loss_vectorized(W: Array, X: Array, y: Array, reg: float) -> tuple[Any, Array]:
    """Return the cross-entropy loss of a linear classifier and its gradient; as :func:`svm_loss_vectorized`."""
    expect_linear(W, X)
    loss, dscores = softmax_loss(X @ W, y)
    return with_penalty(loss, X.T @ dscores, W, reg)


class _LinearClassifier(Classifier):
    W_: Array
    loss_history_: list[float]
    _loss: ClassVar[staticmethod[[Array, Array, Array, float], tuple[Any, Array]]]

    def __init__(
        self,
        learning_rate: float = 1e-2,
        reg: float = 1e-3,
        num_iters: int = 1000,
        batch_size: int | None = 200,
        seed: int | None = 0,
    ) -> None:
        self.learning_rate = learning_rate
        self.reg = reg
        self.num_iters = num_iters
        self.batch_size = batch_size
        self.seed = seed

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Learn from examples ``X`` (N, D) with labels ``y`` (N,), numbers or names.

        Raises:
            ShapeError, LabelError: the examples or labels cannot be learned from.
            UsageError: a parameter is out of range.
            DivergedError: the loss became NaN or infinite.
        """
        self._check_params()
        X, positions, classes = examples(X, y)
        rng = np.random.default_rng(self.seed)
        W = np.zeros((X.shape[1] + 1, len(classes)), X.dtype)
        losses: list[float] = []
        with np.errstate(over="ignore", invalid="ignore"):  # DivergedError says it better
            for iteration in range(1, self.num_iters + 1):
                # Drawn with replacement: a batch is cheaper than an order of all examples.
                batch = slice(None) if self.batch_size is None else rng.integers(len(X), size=self.batch_size)
                rows = X[batch]
                rows = np.concatenate([rows, np.ones((len(rows), 1), X.dtype)], axis=1)
                loss, dW = self._loss(W, rows, positions[batch], self.reg)
                W -= self.learning_rate * dW
                if not (math.isfinite(loss) and np.isfinite(W).all()):
                    raise DivergedError(
                        f"{self!r} diverged at iteration {iteration}: the loss is {loss}. Lower the learning rate; "
                        "large features want a small one (pixels of 0..255 about 1e-7), or scale them."
                    )
                losses.append(float(loss))
        # All at once, so that a fit that failed leaves no half of itself.
        self.W_, self.loss_history_, self.classes_, self.n_features_in_ = W, losses, classes, X.shape[1]
        return self

    def decision_function(self, X: npt.ArrayLike) -> Array:
        """Return the scores (M, C) of ``X`` (M, D); of two classes, how far the second leads the first (M,)."""
        scores = self._class_scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: npt.ArrayLike) -> Array:
        """Return the labels (M,) with the highest scores for ``X`` (M, D).

        Raises:
            ShapeError: ``X`` has another number of features than in ``fit``.
            UsageError: the classifier is not fitted.
        """
        best = self._class_scores(X).argmax(axis=1)
        return self.classes_[best]

    def _class_scores(self, X: npt.ArrayLike) -> Array:
        X = self._fitted_features(X)
        return X @ self.W_[:-1] + self.W_[-1]

    def _check_params(self) -> None:
        for name in ("num_iters", "batch_size"):
            value = getattr(self, name)
            if not (isinstance(value, int | np.integer) and value >= 1) and (name, value) != ("batch_size", None):
                raise UsageError(f"{name} is {value!r}; it must be a whole number, 1 at least.")
        for name in ("learning_rate", "reg"):
            value = getattr(self, name)
            if not (isinstance(value, int | float | np.number) and 0 <= value < math.inf):
                raise UsageError(f"{name} is {value!r}; it must be a finite number, 0 at least.")


class LinearSVM(_LinearClassifier):
    """Multiclass support vector machine: the right class is to lead every other by a margin of 1.

    A constant 1 is appended to every example, so that the last row of ``W_`` holds the biases (penalised like the rest,
    as in CS231n). Training starts from zero: the problem is convex and has no symmetry to break.

    Args:
        learning_rate: length of a step, the same throughout.
        reg: strength of the penalty ``0.5 * reg * sum(W_**2)``.
        num_iters: number of steps.
        batch_size: number of examples per step, drawn with replacement; ``None`` takes all of them at every step.
        seed: seed of the random numbers; ``None`` draws others each time.

    Attributes:
        classes_: the C labels, sorted.
        W_: weights (D + 1, C), in the precision of the training examples.
        loss_history_: loss of each step's batch, before the step.
    """

    _loss = staticmethod(svm_loss_vectorized)


class Softmax(_LinearClassifier):
    """Softmax classifier, also called multinomial logistic regression; parameters as in :class:`LinearSVM`."""

    _loss = staticmethod(softmax_loss_vectorized)

    def predict_proba(self, X: npt.ArrayLike) -> Array:
        """Return the probabilities (M, C) of the classes for ``X`` (M, D); a row sums to 1."""
        scores = self._class_scores(X)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))  # the largest power is 1: nothing overflows
        return powers / powers.sum(axis=1, keepdims=True)
