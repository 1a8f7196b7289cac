"""What comes before networks: nearest neighbours and linear classifiers, in scikit-learn's estimator convention."""

from cnnlab.scratch.classifiers.k_nearest_neighbor import KNearestNeighbor
from cnnlab.scratch.classifiers.linear import LinearSVM, Softmax, softmax_loss_vectorized, svm_loss_vectorized

__all__ = ["KNearestNeighbor", "LinearSVM", "Softmax", "softmax_loss_vectorized", "svm_loss_vectorized"]
