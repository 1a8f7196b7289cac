"""Metrics against scikit-learn, hand calculations, published examples and plain loops."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, top_k_accuracy_score

from cnnlab.errors import DataError, DivergedError, UsageError
from cnnlab.training.metrics import calibration_error, evaluate_scores, paired_test, reliability_bins, wilson_interval


def scores(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a classifier that is right about half the time."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += 1.5
    return logits, labels


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_agrees_with_scikit_learn() -> None:
    logits, labels = scores(500, 12)
    predicted = logits.argmax(axis=1)
    metrics = evaluate_scores(logits, labels, [f"c{i}" for i in range(12)])
    assert metrics.n == 500
    assert metrics.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert metrics.loss == pytest.approx(log_loss(labels, softmax(logits), labels=range(12)))
    assert metrics.top5 == pytest.approx(top_k_accuracy_score(labels, logits, k=5))
    assert metrics.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert metrics.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_a_small_case_by_hand() -> None:
    #                true:   a        a       b       b       b
    logits = np.log([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7], [0.75, 0.25]])
    metrics = evaluate_scores(logits, [0, 0, 1, 1, 1], ["a", "b"])
    assert metrics.confusion == [[1, 1], [1, 2]]
    assert metrics.accuracy == pytest.approx(3 / 5)
    assert metrics.top5 is None
    assert metrics.loss == pytest.approx(
        -(math.log(0.9) + math.log(0.2) + math.log(0.6) + math.log(0.7) + math.log(0.25)) / 5
    )
    a, b = metrics.per_class
    assert (a.precision, a.recall, a.f1, a.support) == pytest.approx((1 / 2, 1 / 2, 1 / 2, 2))
    assert (b.precision, b.recall, b.f1, b.support) == pytest.approx((2 / 3, 2 / 3, 2 / 3, 3))
    # Each image is in a bin of its own: gaps 1 - 0.9, 0.8, 1 - 0.6, 1 - 0.7, 0.75, each of weight 1/5.
    assert metrics.calibration_error == pytest.approx((0.1 + 0.8 + 0.4 + 0.3 + 0.75) / 5)


def test_classes_that_never_occur_are_undefined_not_zero() -> None:
    metrics = evaluate_scores(np.eye(4)[[0, 0, 1]], [0, 1, 1], ["seen", "also seen", "absent", "absent too"])
    absent = metrics.per_class[2]
    assert (absent.precision, absent.recall, absent.support) == (None, None, 0)
    assert metrics.balanced_accuracy == pytest.approx((1 + 1 / 2) / 2)
    missed = evaluate_scores(np.eye(2)[[0, 0]], [0, 1], ["a", "never predicted"]).per_class[1]
    assert (missed.precision, missed.recall, missed.f1) == (None, 0, 0)


def test_ties_are_broken_as_argmax_does() -> None:
    metrics = evaluate_scores(np.zeros((10, 10)), np.arange(10), list("abcdefghij"))
    assert metrics.accuracy == pytest.approx(0.1)
    assert metrics.top5 == pytest.approx(0.5)


def test_wilson_interval_matches_its_formula() -> None:
    z, p, n = 1.959963984540054, 0.97, 500
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert wilson_interval(485, 500) == pytest.approx((centre - half, centre + half))


def test_calibration_by_hand_and_bins_include_their_upper_edge() -> None:
    confidence = np.array([0.2, 0.2, 0.4, 0.6, 0.61, 1.0])
    correct = np.array([1, 0, 1, 1, 0, 1], dtype=bool)
    bins = reliability_bins(confidence, correct, bins=5)
    assert [b.count for b in bins] == [2, 1, 1, 1, 1]
    assert bins[0].accuracy == pytest.approx(0.5)
    assert calibration_error(bins) == pytest.approx((2 * 0.3 + 0.6 + 0.4 + 0.61 + 0) / 6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_error_equals_a_plain_loop(predictions: list[tuple[float, bool]]) -> None:
    edges = np.linspace(0, 1, 16)
    expected = 0.0
    for low, high in itertools.pairwise(edges):
        inside = [(c, ok) for c, ok in predictions if low < c <= high]
        if inside:
            sure = sum(c for c, _ in inside) / len(inside)
            right = sum(ok for _, ok in inside) / len(inside)
            expected += len(inside) / len(predictions) * abs(sure - right)
    confidence, correct = (np.array(column) for column in zip(*predictions, strict=True))
    assert calibration_error(reliability_bins(confidence, correct)) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.integers(2, 14), st.integers(0, 2**32 - 1))
def test_bounds_sums_and_order_of_images(n: int, k: int, seed: int) -> None:
    logits, labels = scores(n, k, seed)
    names = [str(i) for i in range(k)]
    metrics = evaluate_scores(logits, labels, names)
    low, high = metrics.accuracy_interval
    assert 0 <= low <= metrics.accuracy <= high <= 1
    assert metrics.top5 is None or metrics.top5 >= metrics.accuracy
    assert 0 <= metrics.calibration_error <= 1
    assert metrics.loss >= 0
    matrix = np.array(metrics.confusion)
    assert matrix.sum() == n
    assert np.trace(matrix) / n == pytest.approx(metrics.accuracy)
    assert (
        matrix.sum(axis=1).tolist()
        == [c.support for c in metrics.per_class]
        == np.bincount(labels, minlength=k).tolist()
    )
    assert sum(b.count for b in metrics.reliability) == n
    order = np.random.default_rng(seed).permutation(n)
    shuffled = evaluate_scores(logits[order], labels[order], names)
    assert shuffled.confusion == metrics.confusion
    assert shuffled.loss == pytest.approx(metrics.loss)
    assert shuffled.calibration_error == pytest.approx(metrics.calibration_error)
    moved = evaluate_scores(logits + 100.0, labels, names)
    assert moved.loss == pytest.approx(metrics.loss), "a constant added to all scores changes nothing"


def test_renaming_the_classes_permutes_the_confusion_matrix() -> None:
    logits, labels = scores(200, 6)
    order = np.array([3, 1, 5, 0, 2, 4])  # new position -> old class
    renamed = evaluate_scores(logits[:, order], np.argsort(order)[labels], list("abcdef"))
    original = np.array(evaluate_scores(logits, labels, list("abcdef")).confusion)
    assert (np.array(renamed.confusion) == original[np.ix_(order, order)]).all()


def test_everything_is_plain_python() -> None:
    logits, labels = scores(50, 3)
    metrics = evaluate_scores(logits.astype(np.float32), labels.astype(np.int32), ["a", "b", "c"])
    assert json.loads(json.dumps(metrics.to_dict())) == metrics.to_dict()
    test = paired_test(labels == 0, labels == 1)
    assert json.loads(json.dumps(test.to_dict())) == test.to_dict()


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (np.zeros((3, 2)), [0, 1], UsageError, "shapes"),
        (np.zeros((3, 4)), [0, 1, 1], UsageError, "2 classes"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), DataError, "no image"),
        (np.zeros((2, 2)), [0, 2], DataError, r"0\.\.1"),
        (np.zeros((2, 2)), [0, -1], DataError, "-1"),
        (np.zeros((2, 2)), [0.0, 1.0], DataError, "whole numbers"),
        (np.array([[0, 1], [np.nan, 0]]), [0, 1], DivergedError, "image 1"),
    ],
)
def test_bad_input(logits: np.ndarray, labels: list[int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        evaluate_scores(logits, labels, ["a", "b"])


def pairs(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[bool], list[bool]]:
    table = [(True, True)] * both + [(True, False)] * only_a + [(False, True)] * only_b + [(False, False)] * neither
    first, second = zip(*table, strict=True)
    return list(first), list(second)


def test_mcnemar_by_hand() -> None:
    test = paired_test(*pairs(50, 2, 9, 4))
    # Two-sided: twice the chance of at most 2 heads in 11 throws = 2 (1 + 11 + 55) / 2**11.
    assert test.p_value == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert test.p_value == pytest.approx(2 * binom.cdf(2, 11, 0.5))
    assert (test.n, test.only_a, test.only_b) == (65, 2, 9)
    assert test.difference == pytest.approx(7 / 65)
    assert not test.significant


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # Newcombe 1998; first minus second, so "a" is the second proportion here.
        ((36, 2, 12, 0), (0.0569, 0.3404)),
        # Bentur et al. 2009, as worked in Fagerland, Lydersen and Laake 2014.
        ((1, 7, 1, 12), (-0.507, -0.026)),
    ],
)
def test_interval_of_published_examples(table: tuple[int, int, int, int], expected: tuple[float, float]) -> None:
    assert paired_test(*pairs(*table)).interval == pytest.approx(expected, abs=6e-4)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(0, 40)] * 4).filter(lambda table: sum(table) > 0))
def test_paired_test_is_antisymmetric_and_bounded(table: tuple[int, int, int, int]) -> None:
    a, b = pairs(*table)
    there, back = paired_test(a, b), paired_test(b, a)
    assert there.p_value == pytest.approx(back.p_value)
    assert there.difference == pytest.approx(-back.difference)
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    low, high = there.interval
    assert -1 - 1e-9 <= low <= there.difference + 1e-9
    assert there.difference - 1e-9 <= high <= 1 + 1e-9
    assert 0 < there.p_value <= 1


def test_paired_test_needs_the_same_images() -> None:
    with pytest.raises(UsageError, match="same split"):
        paired_test([True], [True, False])
    with pytest.raises(UsageError, match="same images"):
        paired_test([], [])
    assert paired_test([True, False], [True, False]).p_value == 1
