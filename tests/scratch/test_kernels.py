"""Hand-set kernels against scipy.ndimage and Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_sample_image

from cnnlab.errors import ShapeError
from cnnlab.scratch import kernels
from cnnlab.scratch.kernels import BLUR, BOX_BLUR, GREY, LAPLACIAN, SHARPEN, SOBEL_X, SOBEL_Y, apply_kernel

rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("kernel", "reference"),
    [
        (SOBEL_X, lambda image: ndimage.sobel(image, axis=1, mode="nearest")),
        (SOBEL_Y, lambda image: ndimage.sobel(image, axis=0, mode="nearest")),
        (LAPLACIAN, lambda image: ndimage.laplace(image, mode="nearest")),
        (BOX_BLUR, lambda image: ndimage.uniform_filter(image, 3, mode="nearest")),
        (SHARPEN, lambda image: image - ndimage.laplace(image, mode="nearest")),
    ],
)
def test_equals_scipy(kernel: Any, reference: Any) -> None:
    images = rng.standard_normal((2, 3, 7, 9))
    out = apply_kernel(images, kernel)
    assert out.shape == images.shape
    for image, filtered in zip(images.reshape(-1, 7, 9), out.reshape(-1, 7, 9), strict=True):
        np.testing.assert_allclose(filtered, reference(image), rtol=1e-12, atol=1e-12)


def test_blur_is_nearly_gaussian() -> None:
    spot = np.zeros((1, 1, 9, 9))
    spot[0, 0, 4, 4] = 1
    out = apply_kernel(spot, BLUR)[0, 0]
    assert out.sum() == pytest.approx(1)
    np.testing.assert_allclose(out, ndimage.gaussian_filter(spot[0, 0], 1), atol=0.02)
    place = np.arange(9) - 4
    assert (out * place**2).sum() == pytest.approx(1)  # the variance in either direction


def test_grey_equals_pillow() -> None:
    photo = load_sample_image("china.jpg")[::8, ::8]
    out = apply_kernel(photo.transpose(2, 0, 1)[None], GREY)
    assert out.shape == (1, 1, *photo.shape[:2])
    assert out.dtype == np.float32
    expected = np.asarray(Image.fromarray(photo).convert("L"))
    assert np.abs(out[0, 0] - expected).max() <= 1  # Pillow rounds


def test_flat_ground_and_slopes() -> None:
    """Nothing happens to an even area; a slope has one value everywhere but at its ends."""
    even = np.full((1, 1, 5, 5), 7.0)
    for kernel, value in ((BLUR, 7), (BOX_BLUR, 7), (SHARPEN, 7), (SOBEL_X, 0), (SOBEL_Y, 0), (LAPLACIAN, 0)):
        np.testing.assert_allclose(apply_kernel(even, kernel), value, atol=1e-12)
    slope = np.broadcast_to(np.arange(5.0), (1, 1, 5, 5))
    assert (apply_kernel(slope, SOBEL_X)[..., 1:-1] == 8).all()
    assert (apply_kernel(slope, SOBEL_Y) == 0).all()
    assert (apply_kernel(slope, LAPLACIAN)[..., 1:-1] == 0).all()


def test_constants_stay_what_they_are() -> None:
    constants = {name: value for name, value in vars(kernels).items() if name.isupper()}
    assert len(constants) == 7
    for kernel in constants.values():
        assert kernel.ndim == 4
        with pytest.raises(ValueError, match="read-only"):
            kernel += 1


def test_types_and_inputs() -> None:
    for dtype, expected in ((np.uint8, np.float32), (np.float32, np.float32), (np.float64, np.float64)):
        images = rng.integers(0, 256, (1, 3, 5, 4)).astype(dtype)
        kept = images.copy()
        for kernel in (GREY, SHARPEN):
            assert apply_kernel(images, kernel).dtype == expected
        np.testing.assert_array_equal(images, kept)


def test_wrong_shapes() -> None:
    images = np.ones((1, 3, 5, 5))
    with pytest.raises(ShapeError, match=r"images must be \(N, C, H, W\), got an array of shape \(5, 5\)"):
        apply_kernel(images[0, 0], SOBEL_X)
    with pytest.raises(ShapeError, match=r"no pixel in the middle: its size is 2x3"):
        apply_kernel(images, np.ones((1, 3, 2, 3)))
    with pytest.raises(ShapeError, match=r"\(1, 3, 1, 1\) is for 3 channels, but x of shape \(1, 1, 5, 5\) has 1"):
        apply_kernel(images[:, :1], GREY)
