"""Arrays and tensors become pictures with the values that the definition says, and nothing else does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.errors import UsageError
from cnnlab.figures.pictures import input_picture, to_picture


def test_floats_are_rounded_to_the_nearest_of_256_levels_and_clipped() -> None:
    picture = to_picture(np.array([[0.0, 0.5, 1.0], [-3.0, 1.7, 100.4 / 255]]))
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[0, 128, 255], [0, 255, 100]]
    assert to_picture(np.array([[True, False]])).tolist() == [[255, 0]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_tensor_and_an_array_of_either_order_give_the_same_picture(dtype: torch.dtype) -> None:
    levels = torch.tensor([0, 255, 0, 255, 0, 0, 0, 0, 255, 255, 255, 0], dtype=torch.uint8).reshape(3, 2, 2)
    image = levels if dtype == torch.uint8 else (levels / 255).to(dtype)
    expected = levels.numpy().transpose(1, 2, 0)
    image.requires_grad_(dtype.is_floating_point)
    np.testing.assert_array_equal(to_picture(image), expected)
    np.testing.assert_array_equal(to_picture(image.permute(1, 2, 0), "HWC"), expected)
    np.testing.assert_array_equal(to_picture(levels.numpy() / 255), expected)
    assert Image.fromarray(to_picture(image)).getpixel((1, 0)) == (255, 0, 255)


def test_grey_has_two_axes_whatever_it_came_as() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for image, axes in ((grey, "CHW"), (grey[None], "CHW"), (grey[:, :, None], "HWC")):
        np.testing.assert_array_equal(to_picture(image, axes), grey)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(4), r"\(4,\)"),
        (np.zeros((5, 6, 3)), r'say axes="HWC"'),
        (np.zeros((3, 0, 4)), r"\(3, 0, 4\)"),
        (np.zeros((2, 2), np.int64), "got int64. Try"),
        (np.array([[0.0, np.nan]]), "NaN"),
    ],
)
def test_what_is_no_picture_is_refused(image: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        to_picture(image)


def test_the_picture_of_an_input_stretches_its_range() -> None:
    image = np.stack([np.full((2, 2), -2.0), np.zeros((2, 2)), np.full((2, 2), 2.0)])
    assert input_picture(image)[0, 0].tolist() == [0, 128, 255]
    assert input_picture(image[:1] * [[[0, 1], [1, 0]]]).tolist() == [[255, 0], [0, 255]]
    assert input_picture(np.ones((4, 3, 2))).tolist() == [[0, 0]] * 3
    assert input_picture(image, like=np.array([-2.0, 6.0]))[0, 0].tolist() == [0, 64, 128]
    with pytest.raises(UsageError, match=r"\(C, H, W\)"):
        input_picture(np.zeros((2, 2)))
