"""Feature maps are what leaves a layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import Tensor, nn

from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain.activations.features import compare_features, features
from cnnlab.figures import to_png
from tests.explain.helpers_explain import OneConv, awkward, hooks_of, linear, random_image, state_of


def words(figure: object) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))  # type: ignore[attr-defined]


def test_maps_worked_out_on_paper() -> None:
    model = OneConv(inplace=True)
    image = torch.tensor([[[1.0, -2.0], [3.0, 4.0]]], dtype=torch.float64)
    found = features(model, image)
    assert found.layer == "conv"
    assert found.maps.tolist() == [[[1, -2], [3, 4]], [[-1, 2], [-3, -4]]], "before the ReLU in place"
    after = features(model, image, "relu")
    assert after.maps.tolist() == [[[1, 0], [3, 4]], [[0, 2], [0, 0]]]
    assert after.mean.tolist() == [[0.5, 1], [1.5, 2]]
    assert after.order.tolist() == [0, 1]
    assert after.silent == 0
    assert features(model, -image.abs(), "relu").silent == 1


def test_the_model_is_left_as_it_was_also_after_an_error() -> None:
    model = awkward()
    before = state_of(model)
    features(model, random_image(), "twice")
    assert state_of(model) == before
    model.broken = True
    with pytest.raises(ModelError, match="broken on purpose"):
        features(model, random_image(), "twice")
    assert hooks_of(model) == 0


def test_tokens_are_laid_out_as_maps() -> None:
    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut = nn.Conv2d(1, 3, 2, stride=2, bias=False)
            self.norm = nn.Identity()
            self.fc = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.norm(self.cut(x).flatten(2).transpose(1, 2)).mean(1))

    model, image = Patches(), random_image(1, 8)
    np.testing.assert_array_equal(features(model, image, "norm").maps, features(model, image, "cut").maps)


def test_what_is_drawn_is_said() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 70, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = features(model, random_image(3, 12), "1")
    grid = found.figure()
    assert "1: 10 x 10" in words(grid)
    assert "The 64 strongest of 70 channels" in words(grid)
    best = str(found.order[0])
    assert best in words(found.figure("strongest")).split()
    assert "mean of 70" in words(found.figure("mean"))
    for view in ("grid", "strongest", "mean"):
        assert to_png(found.figure(view)).startswith(b"\x89PNG")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="grid, strongest, mean"):
        found.figure("weakest")  # type: ignore[arg-type]


def test_relu_against_tanh() -> None:
    image = torch.tensor([[[1.0, -2.0], [3.0, -4.0]]], dtype=torch.float64)
    rectified, squashed = OneConv(), OneConv()
    squashed.relu = nn.Tanh()  # type: ignore[assignment]
    views = {"ReLU": features(rectified, image, "relu"), "tanh": features(squashed, image, "relu")}
    figure = compare_features(views)
    assert "50% of all outputs are zero" in words(figure)
    assert "0% of all outputs are zero" in words(figure)
    assert to_png(figure)
    with pytest.raises(UsageError, match="at least one"):
        compare_features({})


def test_layers_without_maps_are_refused() -> None:
    with pytest.raises(ModelError, match=r"\(1, 4\).*no positions"):
        features(awkward(), random_image(), "fc")
    with pytest.raises(UnknownNameError, match="first"):
        features(awkward(), random_image(), "firts")
    with pytest.raises(ModelError, match="name a layer"):
        features(linear([[1, 2, 3, 4]]), random_image(1, 2))
