"""Filters are copies of the weights, and are drawn as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.image import AxesImage
from matplotlib.text import Text
from torch import nn

from cnnlab import figures
from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain.activations.filters import filters
from cnnlab.figures.pictures import mosaic
from tests.explain.helpers_explain import awkward, linear, state_of


def drawn(figure: object) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in figure.findobj(AxesImage)]  # type: ignore[attr-defined]


def test_the_first_convolution_is_found_and_copied() -> None:
    model = awkward()
    before = state_of(model)
    found = filters(model)
    assert found.layer == "first"
    assert found.weights.shape == (6, 3, 3, 3)
    kept = found.weights.copy()
    assert state_of(model) == before
    with torch.no_grad():
        model.first.weight.mul_(2)
    np.testing.assert_array_equal(found.weights, kept)
    after = filters(model, "first")
    np.testing.assert_array_equal(after.weights, 2 * kept)
    assert after.change(found) == pytest.approx(1.0), "twice as long: moved by its whole length"
    assert found.change(found) == 0


def test_colours_are_the_weights_around_mid_grey() -> None:
    layer = nn.Conv2d(3, 2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[[0.5]], [[0.0]], [[-0.25]]], [[[0.0]], [[0.0]], [[0.0]]]]))
    (canvas,) = drawn(filters(nn.Sequential(layer)).figure())
    first, second = canvas[0, 0], canvas[0, -1]
    assert first.tolist() == [255, 128, 64], "0.5 is the largest: white; 0 grey; -0.25 half way to black"
    assert second.tolist() == [128, 128, 128]


def test_slices_are_blue_below_and_red_above_a_filter_in_a_row() -> None:
    layer = nn.Conv2d(2, 3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -1], [0, 0], [-3, 3]]).reshape(3, 2, 1, 1))
    (canvas,) = drawn(filters(nn.Sequential(layer)).figure())
    corners = canvas[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
    red = corners[:, 0] > corners[:, 2]
    assert red.tolist() == [True, False, False, True]
    middle = canvas[canvas.shape[0] // 2, 0].astype(int)
    assert np.ptp(middle) < 5, "zero is neither"


def test_before_and_after_stand_side_by_side_and_say_how_far_they_moved() -> None:
    model = awkward()
    before = filters(model, "last")
    with torch.no_grad():
        model.last.weight.mul_(1.5)
    figure = filters(model, "last").figure(before=before)
    found = " ".join(text.get_text() for text in figure.findobj(Text))
    assert len(drawn(figure)) == 2
    assert "before" in found
    assert "moved by 50% of their length" in found.replace("\n", " ")
    with pytest.raises(UsageError, match=r"\(6, 3, 3, 3\)"):
        filters(model, "last").figure(before=filters(model, "first"))


@pytest.mark.parametrize("shape", [(6, 1, 5, 5), (64, 3, 11, 11), (200, 300, 1, 1), (40, 2, 3, 3), (1, 1, 1, 1)])
def test_filters_of_every_shape_are_drawn_and_the_rest_is_named(shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).normal(size=shape)
    figure = figures.filters(weights, "conv", weights / 2)
    assert figures.to_png(figure).startswith(b"\x89PNG")
    text = " ".join(text.get_text() for text in figure.findobj(Text))
    assert f"{shape[0]} filter" in text
    assert ("the first" in text) == (shape[0] > 96 or (shape[1] not in (1, 3) and shape[0] > 16))
    with pytest.raises(UsageError, match=r"\(2, 3\)"):
        figures.filters(np.zeros((2, 3)), "conv")


def test_a_mosaic_has_every_tile_at_its_place() -> None:
    tiles = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 48, 48, 3), np.uint8)
    canvas = mosaic(tiles, 3, gap=2)
    assert canvas.shape == (98, 148, 3)
    assert [canvas[y, x, 0] for y, x in ((0, 0), (0, 50), (0, 147), (97, 0), (97, 97), (97, 147), (48, 0))] == [
        0, 1, 2, 3, 4, 255, 255,
    ]  # fmt: skip


def test_what_has_no_filters_is_refused() -> None:
    model = awkward()
    with pytest.raises(UsageError, match=r"BatchNorm2d, which has no filters\. Convolutions: first"):
        filters(model, "norm")
    with pytest.raises(UnknownNameError, match='Did you mean "first"'):
        filters(model, "frst")
    with pytest.raises(ModelError, match="no 2-D convolution"):
        filters(linear([[1, 2, 3, 4]]))
