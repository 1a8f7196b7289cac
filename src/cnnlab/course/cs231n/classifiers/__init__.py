"""``cs231n.classifiers``: the classifiers of all three assignments; this package offers those of the first."""

from __future__ import annotations

from cnnlab.course.cs231n.classifiers.k_nearest_neighbor import KNearestNeighbor
from cnnlab.course.cs231n.classifiers.linear_classifier import LinearClassifier, LinearSVM, Softmax

__all__ = ["KNearestNeighbor", "LinearClassifier", "LinearSVM", "Softmax"]
