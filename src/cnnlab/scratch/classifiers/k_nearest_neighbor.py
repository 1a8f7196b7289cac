"""k nearest neighbours: the label that most of the k nearest training examples have.

T. M. Cover, P. E. Hart: Nearest neighbor pattern classification, IEEE Transactions on Information Theory 13, 1967.
Distances are computed in three ways, as in the first assignment of CS231n: the loops follow the formula, the matrix
product computes the same about a hundred times faster.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from cnnlab.errors import ShapeError, UsageError
from cnnlab.scratch._checks import Array, expect_ndim
from cnnlab.scratch._estimator import Classifier, examples

_BLOCK = 2**25  # number of distances in memory at a time while predicting: 128 MiB in float32


class KNearestNeighbor(Classifier):
    """Predict the label that most of the ``k`` nearest training examples have.

    Among labels with as many votes, the smaller one wins; among neighbours at the same distance, those with the smaller
    label come first. So the order of the training examples makes no difference.

    Args:
        k: number of neighbours that vote.
        num_loops: number of Python loops with which ``predict`` computes distances: 0 (a matrix product), 1 or 2.

    Attributes:
        classes_: the labels, sorted.
        X_: training examples (N, D).
        y_: labels of the training examples (N,), as positions in ``classes_``.
    """

    X_: Array
    y_: Array

    def __init__(self, k: int = 1, num_loops: int = 0) -> None:
        self.k = k
        self.num_loops = num_loops

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Keep the examples ``X`` (N, D) with labels ``y`` (N,): that is all the training there is.

        Raises:
            ShapeError, LabelError: the examples or labels cannot be learned from.
        """
        self.X_, self.y_, self.classes_ = examples(X, y)
        self.n_features_in_ = self.X_.shape[1]
        # Distances do not change when everything is moved, and rounding is least where the numbers are smallest.
        self._centre = self.X_.mean(axis=0)
        self._centred = self.X_ - self._centre
        self._squares = np.einsum("ij,ij->i", self._centred, self._centred)
        return self

    def predict(self, X: npt.ArrayLike) -> Array:
        """Return the labels (M,) of the examples ``X`` (M, D), computed in blocks to bound the memory.

        Raises:
            ShapeError: ``X`` has another number of features than in ``fit``.
            UsageError: the classifier is not fitted, or ``k`` or ``num_loops`` is out of range.
        """
        X = self._fitted_features(X)
        ways = (self.compute_distances_no_loop, self.compute_distances_one_loop, self.compute_distances_two_loops)
        if self.num_loops not in (0, 1, 2):
            raise UsageError(f"num_loops is {self.num_loops!r}; distances are computed with 0, 1 or 2 loops.")
        distances = ways[self.num_loops]
        rows = max(1, _BLOCK // len(self.X_))
        blocks = (X[start : start + rows] for start in range(0, len(X), rows))
        return np.concatenate([self.predict_labels(distances(block), self.k) for block in blocks])

    def compute_distances_two_loops(self, X: npt.ArrayLike) -> Array:
        """Return the Euclidean distances (M, N) from ``X`` (M, D) to the training examples, one by one."""
        X = self._fitted_features(X)
        distances = np.empty((len(X), len(self.X_)), np.result_type(X, self.X_))
        for i in range(len(X)):
            for j in range(len(self.X_)):
                distances[i, j] = np.sqrt(np.sum((X[i] - self.X_[j]) ** 2))
        return distances

    def compute_distances_one_loop(self, X: npt.ArrayLike) -> Array:
        """Return the Euclidean distances (M, N) from ``X`` (M, D) to the training examples, a row at a time."""
        X = self._fitted_features(X)
        distances = np.empty((len(X), len(self.X_)), np.result_type(X, self.X_))
        for i in range(len(X)):
            distances[i] = np.sqrt(np.sum((self.X_ - X[i]) ** 2, axis=1))
        return distances

    def compute_distances_no_loop(self, X: npt.ArrayLike) -> Array:
        """Return the Euclidean distances (M, N) from ``X`` (M, D) to the training examples by one matrix product.

        :math:`|a - b|^2 = |a|^2 - 2 a b + |b|^2`; ``fit`` has computed the term of the training examples alone.
        Distances between points that are much nearer to each other than to the mean of the training examples lose
        digits in that difference.
        """
        X = self._fitted_features(X)
        a = X - self._centre
        squares = a @ self._centred.T
        squares *= -2
        squares += np.einsum("ij,ij->i", a, a)[:, np.newaxis]
        squares += self._squares
        np.maximum(squares, 0, out=squares)  # a rounding error below zero has no root
        return np.sqrt(squares, out=squares)

    def predict_labels(self, distances: Array, k: int) -> Array:
        """Return the labels (M,) that the ``k`` nearest vote for, from ``distances`` (M, N) to the training examples.

        Raises:
            ShapeError: ``distances`` does not have a column for each training example.
            UsageError: the classifier is not fitted, or ``k`` is not a whole number of 1 to N.
        """
        self._expect_fitted()
        expect_ndim("distances", distances, 2, f"(M, {len(self.y_)})")
        if distances.shape[1] != len(self.y_):
            raise ShapeError(
                f"distances must be (M, {len(self.y_)}) for {len(self.y_)} training examples, got {distances.shape}."
            )
        if not isinstance(k, int | np.integer) or not 1 <= k <= len(self.y_):
            raise UsageError(f"k is {k!r}, but it must be 1 to {len(self.y_)}, the number of training examples.")
        # Neighbours nearer than the k-th vote; the remaining votes go to those at its distance, smaller labels first.
        farthest = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
        nearer, equal = self._count(distances < farthest), self._count(distances == farthest)
        left = k - nearer.sum(axis=1, keepdims=True)
        before = equal.cumsum(axis=1) - equal
        votes = nearer + np.clip(left - before, 0, equal)
        return self.classes_[votes.argmax(axis=1)]

    def _count(self, chosen: Array) -> Array:
        """Return how many of the training examples ``chosen`` (M, N, True or False) have each label, (M, classes)."""
        classes = len(self.classes_)
        rows, columns = np.nonzero(chosen)
        counts = np.bincount(rows * classes + self.y_[columns], minlength=len(chosen) * classes)
        return counts.reshape(len(chosen), classes)
