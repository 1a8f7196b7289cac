"""Choosing k and (learning rate, regularisation), against scikit-learn and loops."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from cnnlab.errors import DivergedError, ShapeError, UnknownNameError, UsageError
from cnnlab.scratch.classifiers import KNearestNeighbor, LinearSVM, Softmax
from cnnlab.scratch.cross_validation import cross_validate_k, grid_search


def digits(count: int = 403) -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    # Digits are whole numbers, some at the same distance; noise keeps them apart.
    return X[:count] / 16 + np.random.default_rng(0).normal(scale=1e-4, size=(count, 64)), y[:count]


class TestCrossValidateK:
    @pytest.mark.parametrize("num_folds", [2, 5])
    def test_equals_scikit_learn(self, num_folds: int) -> None:
        """403 examples divide into neither 2 nor 5 folds of one size."""
        X, y = digits()
        ks = [1, 4, 30]
        scores = cross_validate_k(X, y, ks, num_folds)
        assert scores.shape == (3, num_folds)
        for k, row in zip(ks, scores, strict=True):
            expected = cross_val_score(KNeighborsClassifier(k, algorithm="brute"), X, y, cv=KFold(num_folds))
            np.testing.assert_array_equal(row, expected)

    def test_names_as_labels(self) -> None:
        X, y = digits(60)
        names = [f"digit {label}" for label in y]
        np.testing.assert_array_equal(cross_validate_k(X, names, [1, 2], 3), cross_validate_k(X, y, [1, 2], 3))

    def test_distances_are_computed_once_per_fold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = []
        compute = KNearestNeighbor.compute_distances_no_loop

        def counted(self: KNearestNeighbor, X: Any) -> Any:
            calls.append(len(X))
            return compute(self, X)

        monkeypatch.setattr(KNearestNeighbor, "compute_distances_no_loop", counted)
        cross_validate_k(*digits(23), ks=[1, 2, 3, 4], num_folds=4)
        assert calls == [6, 6, 6, 5]

    def test_wrong_use(self) -> None:
        X, y = digits(10)
        for num_folds in (1, 11):
            with pytest.raises(UsageError, match=f"num_folds is {num_folds}; 10 examples .* 2 to 10 folds"):
                cross_validate_k(X, y, [1], num_folds)
        with pytest.raises(UsageError, match="no k to try"):
            cross_validate_k(X, y, [])
        with pytest.raises(UsageError, match="k is 9, but it must be 1 to 8"):
            cross_validate_k(X, y, [9])
        with pytest.raises(ShapeError, match=r"y must be of shape \(10,\) for X of shape \(10, 64\), got \(9,\)"):
            cross_validate_k(X, y[:9], [1])


class TestGridSearch:
    grid: dict[str, list[Any]] = {"learning_rate": [1e-3, 0.1], "reg": [1.0, 1e-3, 0.1]}  # noqa: RUF012

    def test_equals_a_loop(self) -> None:
        X, y = digits()
        X_val, y_val, X, y = X[300:], y[300:], X[:300], y[:300]
        svm = LinearSVM(num_iters=50, seed=4)
        search = grid_search(svm, self.grid, X, y, X_val, y_val)
        assert search.training.shape == search.validation.shape == (2, 3)
        highest: tuple[float, dict[str, float]] = (-1, {})
        for i, j in itertools.product(range(2), range(3)):
            chosen = {"learning_rate": self.grid["learning_rate"][i], "reg": self.grid["reg"][j]}
            model = LinearSVM(num_iters=50, seed=4, **chosen).fit(X, y)
            assert search.training[i, j] == model.score(X, y)
            assert search.validation[i, j] == model.score(X_val, y_val)
            if search.validation[i, j] > highest[0]:
                highest = search.validation[i, j], chosen
        assert search.best_params == highest[1]
        assert search.best.score(X_val, y_val) == highest[0]
        assert search.grid == self.grid
        assert not hasattr(svm, "W_")
        assert svm.get_params() == LinearSVM(num_iters=50, seed=4).get_params()

    def test_chooses_as_scikit_learn(self) -> None:
        X, y = digits()
        held_out = np.where(np.arange(len(y)) < 300, -1, 0)
        softmax = Softmax(num_iters=50)
        theirs = GridSearchCV(softmax, self.grid, cv=PredefinedSplit(held_out), refit=False).fit(X, y)
        ours = grid_search(softmax, self.grid, X[:300], y[:300], X[300:], y[300:])
        np.testing.assert_array_equal(ours.validation.ravel(), theirs.cv_results_["mean_test_score"])
        assert ours.best_params == theirs.best_params_

    def test_any_classifier(self) -> None:
        X, y = digits()
        search = grid_search(KNearestNeighbor(), {"k": [30, 1, 2]}, X[:300], y[:300], X[300:], y[300:])
        assert search.training[1] == 1.0
        assert search.best_params == {"k": [30, 1, 2][int(search.validation.argmax())]}

    def test_the_first_of_equals_is_the_best(self) -> None:
        X, y = digits(100)
        search = grid_search(KNearestNeighbor(), {"num_loops": [1, 0]}, X[:60], y[:60], X[60:], y[60:])
        assert search.validation[0] == search.validation[1]
        assert search.best_params == {"num_loops": 1}

    def test_divergence_leaves_a_gap(self) -> None:
        X, y = digits(100)
        svm = LinearSVM(num_iters=300, reg=1.0)
        search = grid_search(svm, {"learning_rate": [1e9, 1e-2]}, X, y, X, y)
        assert np.isnan(search.validation).tolist() == np.isnan(search.training).tolist() == [True, False]
        assert search.best_params == {"learning_rate": 1e-2}
        with pytest.raises(DivergedError, match=r"LinearSVM\(.*diverged for every combination.*Try lower"):
            grid_search(svm, {"learning_rate": [1e9]}, X, y, X, y)

    def test_wrong_use(self) -> None:
        X, y = digits(20)
        with pytest.raises(UnknownNameError, match=r'"lerning_rate".*Did you mean "learning_rate"'):
            grid_search(LinearSVM(), {"lerning_rate": [1]}, X, y, X, y)
        with pytest.raises(UsageError, match='no value to try for "reg"'):
            grid_search(LinearSVM(), {"reg": []}, X, y, X, y)
