"""The shared weights, the pictures and the effects of the study ``pooling``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cnnlab.experiments.studies import pooling
from cnnlab.experiments.studies.pooling import Pooling, networks, pooling_maps


def test_all_weights_but_those_of_strided_convolutions_begin_equal() -> None:
    models = networks(Pooling.variants, 3, 10, 3, 16)
    states = {variant: model.state_dict() for variant, model in models.items()}
    assert states["average"].keys() == states["max"].keys()
    extra = {f"block{block}.6.{name}" for block in (1, 2, 3) for name in ("weight", "bias")}
    assert states["strided"].keys() - states["max"].keys() == extra
    for state in states.values():
        assert all(torch.equal(state[name], tensor) for name, tensor in states["max"].items())
    other = networks(("max",), 4, 10, 3, 16)["max"].state_dict()
    assert not torch.equal(other["block1.0.weight"], states["max"]["block1.0.weight"])


@pytest.mark.parametrize("variant", Pooling.variants)
def test_the_pictures_are_input_and_output_of_the_first_pooling(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = networks(Pooling.variants, 0, 10, 3, 16)[variant]
    images = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(pooling, "probe_images", lambda session, count: images)
    before, after = pooling_maps(SimpleNamespace(model=model))  # type: ignore[arg-type]
    block = model.block1.eval()
    with torch.no_grad():
        maps = images
        for convolution, norm in ((block[0], block[1]), (block[3], block[4])):
            maps = F.relu(norm(F.conv2d(maps, convolution.weight, padding=1)))
        torch.testing.assert_close(before, maps[0])
        windows: Tensor = maps.unfold(2, 2, 2).unfold(3, 2, 2)  # (1, 16, 8, 8, 2, 2)
        by_hand = {
            "max": lambda: windows.amax((-2, -1)),
            "average": lambda: windows.mean((-2, -1)),
            "strided": lambda: (
                torch.einsum("nchwij,fcij->nfhw", windows, block[6].weight) + block[6].bias[:, None, None]
            ),
        }[variant]()
    torch.testing.assert_close(after, by_hand[0])


def test_effects_are_percentage_points_of_test_accuracy() -> None:
    measures: dict[str, Any] = {"max": {"accuracy": 0.60}, "average": {"accuracy": 0.57}, "strided": {"accuracy": 0.58}}
    better, no_worse = Pooling.claims
    assert better.effect(measures) == pytest.approx(3)
    assert no_worse.effect(measures) == pytest.approx(-2)  # below the margin of -1
    measures["average"] = {"diverged": 1}  # counts as chance
    assert better.effect(measures) == pytest.approx(50)
