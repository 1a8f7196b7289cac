"""Nearest neighbours and linear classifiers against scikit-learn, torch, scipy and loops."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from cnnlab.errors import DivergedError, LabelError, ShapeError, UnknownNameError, UsageError
from cnnlab.scratch import _estimator
from cnnlab.scratch.classifiers import (
    KNearestNeighbor,
    LinearSVM,
    Softmax,
    k_nearest_neighbor,
    softmax_loss_vectorized,
    svm_loss_vectorized,
)
from cnnlab.scratch.gradcheck import eval_numerical_gradient
from cnnlab.scratch.layers.loss import softmax_loss_naive, svm_loss_naive

Loss = Callable[[Any, Any, Any, float], tuple[Any, Any]]
WAYS = ["compute_distances_two_loops", "compute_distances_one_loop", "compute_distances_no_loop"]
LINEAR = [LinearSVM, Softmax]

# What scikit-learn's checks ask for and what these classifiers answer with reason.
EXPECTED_FAILURES = {
    "check_estimators_unfitted": "raises UsageError: NotFittedError would need scikit-learn to be imported",
    "check_supervised_y_2d": "labels (N, 1) are refused with their shape, not flattened with a warning",
}


def digits(dtype: Any = np.float64) -> tuple[Any, Any, Any, Any]:
    X, y = load_digits(return_X_y=True)
    X = ((X - 4.9) / 6).astype(dtype)
    return X[:1200], y[:1200], X[1200:], y[1200:]


def examples(rng: np.random.Generator, count: int, features: int, dtype: Any) -> Any:
    if np.issubdtype(dtype, np.integer):
        return rng.integers(0, 256, (count, features)).astype(dtype)
    return rng.normal(size=(count, features)).astype(dtype)


class TestScikitLearn:
    @pytest.mark.parametrize(
        "classifier",
        [
            KNearestNeighbor(),
            KNearestNeighbor(k=3, num_loops=1),
            LinearSVM(num_iters=100, learning_rate=0.1),
            Softmax(num_iters=100, learning_rate=0.1),
            Softmax(num_iters=50, learning_rate=0.1, batch_size=None),
        ],
        ids=repr,
    )
    def test_passes_its_checks(self, classifier: Any) -> None:
        expected = dict(EXPECTED_FAILURES)
        if classifier.get_params().get("k", 1) > 1:
            expected["check_fit2d_1sample"] = "three neighbours cannot be had of one example"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the checks warn that there is no BaseEstimator
            results = check_estimator(classifier, expected_failed_checks=expected, on_fail=None, on_skip=None)
        by_status: dict[str, set[str]] = {}
        for result in results:
            by_status.setdefault(result["status"], set()).add(result["check_name"])
        failed = [(result["check_name"], result["exception"]) for result in results if result["status"] == "failed"]
        assert not failed
        assert by_status["xfail"] <= set(expected)
        assert len(by_status["passed"]) >= 45
        assert by_status.get("skipped", set()) <= {"check_array_api_input"}

    def test_cross_val_score_and_grid_search(self) -> None:
        X, y, X_test, y_test = digits()
        names = np.array([f"digit {label}" for label in y])
        scores = cross_val_score(KNearestNeighbor(k=3), X, names, cv=4)
        np.testing.assert_array_equal(scores, cross_val_score(KNeighborsClassifier(3), X, names, cv=4))
        search = GridSearchCV(Softmax(num_iters=200), {"learning_rate": [1e-5, 0.1], "reg": [1e-3]}, cv=2).fit(X, y)
        assert search.best_params_ == {"learning_rate": 0.1, "reg": 1e-3}
        assert search.score(X_test, y_test) > 0.88

    def test_clone_and_pipeline(self) -> None:
        X, y, X_test, y_test = digits()
        svm = LinearSVM(learning_rate=0.05, reg=1e-2, num_iters=20, batch_size=50, seed=3)
        copy = clone(svm)
        assert copy is not svm
        assert copy.get_params() == svm.get_params()
        pipeline = make_pipeline(StandardScaler(), copy).fit(X, y)
        assert pipeline.score(X_test, y_test) == copy.score(pipeline[0].transform(X_test), y_test)
        assert not hasattr(svm, "W_")


class TestParameters:
    def test_are_read_set_and_shown(self) -> None:
        knn = KNearestNeighbor(k=3)
        assert knn.get_params() == {"k": 3, "num_loops": 0}
        assert knn.set_params(k=5) is knn
        assert repr(knn) == "KNearestNeighbor(k=5, num_loops=0)"

    def test_unknown_name(self) -> None:
        svm = LinearSVM()
        with pytest.raises(
            UnknownNameError, match=r'no parameter of LinearSVM "learnin_rate".*Did you mean "learning_rate"'
        ):
            svm.set_params(reg=5.0, learnin_rate=1)
        assert svm.reg == LinearSVM().reg, "nothing is set when one name is wrong"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("num_iters", 0),
            ("num_iters", 1.5),
            ("batch_size", 0),
            ("learning_rate", -1.0),
            ("reg", np.nan),
            ("reg", "a"),
        ],
    )
    def test_out_of_range(self, name: str, value: Any) -> None:
        with pytest.raises(UsageError, match=f"{name} is .*it must be a (finite|whole) number"):
            Softmax(**{name: value}).fit([[0.0], [1.0]], [0, 1])


class TestInput:
    @pytest.mark.parametrize("estimator", [KNearestNeighbor(), LinearSVM(num_iters=1), Softmax(num_iters=1)], ids=repr)
    def test_shapes_are_named(self, estimator: Any) -> None:
        X, y = np.arange(12.0).reshape(4, 3), [0, 1, 0, 1]
        with pytest.raises(ShapeError, match=r"X must be \(N, D\), got an array of shape \(4, 3, 1, 1\).*reshape"):
            estimator.fit(X[:, :, None, None], y)
        with pytest.raises(ShapeError, match=r"y must be of shape \(4,\) for 4 rows of X, got \(3,\)"):
            estimator.fit(X, y[:3])
        with pytest.raises(ShapeError, match=r"y should be a 1d array.*4 rows of X, got shape \(4, 1\)"):
            estimator.fit(X, np.reshape(y, (4, 1)))
        with pytest.raises(UsageError, match=r"learned nothing yet\. Call fit first"):
            type(estimator)().predict(X)
        if isinstance(estimator, KNearestNeighbor):
            with pytest.raises(UsageError, match="learned nothing yet"):
                KNearestNeighbor().predict_labels(np.zeros((4, 4)), 1)
        estimator.fit(X, y)
        with pytest.raises(ShapeError, match=r"X has 2 features.*fitted on \(N, 3\), and X is \(4, 2\)"):
            estimator.predict(X[:, :2])
        with pytest.raises(ShapeError, match=r"y must be of shape \(4,\).*got \(2,\)"):
            estimator.score(X, y[:2])
        with pytest.raises(ShapeError, match=r"0 sample\(s\) \(shape=\(0, 3\)\)"):
            estimator.predict(X[:0])

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_none(self, bad: float) -> None:
        X = np.ones((4, 3), np.float32)
        X[2, 1] = bad
        with pytest.raises(ShapeError, match=rf"X\[2, 1\] is {bad}"):
            Softmax().fit(X, [0, 1, 0, 1])

    def test_large_numbers_are_numbers(self) -> None:
        """Their sum overflows, they do not."""
        X = np.full((4, 3), 1e308)
        np.testing.assert_array_equal(_estimator.features(X), X)

    def test_labels(self) -> None:
        X = np.ones((3, 2))
        with pytest.raises(LabelError, match=r"y holds 0\.5.*whole numbers or names"):
            Softmax().fit(X, [0, 0.5, 1])
        with pytest.raises(LabelError, match="mixes kinds of labels"):
            KNearestNeighbor().fit(X, np.array([1, "a", None], dtype=object))

    @pytest.mark.parametrize("labels", [["cat", "dog"], [7, -3], [True, False], [2.0, 1.0]])
    @pytest.mark.parametrize(
        "estimator", [KNearestNeighbor(), LinearSVM(learning_rate=0.1), Softmax(learning_rate=0.1)]
    )
    def test_labels_of_any_kind(self, estimator: Any, labels: list[Any]) -> None:
        X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([labels[0], labels[0], labels[1], labels[1]])
        predicted = estimator.fit(X, y).predict(X)
        np.testing.assert_array_equal(predicted, y)
        assert predicted.dtype == y.dtype
        assert estimator.classes_.tolist() == sorted(labels)

    @pytest.mark.parametrize(
        ("given", "kept"),
        [(np.uint8, np.float32), (np.float16, np.float32), (bool, np.float32), (np.int16, np.float32),
         (np.int64, np.float64), (np.uint32, np.float64), (np.float32, np.float32), (np.float64, np.float64)],
    )  # fmt: skip
    def test_precision(self, given: Any, kept: Any) -> None:
        X = np.eye(4).astype(given)
        assert KNearestNeighbor().fit(X, np.arange(4)).X_.dtype == kept
        assert Softmax(num_iters=2).fit(X, np.arange(4)).W_.dtype == kept

    def test_input_is_not_modified(self) -> None:
        X, y, X_test, _ = digits()
        before = X.copy(), y.copy(), X_test.copy()
        for estimator in (KNearestNeighbor(3), LinearSVM(num_iters=5), Softmax(num_iters=5)):
            estimator.fit(X, y).predict(X_test)
        for array, copy in zip((X, y, X_test), before, strict=True):
            np.testing.assert_array_equal(array, copy)


class TestDistances:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize(
        ("dtype", "tolerance"), [(np.uint8, 1e-6), (np.int32, 1e-12), (np.float32, 1e-6), (np.float64, 1e-12)]
    )
    def test_equal_scipy(self, way: str, dtype: Any, tolerance: float) -> None:
        rng = np.random.default_rng(0)
        train, test = examples(rng, 40, 300, dtype), examples(rng, 15, 300, dtype)
        knn = KNearestNeighbor().fit(train, np.arange(40))
        expected = cdist(test.astype(np.float64), train.astype(np.float64))
        distances = getattr(knn, way)(test)
        np.testing.assert_allclose(distances, expected, rtol=tolerance)
        assert distances.dtype == knn.X_.dtype

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 9), st.sampled_from(["f4", "f8"]), st.integers(0, 99))
    def test_three_ways_agree(self, train: int, test: int, features: int, dtype: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        knn = KNearestNeighbor().fit(examples(rng, train, features, np.dtype(dtype)), np.zeros(train, int))
        X = examples(rng, test, features, np.dtype(dtype))
        two, one, none = (getattr(knn, way)(X) for way in WAYS)
        assert two.shape == (test, train)
        np.testing.assert_allclose(one, two, rtol=1e-5 if dtype == "f4" else 1e-13)
        # The difference of squares loses digits when two points nearly meet.
        np.testing.assert_allclose(none, two, rtol=1e-5, atol=2e-3 if dtype == "f4" else 1e-7)

    def test_far_from_the_origin(self) -> None:
        """Without moving the centre, the squares of these float32 numbers would swallow the differences."""
        X = np.array([[10_000, 10_000], [10_001, 10_000], [10_004, 10_003]], np.float32)
        distances = KNearestNeighbor().fit(X, [0, 1, 2]).compute_distances_no_loop(X)
        np.testing.assert_allclose(distances, cdist(X, X), atol=5e-3)

    def test_unsigned_bytes_do_not_go_round(self) -> None:
        X = np.array([[0, 255], [255, 0]], np.uint8)
        for way in WAYS:
            distances = getattr(KNearestNeighbor().fit(X, [0, 1]), way)(X)
            np.testing.assert_allclose(distances, [[0, 255 * 2**0.5], [255 * 2**0.5, 0]], rtol=1e-6)


class TestKNearestNeighbor:
    @pytest.mark.parametrize("k", [1, 2, 5, 20])
    @pytest.mark.parametrize("num_loops", [0, 1])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_predicts_as_scikit_learn(self, k: int, num_loops: int, dtype: Any) -> None:
        X, y, X_test, y_test = digits(dtype)
        # Digits are whole numbers, some at the same distance; noise keeps them apart.
        X = X + np.random.default_rng(0).normal(scale=1e-3, size=X.shape).astype(dtype)
        theirs = KNeighborsClassifier(k, algorithm="brute").fit(X, y)
        ours = KNearestNeighbor(k, num_loops).fit(X, y)
        np.testing.assert_array_equal(ours.predict(X_test), theirs.predict(X_test))
        assert ours.score(X_test, y_test) == theirs.score(X_test, y_test) > 0.93

    def test_a_tie_goes_to_the_smaller_label(self) -> None:
        knn = KNearestNeighbor().fit([[0.0], [1.0], [2.0], [3.0]], ["d", "c", "b", "a"])
        distances = np.array([[1.0, 2.0, 3.0, 4.0]])
        votes = [knn.predict_labels(distances, k)[0] for k in (1, 2, 3, 4)]
        assert votes == ["d", "c", "b", "a"]

    def test_neighbours_at_the_same_distance_vote_smaller_label_first(self) -> None:
        """Worked out by hand: one place is left at distance 2, for which labels 0, 2, 2 stand; 0 takes it."""
        knn = KNearestNeighbor().fit(np.zeros((5, 1)), [2, 2, 1, 0, 1])
        distances = np.array([[2.0, 2.0, 1.0, 2.0, 3.0]])
        assert knn.predict_labels(distances, 2)[0] == 0  # votes 1, 0: a tie
        assert knn.predict_labels(distances, 3)[0] == 0  # 1, 0, 2: a tie
        assert knn.predict_labels(distances, 4)[0] == 2  # 1, 0, 2, 2

    @settings(max_examples=60, deadline=None)
    @given(
        arrays(np.int8, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(-3, 3), unique=False),
        st.data(),
    )
    def test_neighbours_count_as_in_a_loop_in_any_order(self, X: Any, data: st.DataObject) -> None:
        """Whole numbers, so that equal distances are exactly equal."""
        count = len(X)
        y = np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
        k = data.draw(st.integers(1, count))
        tests = np.array([[0] * X.shape[1], [1] * X.shape[1]])
        expected = []
        for test in tests:
            nearest = sorted((int(((X[i] - test) ** 2).sum()), y[i]) for i in range(count))[:k]
            labels = [label for _, label in nearest]
            expected.append(min(labels, key=lambda label: (-labels.count(label), label)))
        order = np.array(data.draw(st.permutations(range(count))))
        for places in (np.arange(count), order):
            knn = KNearestNeighbor(k, num_loops=2).fit(X[places], y[places])
            np.testing.assert_array_equal(knn.predict(tests), expected)

    @given(st.integers(1, 40), st.integers(0, 99), st.sampled_from([np.uint8, np.float32, np.float64]))
    def test_one_neighbour_knows_what_it_learned(self, count: int, seed: int, dtype: Any) -> None:
        rng = np.random.default_rng(seed)
        X, y = examples(rng, count, 5, dtype), rng.integers(0, 4, count)
        distinct = np.unique(X, axis=0, return_index=True)[1]
        X, y = X[distinct], y[distinct]
        assert KNearestNeighbor().fit(X, y).score(X, y) == 1.0

    @pytest.mark.parametrize("k", [0, -1, 4, 2.0, None])
    def test_k_out_of_range(self, k: Any) -> None:
        X = [[0.0], [1.0], [2.0]]
        with pytest.raises(UsageError, match=rf"k is {k}, but it must be 1 to 3, the number of training examples"):
            KNearestNeighbor(k).fit(X, [0, 1, 2]).predict(X)

    def test_wrong_use(self) -> None:
        X = [[0.0], [1.0], [2.0]]
        knn = KNearestNeighbor(num_loops=3).fit(X, [0, 1, 2])
        with pytest.raises(UsageError, match=r"num_loops is 3.*0, 1 or 2"):
            knn.predict(X)
        with pytest.raises(ShapeError, match=r"distances must be \(M, 3\) for 3 training examples, got \(3, 2\)"):
            knn.predict_labels(np.zeros((3, 2)), 1)

    def test_blocks_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        X, y, X_test, _ = digits()
        knn = KNearestNeighbor(3).fit(X, y)
        whole = knn.predict(X_test)
        rows = []

        def counted(self: KNearestNeighbor, block: Any) -> Any:
            rows.append(len(block))
            return compute(self, block)

        compute = KNearestNeighbor.compute_distances_no_loop
        monkeypatch.setattr(KNearestNeighbor, "compute_distances_no_loop", counted)
        monkeypatch.setattr(k_nearest_neighbor, "_BLOCK", 7 * len(X))
        np.testing.assert_array_equal(knn.predict(X_test), whole)
        assert max(rows) == 7
        assert sum(rows) == len(X_test)


class TestLosses:
    @pytest.mark.parametrize(
        ("fast", "naive"), [(svm_loss_vectorized, svm_loss_naive), (softmax_loss_vectorized, softmax_loss_naive)]
    )
    @pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-11)])
    @pytest.mark.parametrize("reg", [0.0, np.float64(0.7)])
    def test_equal_the_loops_and_numbers(
        self, fast: Loss, naive: Loss, dtype: Any, tolerance: float, reg: float
    ) -> None:
        rng = np.random.default_rng(1)
        W, X, y = examples(rng, 6, 4, dtype), examples(rng, 9, 6, dtype), rng.integers(0, 4, 9)
        before = W.copy(), X.copy()
        loss, dW = fast(W, X, y, reg)
        expected, expected_dW = naive(W, X, y, reg)
        np.testing.assert_allclose(loss, expected, rtol=tolerance)
        np.testing.assert_allclose(dW, expected_dW, rtol=tolerance, atol=tolerance)
        assert dW.dtype == dtype
        np.testing.assert_array_equal(W, before[0])
        np.testing.assert_array_equal(X, before[1])
        if dtype == np.float64:
            numerical = eval_numerical_gradient(lambda w: fast(w, X, y, reg)[0], W)
            np.testing.assert_allclose(dW, numerical, rtol=1e-6, atol=1e-8)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 6), st.integers(1, 5), st.integers(2, 5), st.integers(0, 99))
    def test_equal_torch(self, count: int, features: int, classes: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        W, X = rng.normal(size=(features, classes)), rng.normal(size=(count, features))
        y = rng.integers(0, classes, count)
        for fast, theirs in (
            (svm_loss_vectorized, lambda scores, y: classes * torch.nn.functional.multi_margin_loss(scores, y)),
            (softmax_loss_vectorized, torch.nn.functional.cross_entropy),
        ):
            w: Any = torch.tensor(W, requires_grad=True)
            expected = theirs(torch.tensor(X) @ w, torch.tensor(y)) + 0.5 * 0.3 * (w**2).sum()
            expected.backward()
            loss, dW = fast(W, X, y, 0.3)
            np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
            np.testing.assert_allclose(dW, w.grad.numpy(), rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("loss", [svm_loss_vectorized, softmax_loss_vectorized])
    def test_shapes_are_named(self, loss: Loss) -> None:
        with pytest.raises(ShapeError, match=r"X of shape \(2, 3\) does not fit W of shape \(4, 5\)"):
            loss(np.zeros((4, 5)), np.zeros((2, 3)), np.zeros(2, int), 0.0)
        with pytest.raises(LabelError, match=r"y\[1\] is 5"):
            loss(np.zeros((3, 5)), np.zeros((2, 3)), np.array([0, 5]), 0.0)


class TestLinear:
    @pytest.mark.parametrize("make", LINEAR)
    def test_one_step_by_hand(self, make: Any) -> None:
        """From zero, all examples in a batch: W becomes minus the rate times the gradient of the loops."""
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(12, 3)), np.arange(12) % 3
        naive = svm_loss_naive if make is LinearSVM else softmax_loss_naive
        ones = np.column_stack([X, np.ones(12)])
        loss, dW = naive(np.zeros((4, 3)), ones, y, 0.5)
        model = make(learning_rate=0.2, reg=0.5, num_iters=1, batch_size=None).fit(X, y)
        np.testing.assert_allclose(model.W_, -0.2 * dW, atol=1e-12)
        assert model.loss_history_ == pytest.approx([loss])
        assert loss == pytest.approx(2 if make is LinearSVM else np.log(3))

    @pytest.mark.parametrize("make", LINEAR)
    def test_scores_are_affine(self, make: Any) -> None:
        X, y, X_test, _ = digits()
        model = make(num_iters=30).fit(X, y)
        scores = np.array([[sum(x * w) for w in model.W_[:-1].T] for x in X_test[:5]]) + model.W_[-1]
        np.testing.assert_allclose(model.decision_function(X_test[:5]), scores)
        np.testing.assert_array_equal(model.predict(X_test[:5]), model.classes_[scores.argmax(1)])

    @pytest.mark.parametrize("make", LINEAR)
    def test_two_classes_have_one_score(self, make: Any) -> None:
        X, y = np.array([[-1.0], [-2.0], [1.0], [3.0]]), ["no", "no", "yes", "yes"]
        model = make(learning_rate=0.1).fit(X, y)
        scores = model.decision_function(X)
        assert scores.shape == (4,)
        assert (scores > 0).tolist() == [False, False, True, True]

    def test_probabilities(self) -> None:
        X, y, X_test, _ = digits()
        model = Softmax(learning_rate=0.1, num_iters=200).fit(X, y)
        expected = torch.softmax(torch.tensor(model.decision_function(X_test)), dim=1)
        np.testing.assert_allclose(model.predict_proba(X_test), expected, rtol=1e-12)
        far = model.predict_proba(1e6 * X_test)
        np.testing.assert_allclose(far.sum(axis=1), 1)

    def test_softmax_converges_to_logistic_regression(self) -> None:
        """scikit-learn minimises C times the sum of losses plus half the squares: reg is 1 / (C N), bias included."""
        X, y, X_test, y_test = digits()
        X, y, reg = X[:400], y[:400], 0.01
        ones, ones_test = (np.column_stack([part, np.ones(len(part))]) for part in (X, X_test))
        theirs = LogisticRegression(C=1 / (reg * len(X)), fit_intercept=False, tol=1e-8, max_iter=1000).fit(ones, y)
        ours = Softmax(learning_rate=0.4, reg=reg, num_iters=3000, batch_size=None).fit(X, y)
        np.testing.assert_allclose(ours.W_, theirs.coef_.T, atol=1e-4)
        assert ours.score(X_test, y_test) == theirs.score(ones_test, y_test) > 0.85

    @pytest.mark.parametrize("make", LINEAR)
    def test_minibatches_learn_digits(self, make: Any) -> None:
        X, y, X_test, y_test = digits(np.float32)
        model = make(learning_rate=0.02, num_iters=500).fit(X, y)
        assert model.score(X_test, y_test) > 0.9
        assert np.mean(model.loss_history_[-20:]) < 0.3 * model.loss_history_[0]
        assert len(model.loss_history_) == 500
        assert all(type(loss) is float for loss in model.loss_history_)

    @pytest.mark.parametrize("make", LINEAR)
    def test_the_same_seed_learns_the_same(self, make: Any) -> None:
        X, y, _, _ = digits()
        state = np.random.get_state(legacy=False)["state"]["key"].copy()
        first, again, other = (make(num_iters=20, seed=seed).fit(X, y) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first.W_, again.W_)
        assert first.loss_history_ == again.loss_history_
        assert not np.array_equal(first.W_, other.W_)
        assert not np.array_equal(*(make(num_iters=20, seed=None).fit(X, y).W_ for _ in range(2)))
        after = np.random.get_state(legacy=False)["state"]["key"]
        np.testing.assert_array_equal(state, after, err_msg="the global stream is left alone")

    @pytest.mark.parametrize("make", LINEAR)
    def test_divergence_is_told_with_the_iteration(self, make: Any) -> None:
        X, y, _, _ = digits()
        model = make(learning_rate=1e6, reg=10.0)
        with pytest.raises(
            DivergedError, match=rf"{make.__name__}\(learning_rate=1000000.0.*diverged at iteration \d+:.*Lower"
        ):
            model.fit(X, y)
        with pytest.raises(UsageError, match="learned nothing yet"):
            model.predict(X)

    @pytest.mark.parametrize("make", LINEAR)
    def test_what_was_learned_before_a_divergence_stays(self, make: Any) -> None:
        X, y, _, _ = digits()
        model = make(num_iters=20).fit(X, y)
        before = model.predict(X)
        with pytest.raises(DivergedError):
            model.set_params(learning_rate=1e6, reg=10.0, num_iters=1000).fit(X[:, :5], y > 4)
        np.testing.assert_array_equal(model.predict(X), before)

    def test_one_class(self) -> None:
        model = LinearSVM(num_iters=2).fit([[1.0], [2.0]], ["a", "a"])
        assert model.predict([[5.0]]).tolist() == ["a"]
