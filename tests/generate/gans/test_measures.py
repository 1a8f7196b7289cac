"""Measures against numbers by hand, sums over all pairs, and the formula with scipy's matrix root."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from cnnlab.errors import ShapeError, UsageError
from cnnlab.generate.gans.measures import (
    copied_share,
    distance_percentiles,
    effective_classes,
    frechet_distance,
    kernel_distance,
)


@pytest.fixture(scope="module")
def features() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5))
    return rng.normal(size=(40, 5)) @ mixing, rng.normal(size=(30, 5)) + 0.5


def test_percentiles_and_copies_by_hand() -> None:
    held_out = np.array([4.0, 1.0, 3.0, 2.0])
    assert distance_percentiles(np.array([0.5, 1.0, 2.5, 9.0]), held_out).tolist() == [0, 25, 50, 100]
    thousand = np.arange(1.0, 1002.0)  # the quantile 0.001 is 2
    assert copied_share(np.array([0.0, 1.9, 2.0, 500.0]), thousand) == 0.5


def test_effective_classes_by_hand() -> None:
    assert effective_classes([7] * 10) == pytest.approx(10)
    assert effective_classes([0, 9, 0]) == 1
    # exp(-(1/2 log 1/2 + 1/2 log 1/4)) = 2^(1/2) 4^(1/2)
    assert effective_classes([2, 1, 1]) == pytest.approx(2**1.5)
    with pytest.raises(UsageError, match="no image"):
        effective_classes([0, 0])


def test_frechet_distance_by_hand_and_by_the_formula(features: tuple[np.ndarray, np.ndarray]) -> None:
    """In one dimension it is (m1 - m2)^2 + (s1 - s2)^2: here 3^2 + (1 - 2)^2, with standard deviations for n - 1."""
    one, two = np.array([[-1.0], [0.0], [1.0]]), np.array([[1.0], [3.0], [5.0]])
    assert frechet_distance(one, two) == pytest.approx(10)
    first, second = features
    c1, c2 = np.cov(first.T), np.cov(second.T)
    expected = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, first + np.array([3, 0, 0, 4, 0])) == pytest.approx(25)


def test_frechet_distance_of_features_that_are_constant() -> None:
    """A dead unit, as ReLU leaves them, makes the covariances singular."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    padded = [np.column_stack([each, np.zeros(20), np.zeros(20)]) for each in (first, second)]
    assert frechet_distance(*padded) == pytest.approx(frechet_distance(first, second))


def test_kernel_distance_is_the_sum_over_all_pairs(features: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = (each[:7] for each in features)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x @ y) / 5 + 1) ** 3

    def mean_within(rows: np.ndarray) -> float:
        pairs = [kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j]
        return sum(pairs) / len(pairs)

    across = np.mean([kernel(x, y) for x in first for y in second])
    assert kernel_distance(first, second) == pytest.approx(mean_within(first) + mean_within(second) - 2 * across)


def test_kernel_distance_is_unbiased() -> None:
    """Between halves of one distribution its mean is 0, within three standard errors."""
    rng = np.random.default_rng(0)
    values = [kernel_distance(rng.normal(size=(30, 3)), rng.normal(size=(30, 3))) for _ in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values, ddof=1) / np.sqrt(200)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_features_that_do_not_fit(distance: object) -> None:
    with pytest.raises(ShapeError, match=r"\(3, 2\) and \(3, 4\)"):
        distance(np.ones((3, 2)), np.ones((3, 4)))  # type: ignore[operator]
    with pytest.raises(ShapeError, match="at least two"):
        distance(np.ones((1, 2)), np.ones((3, 2)))  # type: ignore[operator]


def test_distances_are_those_of_torch_fidelity() -> None:
    """The numbers are what torch-fidelity 0.4.0 gives for these features; KID with a single subset of all of them."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(300, 16)) @ rng.normal(size=(16, 16))
    second = np.maximum(rng.normal(size=(300, 16)) + 0.3, 0)
    assert frechet_distance(first, second) == pytest.approx(186.43026230630454, rel=1e-9)
    assert kernel_distance(first, second) == pytest.approx(83.59823851017747, rel=1e-9)
