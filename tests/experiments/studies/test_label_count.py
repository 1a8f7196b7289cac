"""Sets of images within each other, and laws that are fitted to errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnnlab.data import ArraySplit, ImageData
from cnnlab.experiments.studies.label_count import (
    COUNTS,
    VARIANTS,
    diminishing,
    logarithmic_law,
    nested,
    power_against_logarithm,
    power_law,
    r_squared,
)


def measures(errors: np.ndarray) -> dict[str, dict[str, float]]:
    return {name: {"accuracy": 1 - error, "diverged": 0} for name, error in zip(VARIANTS, errors, strict=True)}


def test_each_set_of_images_is_a_part_of_the_next_with_all_classes_in_proportion() -> None:
    numbers = torch.arange(4000)
    pixels = torch.stack([numbers // 256, numbers % 256], dim=1).to(torch.uint8).reshape(-1, 1, 1, 2)
    split = ArraySplit(pixels, numbers % 10)
    data = ImageData("numbers", [str(digit) for digit in range(10)], split, None, split, "made up")
    before: set[int] = set()
    for count, one in zip(COUNTS.tolist(), nested(data, seed=2), strict=True):
        train = one.train
        assert isinstance(train, ArraySplit)
        images = [256 * high + low for high, low in train.pixels.reshape(-1, 2).int().tolist()]
        assert len(images) == 3200
        assert len(set(images)) == count
        assert before < set(images)
        assert {images.count(image) for image in images[:5]} == {3200 // count}
        assert torch.bincount(train.labels).tolist() == [320] * 10
        before = set(images)


def test_a_power_law_is_found_again() -> None:
    errors = 2.5 * COUNTS**-0.7
    assert power_law(COUNTS, errors, COUNTS) == pytest.approx(errors, rel=1e-4)
    assert power_against_logarithm(measures(errors)) > 0.01


def test_a_power_law_is_fitted_as_scipy_does() -> None:
    from scipy.optimize import curve_fit

    errors = np.array([0.22, 0.16, 0.11, 0.08, 0.05, 0.04])
    (a, b), _ = curve_fit(lambda x, a, b: a * x**-b, COUNTS.astype(float), errors, p0=(2.0, 0.5))
    assert power_law(COUNTS, errors, np.array([300.0])) == pytest.approx(a * 300.0**-b, rel=1e-4)


def test_a_logarithmic_law_is_found_again() -> None:
    errors = 0.5 - 0.05 * np.log(COUNTS)
    assert logarithmic_law(COUNTS, errors, COUNTS) == pytest.approx(errors)
    assert power_against_logarithm(measures(errors)) < -0.01


def test_r_squared_by_hand() -> None:
    assert r_squared(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0])) == pytest.approx(0.5)


def test_gains_of_the_first_and_the_last_doubling() -> None:
    assert diminishing(measures(np.array([0.30, 0.20, 0.15, 0.10, 0.07, 0.05]))) == pytest.approx(8.0)


def test_a_training_that_diverged_counts_as_guessing() -> None:
    one = measures(np.array([0.30, 0.20, 0.15, 0.10, 0.07, 0.05]))
    one["100 images"] = {"accuracy": float("nan"), "diverged": 1}
    assert diminishing(one) == pytest.approx(68.0)  # 10 to 80 %, and 93 to 95 %
