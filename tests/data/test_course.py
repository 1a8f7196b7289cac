"""The course's split: which images, in which order, and what is subtracted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cnnlab
from cnnlab.data import FileSplit, ImageData, course_split
from cnnlab.errors import DataError
from tests.helpers import make_bars


def test_images_are_taken_in_order_and_centred_on_the_training_images() -> None:
    data = make_bars(n_train=48, n_test=24)
    parts = course_split(data, 20, 8, 5, dtype=np.float64)
    pixels = data.train.pixels.numpy().astype(float)
    mean = pixels[:20].mean(axis=0)
    np.testing.assert_allclose(parts["mean_image"], mean, atol=1e-12)
    np.testing.assert_allclose(parts["X_train"], pixels[:20] - mean, atol=1e-12)
    np.testing.assert_allclose(parts["X_val"], pixels[40:] - mean, atol=1e-12)
    np.testing.assert_allclose(parts["X_test"], data.test.pixels.numpy()[:5] - mean, atol=1e-12)
    np.testing.assert_array_equal(parts["y_val"], data.train.labels.numpy()[40:])
    assert {key: value.dtype for key, value in parts.items() if key[0] == "y"} == dict.fromkeys(
        ["y_train", "y_val", "y_test"], np.dtype("int64")
    )


def test_rows_without_the_mean_are_the_pixels() -> None:
    data = make_bars(n_train=12, n_test=3)
    parts = course_split(data, 9, 0, 3, flat=True, subtract_mean=False)
    np.testing.assert_array_equal(parts["X_train"], data.train.pixels.numpy()[:9].reshape(9, 64))
    assert parts["X_train"].dtype == np.float32
    assert parts["X_val"].shape == (0, 64)
    assert not parts["mean_image"].any()
    parts["X_train"][:] = 7
    parts["y_train"][:] = 7
    assert int(data.train.labels.max()) == 2, "the data set is not changed through the arrays"


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    data = make_bars(n_train=12, n_test=0)
    with pytest.raises(DataError, match="12 training images, too few for 10 to train and 5 to validate"):
        course_split(data, 10, 5, 0)
    with pytest.raises(DataError, match="0 test images, not 1"):
        course_split(data, 5, 5, 1)
    assert course_split(data, 5, 5, 0)["X_test"].shape == (0, 1, 8, 8)
    with pytest.raises(DataError, match="24 test images, not 25"):
        course_split(make_bars(), 5, 5, 25)
    files = FileSplit([tmp_path / "a.png"], [0])
    with pytest.raises(DataError, match="holds files"):
        course_split(ImageData("photos", ["a"], files, None, None, "made up"), 1, 0, 0)


@pytest.mark.slow
def test_the_split_of_cifar10(real_data: Path) -> None:
    data = cnnlab.load_data("cifar10", data_dir=real_data / "cifar10")
    parts = course_split(data)
    assert [len(parts[f"X_{part}"]) for part in ("train", "val", "test")] == [49_000, 1_000, 1_000]
    assert parts["y_test"][:4].tolist() == [3, 8, 8, 0], "cat, ship, ship, airplane"
    np.testing.assert_allclose(parts["X_train"].mean(axis=0), 0, atol=0.01)
