"""The images that excite a unit most are those with the largest outputs, however they come in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from torch import Tensor, nn

from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain import PixelRange
from cnnlab.explain.activations.top_images import top_images
from cnnlab.figures import to_png
from tests.explain.helpers_explain import OneConv, awkward, hooks_of, linear, random_image, state_of

MODEL = OneConv()


def pictures(count: int, size: int = 6, seed: int = 0) -> Tensor:
    """Images (N, 1, S, S), each with one bright pixel."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(count, 1, size, size, dtype=torch.float64)
    for image in images:
        y, x = torch.randint(0, size, (2,), generator=generator).tolist()
        image[0, y, x] = torch.rand((), generator=generator)
    return images


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 23), batch=st.integers(1, 9), k=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_largest_of_all_batches(count: int, batch: int, k: int, seed: int) -> None:
    images = pictures(count, seed=seed)
    found = top_images(MODEL, list(images.split(batch)), "relu", [0, 1], k=k)
    expected, order = images.amax((1, 2, 3)).sort(descending=True, stable=True)
    assert found.count == count
    assert found.units == (0, 1)
    np.testing.assert_allclose(found.values[0], expected[:k].float())
    assert found.indices[0].tolist() == order[:k].tolist()
    assert found.values[1].tolist() == [0] * min(k, count), "the other filter sees negatives only"
    assert set(found.pictures) == set(found.indices.ravel().tolist()), "no picture is kept that is not shown"


def test_the_box_is_what_the_unit_sees_where_it_was_largest() -> None:
    model = OneConv(filters=[[torch.ones(3, 3).tolist()]], head=[[1.0], [2.0]], padding=1)
    images = torch.zeros(2, 1, 8, 9, dtype=torch.float64)
    images[0, 0, 4, 5], images[1, 0, 0, 8] = 1.0, 2.0
    found = top_images(model, images, "conv", 0, k=2)
    assert found.indices.tolist() == [[1, 0]]
    # The first of the positions that see the pixel is the one above and left of it.
    assert found.boxes[0, 1].tolist() == [2, 3, 5, 6]
    assert found.boxes[0, 0].tolist() == [0, 6, 2, 9], "cut off at the border"
    top, left, bottom, right = found.boxes[0, 1]
    assert images[0, 0, top:bottom, left:right].sum() == 1


def test_dense_layers_see_the_whole_image() -> None:
    model = linear([[1.0, 0, 0, 0], [0, 0, 0, -1.0]])
    images = torch.tensor([[[[1.0, 2], [3, 4]]], [[[5.0, 6], [7, 8]]]], dtype=torch.float64)
    found = top_images(model, images, "1", [0, 1], k=2)
    assert found.values.tolist() == [[5, 1], [-4, -8]]
    assert found.indices.tolist() == [[1, 0], [0, 1]]
    assert found.boxes.tolist() == [[[0, 0, 2, 2]] * 2] * 2


def test_batches_come_in_every_form() -> None:
    images = pictures(6)
    labels = torch.arange(6)

    def stream() -> Iterator[Any]:
        yield from zip(images.split(2), labels.split(2), strict=True)

    forms = [images, images.numpy(), [images[:4], images[4:]], stream(), [Batch(images, labels)], [[images.numpy()]]]
    answers = [top_images(OneConv(), form, "relu", 0, k=3).indices.tolist() for form in forms]
    assert answers == [answers[0]] * len(forms)


def test_pictures_are_seen_as_they_were_before_normalisation() -> None:
    pixels = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    model = awkward()
    images = (pixels - 0.4) / 0.2
    found = top_images(model, images, "last", 1, k=4, pixels=PixelRange.normalised(0.4, 0.2))
    for index, picture in found.pictures.items():
        np.testing.assert_allclose(picture, pixels[index].permute(1, 2, 0).numpy(), atol=1e-6)


def test_the_model_is_left_as_it_was_also_after_an_error() -> None:
    model = awkward()
    images = torch.stack([random_image(seed=s) for s in range(5)])
    before = state_of(model)
    found = top_images(model, images.split(2), "twice", [0, 3], k=2)
    assert state_of(model) == before
    for show in ("seen", "whole"):
        assert to_png(found.figure(show)).startswith(b"\x89PNG")  # type: ignore[arg-type]
    words = " ".join(text.get_text() for text in found.figure().findobj(Text))
    assert "unit 3" in words
    assert "The strongest of 5 images" in words
    model.broken = True
    with pytest.raises(ModelError, match="broken on purpose"):
        top_images(model, images, "twice", 0)
    assert hooks_of(model) == 0


def test_what_makes_no_sense_is_refused() -> None:
    model, images = awkward(), random_image()[None]
    for batches in ([], iter(())):
        with pytest.raises(UsageError, match="no images"):
            top_images(model, batches, "last", 0)
    with pytest.raises(UnknownNameError, match="last"):
        top_images(model, images, "lost", 0)
    with pytest.raises(UsageError, match='"last" has 8 units, 0 to 7, not 8'):
        top_images(model, images, "last", [1, 8])
    with pytest.raises(UsageError, match="k is 0"):
        top_images(model, images, "last", 0, k=0)
    with pytest.raises(UsageError, match="give images"):
        top_images(model, [random_image()], "last", 0)
    with pytest.raises(UsageError, match="not str"):
        top_images(model, ["photo.jpg"], "last", 0)
    with pytest.raises(ModelError, match="cannot take images"):
        top_images(nn.Sequential(nn.Linear(3, 2)), images, "0", 0)
    with pytest.raises(UsageError, match="seen, whole"):
        top_images(model, images, "last", 0).figure("half")  # type: ignore[arg-type]
