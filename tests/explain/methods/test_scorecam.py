"""Score-CAM against the algorithm of the paper, written out for a network of four pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab import explain
from cnnlab.errors import ModelError, UsageError
from tests.explain.helpers_explain import OneConv, awkward, linear, random_image, state_of

IMAGE = torch.tensor([[[1.0, -2.0], [3.0, -4.0]]], dtype=torch.float64)


def test_by_hand() -> None:
    # The maps are max(x, 0) = [1, 0, 3, 0] and max(-x, 0) = [0, 2, 0, 4], scaled to 0..1 [1/3, 0, 1, 0] and
    # [0, 1/2, 0, 1]. Through them the image is [1/3, 0, 3, 0] and [0, -1, 0, -4]. Score 0 is the mean: 10/12 and -5/4.
    first, second = np.exp(10 / 12), np.exp(-5 / 4)
    weights = np.array([first, second]) / (first + second)
    answer = explain.scorecam(OneConv(), IMAGE, 0)
    np.testing.assert_allclose(
        answer.values, [[weights[0], 2 * weights[1]], [3 * weights[0], 4 * weights[1]]], rtol=1e-6
    )
    assert (answer.layer, answer.signed, answer.notes) == ("relu", False, ())
    # Score 1 is twice the mean negative part: 0 and 5/2.
    weights = np.array([1, np.exp(2.5)]) / (1 + np.exp(2.5))
    answer = explain.scorecam(OneConv(), IMAGE, 1)
    np.testing.assert_allclose(
        answer.values, [[weights[0], 2 * weights[1]], [3 * weights[0], 4 * weights[1]]], rtol=1e-6
    )


def test_only_the_channels_that_differ_most() -> None:
    answer = explain.scorecam(OneConv(), IMAGE, 0, channels=1)
    np.testing.assert_allclose(answer.values, [[0, 2], [0, 4]])  # from 0 to 4, the other from 0 to 3
    assert answer.notes == ("1 of 2 channels.",)
    with pytest.raises(UsageError, match="channels is 0"):
        explain.scorecam(OneConv(), IMAGE, channels=0)


def test_even_channels_are_left_out() -> None:
    answer = explain.scorecam(OneConv(), IMAGE.abs() + 1, 0)  # nothing is negative
    np.testing.assert_allclose(answer.values, IMAGE[0].abs() + 1)
    assert "1 of 2 channels." in answer.notes
    blank = explain.scorecam(OneConv(), torch.ones_like(IMAGE), 0)
    assert not blank.values.any()
    assert "are even" in blank.notes[0]


def test_it_needs_positions_but_no_gradient() -> None:
    with pytest.raises(ModelError, match="no spatial layer"):
        explain.scorecam(linear([[1, 2, 3, 4]]), IMAGE)

    class NoGradient(OneConv):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return super().forward(x)

    expected = explain.scorecam(OneConv(), IMAGE, 0).values
    np.testing.assert_array_equal(explain.scorecam(NoGradient(), IMAGE, 0).values, expected)


def test_maps_are_enlarged_to_masks_and_aligned_unless_asked_otherwise() -> None:
    model, image = awkward(), random_image()
    before = state_of(model)
    answer = explain.scorecam(model, image, 2, layer="last", aligned=False)
    assert answer.values.shape == (16, 16)
    assert not np.allclose(answer.values, explain.scorecam(model, image, 2, layer="last").values, rtol=1e-3)
    assert state_of(model) == before

    # The same in three lines of torch.
    seen: list[torch.Tensor] = []
    handle = model.last.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    model.eval()
    with torch.no_grad():
        model(image[None])
        handle.remove()
        (maps,) = seen
        masks = nn.functional.interpolate(maps.transpose(0, 1), (16, 16), mode="bilinear")
        low, high = masks.amin((1, 2, 3), keepdim=True), masks.amax((1, 2, 3), keepdim=True)
        weights = model(image * (masks - low) / (high - low))[:, 2].softmax(0)
        heat = nn.functional.interpolate(
            (weights[:, None, None] * maps[0]).sum(0).relu()[None, None], (16, 16), mode="bilinear"
        )
    np.testing.assert_allclose(answer.values, heat[0, 0], rtol=1e-4, atol=1e-6)
