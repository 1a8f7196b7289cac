"""``cs231n.classifiers.k_nearest_neighbor``: the classifier of assignment 1, question 1."""

from __future__ import annotations

from cnnlab.course._arrays import Array
from cnnlab.scratch import classifiers

__all__ = ["KNearestNeighbor"]


class KNearestNeighbor(classifiers.KNearestNeighbor):
    """k nearest neighbours with the course's methods ``train``, ``predict`` and ``predict_labels``.

    Attributes:
        X_train: training examples (N, D).
        y_train: labels (N,).
    """

    X_train: Array
    y_train: Array

    def train(self, X: Array, y: Array) -> None:
        """Keep the examples ``X`` (N, D) and labels ``y`` (N,)."""
        self.X_train, self.y_train = X, y
        self.fit(X, y)

    def predict(self, X: Array, k: int = 1, num_loops: int = 0) -> Array:  # type: ignore[override]
        """Return the labels (M,) of the examples ``X`` (M, D).

        Args:
            X: the examples.
            k: number of neighbours that vote.
            num_loops: number of Python loops with which distances are computed: 0, 1 or 2.
        """
        self.k, self.num_loops = k, num_loops
        return super().predict(X)

    def compute_distances_no_loops(self, X: Array) -> Array:
        """Return the Euclidean distances (M, N) from ``X`` (M, D) to the training examples by one matrix product."""
        return self.compute_distances_no_loop(X)

    def predict_labels(self, dists: Array, k: int = 1) -> Array:
        """Return the labels (M,) that the ``k`` nearest vote for, from distances ``dists`` (M, N)."""
        return super().predict_labels(dists, k)
