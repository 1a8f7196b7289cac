"""Only what sees a patch is computed anew: the same numbers for any network that can be cut, in less time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cnnlab import explain
from cnnlab.errors import ModelError
from cnnlab.explain import Probe
from cnnlab.explain.perturbation import partial
from cnnlab.explain.perturbation.baselines import filled
from cnnlab.explain.perturbation.cuts import Cut, cuts
from cnnlab.explain.perturbation.partial import PatchedMaps, fastest
from cnnlab.explain.perturbation.sliding_windows import CoveredImages, SlidingWindows
from cnnlab.zoo import create_model
from tests.explain.helpers_explain import hooks_of, random_image, state_of


def layers(draw: st.DrawFn) -> nn.Module:
    """Up to four layers of all kinds that move positions: kernels, strides, padding, dilation, pooling, a shortcut."""
    modules: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 4))):
        kernel, stride = draw(st.sampled_from([1, 2, 3, 5])), draw(st.sampled_from([1, 2]))
        kind = draw(st.sampled_from(["conv", "dilated", "pool", "mean", "block"]))
        if kind == "conv":
            modules.append(nn.Conv2d(2, 2, kernel, stride, draw(st.integers(0, kernel // 2))))
        elif kind == "dilated":
            modules.append(nn.Conv2d(2, 2, 3, stride, 2, dilation=2))
        elif kind == "pool":
            modules.append(nn.MaxPool2d(3, stride, 1, ceil_mode=draw(st.booleans())))
        elif kind == "mean":
            modules.append(nn.AvgPool2d(2, stride))
        else:
            modules.append(Block(stride))
    return nn.Sequential(*modules)


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 2, 3, stride, 1), nn.Conv2d(2, 2, 3, 1, 1)
        self.short, self.relu = nn.Conv2d(2, 2, 1, stride), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv2(self.relu(self.conv1(x))) + self.short(x))


def classifier(body: nn.Module) -> nn.Module:
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)).double().eval()


@st.composite
def cases(draw: st.DrawFn) -> tuple[nn.Module, SlidingWindows, int]:
    seed = draw(st.integers(0, 99))
    torch.manual_seed(seed)
    model = classifier(layers(draw))
    image = draw(st.sampled_from([16, 24, 32])), draw(st.sampled_from([16, 20, 32]))
    window = draw(st.integers(1, image[0])), draw(st.integers(1, image[1]))
    return (
        model,
        SlidingWindows(image, window, (draw(st.integers(1, window[0])), draw(st.integers(1, window[1])))),
        seed,
    )


@settings(max_examples=30, deadline=None)
@given(cases())
def test_the_map_at_every_cut_is_that_of_the_covered_image(case: tuple[nn.Module, SlidingWindows, int]) -> None:
    model, windows, seed = case
    image = torch.randn(1, 2, *windows.image, generator=torch.Generator().manual_seed(seed)).double()
    fill = filled(image, 0.7)
    numbers = sorted({0, 1, len(windows), *np.random.default_rng(seed).integers(0, len(windows) + 1, 4).tolist()})
    covered = CoveredImages(image, fill, windows)(numbers)
    with torch.no_grad():
        for cut in cuts(model, tuple(image.shape)):
            maps = PatchedMaps(model, cut, image, fill, windows)
            expected = maps.head(covered)
            torch.testing.assert_close(maps(numbers), expected, rtol=1e-9, atol=1e-12)
            tail = partial._Tail(model, cut.layer, image[:, :, : maps.size[0], : maps.size[1]])
            torch.testing.assert_close(tail(expected), model(covered), rtol=1e-9, atol=1e-12)


def test_positions_and_pixels_by_hand() -> None:
    # A 3x3 convolution of stride 2 and padding 1: position i sees pixels 2i - 1 to 2i + 1.
    (cut,) = cuts(classifier(nn.Sequential(nn.Conv2d(2, 2, 3, 2, 1))), (1, 2, 8, 8))[:1]
    assert (cut.stride, cut.first, cut.size) == ((2, 2), (-1, -1), (3, 3))
    assert cut.positions(slice(3, 4), 8, 0) == slice(1, 3)  # pixel 3 is seen by 1 (1 to 3) and 2 (3 to 5)
    assert cut.positions(slice(4, 5), 8, 0) == slice(2, 3)
    assert cut.positions(slice(0, 8), 8, 0) == slice(0, 4)
    assert cut.crop(slice(1, 3), 8, 0) == slice(0, 6)  # 1 to 5, from and to a whole number of strides
    assert cut.crop(slice(3, 4), 8, 0) == slice(4, 8)


def test_a_network_is_cut_anew_when_a_layer_has_changed() -> None:
    model = classifier(nn.Sequential(nn.Conv2d(2, 2, 3, 2, 1)))
    assert cuts(model, (1, 2, 8, 8))[0].stride == (2, 2)
    model[0][0].stride = (1, 1)
    assert cuts(model, (1, 2, 8, 8))[0].stride == (1, 1)


def test_where_networks_can_be_cut() -> None:
    with torch.device("meta"):
        resnet = create_model("resnet18", image_size=96)
        found = {cut.layer: cut for cut in cuts(resnet, (1, 3, 64, 64))}
    assert {"relu", "maxpool", "layer1.0"} <= set(found)
    assert not {"layer1.0.conv1", "layer1.0.conv2"} & set(found), "the shortcut goes past them"
    assert "fc" not in found
    assert (found["layer1.0"].stride, found["layer1.0"].size) == ((4, 4), (27, 27))
    assert cuts(resnet, (1, 3, 65, 64)) == [], "its positions are no whole number of pixels apart"
    with torch.device("meta"):
        squeezing = create_model("efficientnet_b0")
        names = [cut.layer for cut in cuts(squeezing, (1, 3, 224, 224))]
    assert names, "before the first squeeze and excitation"
    assert not any(name.startswith("features.2") for name in names), "it looks at the whole image"


def test_no_cut_behind_what_depends_on_the_size_of_the_image() -> None:
    for resized in (nn.AdaptiveAvgPool2d(4), nn.Upsample((8, 8))):
        model = classifier(nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), resized, nn.Conv2d(2, 2, 1)))
        assert [cut.layer for cut in cuts(model, (1, 2, 16, 16))] == ["0.0"]
    model = classifier(nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Conv2d(2, 2, 1)))
    cut = Cut("0.0", (4, 4), (0, 0), (4, 4), (2.0, 1.0))
    image = torch.ones(1, 2, 16, 16).double()
    with pytest.raises(ModelError, match=r"4x4 positions for 4x4 pixels"):
        PatchedMaps(model, cut, image, image * 0, SlidingWindows((16, 16), (4, 4), (4, 4)))([0, 1])


def test_no_cut_where_nothing_can_be_followed() -> None:
    class Stubborn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    assert cuts(Stubborn(), (1, 3, 8, 8)) == []
    assert cuts(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), (1, 3, 8, 8)) == []


# The choice ----------------------------------------------------------------------------------------------------------


class Clocked(nn.Module):
    """A network whose time is the pixels that its first convolution and the positions that its second one sees."""

    def __init__(self, strange: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.fc, self.strange, self.now = nn.Linear(4, 5), strange, 0.0

    def forward(self, x: Tensor) -> Tensor:
        small = x.shape[-1] < 64
        if small and self.strange == "refuses":
            raise ValueError("too small")
        self.now += x.shape[0] * x.shape[2] * x.shape[3] * (99 if small and self.strange == "slow" else 1)
        x = self.first(x + (0.1 if small and self.strange == "differs" else 0))
        x = self.second(x)
        return self.fc(x.mean((2, 3)))


WINDOW: dict[str, Any] = {"window": 8, "stride": 5}  # 13 * 13 windows of 64x64 pixels


def chosen(model: Clocked, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, np.ndarray]:
    """Whether the tail was taken, and the map."""
    took = []

    def watched(probe: Probe, *others: Any) -> Any:
        found = fastest(probe, *others)
        took.append(found[0] is not probe)
        return found

    monkeypatch.setitem(explain.occlusion.compute.__globals__, "fastest", watched)
    monkeypatch.setattr("time.perf_counter", lambda: model.now)
    values = explain.occlusion(model, random_image(size=64), 1, **WINDOW).values
    assert hooks_of(model) == 0
    return took[0], values


def whole(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    with monkeypatch.context() as patch:
        patch.setattr(partial, "TRIAL", 10**6)
        return explain.occlusion(model, random_image(size=64), 1, **WINDOW).values


def test_the_tail_is_taken_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Clocked()
    expected, before = whole(model, monkeypatch), state_of(model)
    model.now = 0.0
    took, values = chosen(model, monkeypatch)
    assert took
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert model.now < 0.5 * 169 * 64 * 64
    assert state_of(model) == before


@pytest.mark.parametrize("strange", ["refuses", "slow", "differs"])
def test_the_whole_network_is_taken_where_crops_do_not_do(strange: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Clocked(strange)
    expected = whole(model, monkeypatch)
    took, values = chosen(model, monkeypatch)
    assert not took
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_a_network_that_changes_its_input_in_place() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Hardtanh(-0.5, 0.5, inplace=True), nn.Conv2d(3, 2, 3, padding=1))
    image = random_image(size=16)[None]
    windows = SlidingWindows((16, 16), (4, 4), (4, 4))
    maps = PatchedMaps(model, Cut("1", (1, 1), (-1, -1), (3, 3), (2.0, 1.0)), image, image * 0, windows)
    covered = CoveredImages(random_image(size=16)[None], image * 0, windows)
    with torch.no_grad():
        for numbers in ([0, 1], [5, 16]):
            torch.testing.assert_close(maps(numbers), model(covered(numbers).clone()))
        partial._Tail(model, "1", image[:, :, :6, :6])(maps([1]))
    assert torch.equal(image[0], random_image(size=16))


def test_a_layer_that_is_not_reached() -> None:
    class Swallows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.conv(x).mean((2, 3))
            except Exception:
                return x.mean((2, 3))[:, :2]

    model = Swallows()
    with pytest.raises(ModelError, match='"conv" was not reached'):
        partial._Head(model, "conv")(torch.ones(1, 3, 4, 4))
    assert hooks_of(model) == 0
    assert explain.occlusion(model, random_image(size=16), 1, window=2, stride=1).values.shape == (16, 16)


def test_a_network_of_the_zoo_gives_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = create_model("mobilenet_v2", num_classes=7, image_size=96).double().eval()
    image = random_image(size=32).double()
    options: dict[str, Any] = {"window": 8, "stride": 4}
    took = []

    def forced(probe: Probe, make: Any, fill: Tensor, windows: SlidingWindows) -> Any:
        cut = max(cuts(model, (1, 3, 32, 32)), key=lambda cut: cut.gain(windows))
        took.append(cut.layer)
        with probe.session(), torch.inference_mode():
            maps = PatchedMaps(model, cut, probe.image, fill, windows)
            small = probe.image[:, :, : maps.size[0], : maps.size[1]]
            return Probe(partial._Tail(model, cut.layer, small), maps.head(probe.image), 1), maps

    expected = explain.occlusion(model, image, 1, **options).values
    monkeypatch.setitem(explain.occlusion.compute.__globals__, "fastest", forced)
    np.testing.assert_allclose(explain.occlusion(model, image, 1, **options).values, expected, rtol=1e-6, atol=1e-9)
    assert took[0].startswith("features.")
