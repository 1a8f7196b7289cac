"""Features of images against scikit-image, matplotlib, colorsys, NumPy and numbers worked out by hand."""

from __future__ import annotations

import colorsys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matplotlib.colors import rgb_to_hsv
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from cnnlab.errors import ShapeError, UsageError
from cnnlab.scratch import features
from cnnlab.scratch.features import FeatureScaler, color_histogram_hsv, extract_features, hog_feature, rgb_to_hue


def pictures(count: int = 4, height: int = 32, width: int = 32, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, height, width)).astype(dtype)


def grey(values: Any) -> Any:
    """Grey images (N, 3, H, W) of the given brightness (N, H, W)."""
    return np.repeat(np.asarray(values, dtype=float)[:, None], 3, axis=1)


def on_a_border_of_bins(brightness: Any) -> bool:
    """Whether a gradient points so exactly between two bins of 20 degrees that rounding decides for one."""
    down, across = brightness[2:, 1:-1] - brightness[:-2, 1:-1], brightness[1:-1, 2:] - brightness[1:-1, :-2]
    angles = np.degrees(np.arctan2(down, across)) % 20
    return bool(np.minimum(angles, 20 - angles).min() < 1e-4)


class TestHog:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(8, 35), st.integers(8, 35), st.integers(0, 99))
    def test_equals_scikit_image_before_it_normalises(self, height: int, width: int, seed: int) -> None:
        """In one block of all cells the L1 norm divides everything by one number: the sum, plus its epsilon of 1e-5."""
        hog = pytest.importorskip("skimage.feature", reason="pip install scikit-image").hog
        images = pictures(2, height, width, seed)
        cells = (height // 8, width // 8)
        for image, ours in zip(images, hog_feature(images), strict=True):
            brightness = np.tensordot([0.299, 0.587, 0.114], image, axes=1)
            assume(not on_a_border_of_bins(brightness))
            theirs = hog(brightness, 9, (8, 8), cells, block_norm="L1")
            assert ours.shape == theirs.shape == (cells[0] * cells[1] * 9,)
            np.testing.assert_allclose(ours / (ours.sum() + 1e-5), theirs, rtol=1e-6)  # it adds up in float32

    def test_equals_scikit_image_cell_by_cell(self) -> None:
        hog = pytest.importorskip("skimage.feature", reason="pip install scikit-image").hog
        images = pictures(3)
        for image, ours in zip(images, hog_feature(images), strict=True):
            brightness = np.tensordot([0.299, 0.587, 0.114], image, axes=1)
            theirs = hog(brightness, 9, (8, 8), (1, 1), block_norm="L1").reshape(16, 9)
            cells = ours.reshape(16, 9)
            np.testing.assert_allclose(cells / (cells.sum(axis=1, keepdims=True) + 1e-5), theirs, rtol=1e-6)

    @pytest.mark.parametrize(
        ("slope", "direction"),
        [((0, 1), 0), ((0, -1), 0), ((1, 0), 4), ((-1, 0), 4), ((1, 1), 2), ((-1, -1), 2), ((1, -1), 6), ((-1, 1), 6),
         ((1, 2), 1), ((2, 1), 3), ((-2, 1), 5), ((-1, 2), 7), ((-1, 5), 8)],
    )  # fmt: skip
    def test_a_slope_has_one_direction(self, slope: tuple[int, int], direction: int) -> None:
        """A plane rising by (down, across) per pixel: twice its slope from neighbour to neighbour, all in one bin."""
        down, across = slope
        rows, columns = np.mgrid[:32, :32]
        histograms = hog_feature(grey([down * rows + across * columns])).reshape(4, 4, 9)
        inner = np.zeros(9)
        inner[direction] = 2 * np.hypot(down, across)
        for cell in histograms[1:3, 1:3].reshape(4, 9):
            np.testing.assert_allclose(cell, inner, atol=1e-9)

    def test_an_edge_stands_in_its_cell(self) -> None:
        """Black meets white between columns 11 and 12: both have a difference of 1, over 32 rows, 2 of 8 columns."""
        image = np.zeros((1, 32, 32))
        image[:, :, 12:] = 1
        histograms = hog_feature(grey(image)).reshape(4, 4, 9)
        expected = np.zeros((4, 4, 9))
        expected[:, 1, 0] = 2 / 8
        np.testing.assert_allclose(histograms, expected, atol=1e-12)

    def test_course_size(self) -> None:
        assert hog_feature(pictures(2)).shape == (2, 144)

    def test_scales_with_contrast_and_not_with_brightness(self) -> None:
        images = pictures()
        np.testing.assert_allclose(hog_feature(images / 255), hog_feature(images) / 255)
        np.testing.assert_allclose(hog_feature(images + 40), hog_feature(images))

    def test_too_small(self) -> None:
        with pytest.raises(ShapeError, match=r"at least 8x8.*\(1, 3, 8, 7\)"):
            hog_feature(np.zeros((1, 3, 8, 7)))


class TestHue:
    def test_equals_matplotlib_and_colorsys(self) -> None:
        images = pictures(2, 20, 30)
        images[0, :, :3] = images[0, :1, :3]  # grey
        images[0, 1, 3:6] = images[0, 0, 3:6]  # two channels alike
        images[0, 2, 6:9] = images[0, 1, 6:9]
        images[0, 2, 9:12] = images[0, 0, 9:12]
        hues = rgb_to_hue(images)
        theirs = rgb_to_hsv(images.transpose(0, 2, 3, 1) / 255)[..., 0]
        np.testing.assert_allclose(hues, theirs, atol=1e-12)
        by_hand = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in images[0].reshape(3, -1).T / 255]
        np.testing.assert_allclose(hues[0].ravel(), by_hand, atol=1e-12)

    @pytest.mark.parametrize(
        ("colour", "hue"),
        [((255, 0, 0), 0), ((255, 255, 0), 1 / 6), ((0, 255, 0), 1 / 3), ((0, 255, 255), 1 / 2), ((0, 0, 255), 2 / 3),
         ((255, 0, 255), 5 / 6), ((9, 9, 9), 0), ((0, 0, 0), 0)],
    )  # fmt: skip
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_colours(self, colour: tuple[int, ...], hue: float, dtype: Any) -> None:
        assert rgb_to_hue(np.array(colour, dtype).reshape(1, 3, 1, 1)).item() == pytest.approx(hue, abs=1e-7)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
    def test_histogram_equals_numpy(self, nbin: int, height: int, width: int, seed: int) -> None:
        images = pictures(3, height, width, seed)
        histograms = color_histogram_hsv(images, nbin)
        for hues, histogram in zip(rgb_to_hue(images), histograms, strict=True):
            expected, _ = np.histogram(hues, bins=nbin, range=(0, 1))
            # np.histogram corrects bins at the edges by comparing: a hue on an edge may fall on either side.
            near = np.abs(hues * nbin - np.rint(hues * nbin)).min() < 1e-9
            if not near:
                np.testing.assert_allclose(histogram, expected / hues.size)
            assert histogram.sum() == pytest.approx(1)

    def test_bins(self) -> None:
        with pytest.raises(UsageError, match="nbin is 0"):
            color_histogram_hsv(pictures(), 0)


class TestExtractFeatures:
    def test_stacks_the_functions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        images = pictures(7)
        expected = np.hstack([hog_feature(images), color_histogram_hsv(images)])
        monkeypatch.setattr(features, "_BLOCK", 3)
        found = extract_features(images, [hog_feature, color_histogram_hsv])
        assert found.shape == (7, 154)
        np.testing.assert_allclose(found, expected, rtol=1e-12)

    def test_no_images(self) -> None:
        assert extract_features(pictures(0), [hog_feature, color_histogram_hsv]).shape == (0, 154)

    def test_each_image_for_itself(self) -> None:
        images = pictures(5)
        for function in (hog_feature, color_histogram_hsv):
            alone = np.concatenate([function(images[i : i + 1]) for i in range(5)])
            np.testing.assert_allclose(function(images), alone, rtol=1e-12)

    @pytest.mark.parametrize(
        ("given", "kept"), [(np.uint8, np.float32), (np.float32, np.float32), (np.float64, np.float64)]
    )
    def test_precision(self, given: Any, kept: Any) -> None:
        images = pictures(3, dtype=given)
        before = images.copy()
        found = extract_features(images, [hog_feature, color_histogram_hsv])
        assert found.dtype == kept
        np.testing.assert_array_equal(images, before)
        exact = extract_features(images.astype(np.float64), [hog_feature, color_histogram_hsv])
        # A hue or a gradient on the edge of a bin may fall on the other side in float32.
        assert np.mean(np.abs(found - exact) > 1e-3) < 0.02

    def test_wrong_use(self) -> None:
        with pytest.raises(
            ShapeError, match=r"images must be \(N, 3, H, W\), got .*\(2, 32, 32, 3\).*transpose\(0, 3, 1, 2\)"
        ):
            hog_feature(np.zeros((2, 32, 32, 3)))
        with pytest.raises(ShapeError, match=r"images must be \(N, 3, H, W\), got an array of shape \(3, 32, 32\)"):
            extract_features(np.zeros((3, 32, 32)), [hog_feature])
        with pytest.raises(ShapeError, match=r"images must be \(N, 3, H, W\).*\(2, 3, 0, 8\)"):
            extract_features(np.zeros((2, 3, 0, 8)), [color_histogram_hsv])
        with pytest.raises(UsageError, match="no function"):
            extract_features(pictures(), [])
        with pytest.raises(ShapeError, match=r"mean returned \(\) for images \(4, 3, 32, 32\), not \(4, F\)"):
            extract_features(pictures(), [np.mean])


class TestFeatureScaler:
    def test_equals_scikit_learn(self) -> None:
        rng = np.random.default_rng(0)
        X, X_test = rng.normal(3, 5, (50, 4)), rng.normal(3, 5, (20, 4))
        X[:, 2] = 7  # a feature that never changes
        ours, theirs = FeatureScaler().fit(X), StandardScaler().fit(X)
        np.testing.assert_allclose(ours.transform(X_test), theirs.transform(X_test), rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(FeatureScaler().fit_transform(X), ours.transform(X))
        assert ours.transform(X_test.astype(np.float32)).dtype == np.float64
        assert FeatureScaler().fit_transform(X.astype(np.float32)).dtype == np.float32

    def test_a_constant_feature_stays_constant_in_float32(self) -> None:
        X = np.random.default_rng(0).normal(size=(10_000, 3)).astype(np.float32)
        X[:, 1] = 0.1  # its mean over so many rows is rounded, and its deviation from that mean is not 0
        scaler = FeatureScaler().fit(X)
        assert scaler.scale_[1] == 1
        assert (scaler.transform(X)[:, 1] == 0).all()
        assert scaler.transform([[0.0, 0.6, 0.0]])[0, 1] == pytest.approx(0.5)
        np.testing.assert_allclose(scaler.scale_, StandardScaler().fit(X.astype(np.float64)).scale_, rtol=1e-4)

    def test_passes_the_checks_of_scikit_learn(self) -> None:
        reason = "raises UsageError: NotFittedError would need scikit-learn to be imported"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the checks warn that there is no BaseEstimator
            check_estimator(
                FeatureScaler(), expected_failed_checks={"check_transformers_unfitted": reason}, on_skip=None
            )

    def test_wrong_use(self) -> None:
        with pytest.raises(UsageError, match="FeatureScaler has learned nothing yet"):
            FeatureScaler().transform([[1.0]])
        with pytest.raises(ShapeError, match=r"X has 1 features.*fitted on \(N, 2\), and X is \(1, 1\)"):
            FeatureScaler().fit([[1.0, 2.0]]).transform([[1.0]])
