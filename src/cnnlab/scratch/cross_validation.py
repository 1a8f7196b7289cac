"""Choosing hyperparameters by the accuracy on held-out examples.

S. Geisser: The predictive sample reuse method with applications, J. American Statistical Association 70, 1975.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.errors import DivergedError, UsageError
from cnnlab.scratch._checks import Array, expect_shape
from cnnlab.scratch._estimator import Classifier
from cnnlab.scratch.classifiers.k_nearest_neighbor import KNearestNeighbor


def cross_validate_k(X: npt.ArrayLike, y: npt.ArrayLike, ks: Sequence[int], num_folds: int = 5) -> Array:
    """Return the accuracy of nearest neighbours for each k on each fold, with the other folds as training examples.

    The folds are ``num_folds`` runs of consecutive examples, of lengths that differ by one at most: shuffle examples
    that are sorted. Distances are computed once per fold, whatever the number of ks.

    Args:
        X: examples (N, D).
        y: labels (N,).
        ks: numbers of neighbours to try.
        num_folds: number of folds.

    Returns:
        Accuracies (len(ks), num_folds), 0..1.

    Raises:
        UsageError: there is no k, there are fewer than two folds or more than examples, or a k is larger than the
            number of training examples.
    """
    X, y = np.asarray(X), np.asarray(y)
    expect_shape("y", y, X.shape[:1], f"X of shape {X.shape}")
    if not 2 <= num_folds <= len(y):
        raise UsageError(f"num_folds is {num_folds!r}; {len(y)} examples can be divided into 2 to {len(y)} folds.")
    if not len(ks):
        raise UsageError("There is no k to try. Give for example ks=[1, 3, 5, 10].")
    scores = np.empty((len(ks), num_folds))
    for fold, held_out in enumerate(np.array_split(np.arange(len(y)), num_folds)):
        training = np.delete(np.arange(len(y)), held_out)
        neighbours = KNearestNeighbor().fit(X[training], y[training])
        distances = neighbours.compute_distances_no_loop(X[held_out])
        for row, k in enumerate(ks):
            scores[row, fold] = np.mean(neighbours.predict_labels(distances, k) == y[held_out])
    return scores


@dataclass(frozen=True)
class GridSearch:
    """The result of :func:`grid_search`.

    Attributes:
        grid: values that were tried, by parameter.
        training, validation: accuracies, one axis per parameter in the order of ``grid``; NaN if training diverged.
        best: fitted classifier with the highest validation accuracy, the first of them if there are several.
    """

    grid: dict[str, list[Any]]
    training: Array
    validation: Array
    best: Classifier

    @property
    def best_params(self) -> dict[str, Any]:
        """Values of the searched parameters of the best classifier."""
        return {name: value for name, value in self.best.get_params().items() if name in self.grid}


def grid_search(
    classifier: Classifier, grid: Mapping[str, Sequence[Any]], X: Array, y: Array, X_val: Array, y_val: Array
) -> GridSearch:
    """Fit a copy of ``classifier`` for every combination of the values in ``grid``, and score it on the validation set.

    Args:
        classifier: classifier with the parameters that are not in ``grid``; it stays as it is.
        grid: values to try, by parameter, as in ``{"learning_rate": [1e-7, 2e-7], "reg": [1e3, 1e4]}``.
        X, y: training examples (N, D) and their labels (N,).
        X_val, y_val: validation examples (M, D) and their labels (M,).

    Raises:
        UnknownNameError: the classifier has no such parameter.
        UsageError: a parameter has no values.
        DivergedError: training diverged for every combination.
    """
    values = {name: list(tried) for name, tried in grid.items()}
    for name, tried in values.items():
        if not tried:
            raise UsageError(f'There is no value to try for "{name}". Give a list of at least one.')
    training = np.full([len(tried) for tried in values.values()], math.nan)
    validation = training.copy()
    best, highest = None, -1.0
    for index in np.ndindex(training.shape):
        chosen = {name: values[name][i] for name, i in zip(values, index, strict=True)}
        candidate = type(classifier)(**classifier.get_params()).set_params(**chosen)
        try:
            candidate.fit(X, y)
        except DivergedError:
            continue
        training[index], validation[index] = candidate.score(X, y), candidate.score(X_val, y_val)
        if validation[index] > highest:
            best, highest = candidate, float(validation[index])
    if best is None:
        raise DivergedError(f"{classifier!r} diverged for every combination of {values}. Try lower learning rates.")
    return GridSearch(values, training, validation, best)
