"""Occlusion: windows and patches against sums by hand, the maps against captum's; precision that chooses itself."""

from __future__ import annotations

import math
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from torch import Tensor, nn

from cnnlab import explain
from cnnlab.errors import ModelError, UsageError
from cnnlab.explain import Probe
from cnnlab.explain.perturbation import precision
from cnnlab.explain.perturbation.baselines import blurred, filled
from cnnlab.explain.perturbation.sliding_windows import CoveredImages, SlidingWindows
from cnnlab.explain.rank_correlation import ranks, spearman
from cnnlab.zoo import create_model
from tests.explain.helpers_explain import OneConv, awkward, linear, random_image, state_of

# Windows -------------------------------------------------------------------------------------------------------------


@st.composite
def windows(draw: st.DrawFn) -> SlidingWindows:
    image = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    window = draw(st.integers(1, image[0])), draw(st.integers(1, image[1]))
    return SlidingWindows(image, window, (draw(st.integers(1, window[0])), draw(st.integers(1, window[1]))))


@given(windows(), st.integers(0, 99))
def test_every_pixel_gets_the_mean_of_the_windows_that_cover_it(found: SlidingWindows, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal(len(found))
    total, count = np.zeros(found.image), np.zeros(found.image)
    for value, (rows, columns) in zip(values, found, strict=True):
        total[rows, columns] += value
        count[rows, columns] += 1
    assert count.min() >= 1, "no pixel is left out"
    np.testing.assert_allclose(found.average(values), total / count, atol=1e-12)


def test_the_last_windows_are_cut_at_the_border() -> None:
    # 5 rows, windows of 2 every 2: 0-1, 2-3, 4; 4 columns, windows of 3 every 2: 0-2, 2-3
    found = SlidingWindows((5, 4), (2, 3), (2, 2))
    assert found.counts == (3, 2)
    assert len(found) == 6
    assert next(iter(found)) == (slice(0, 2), slice(0, 3))
    assert list(found)[5] == (slice(4, 5), slice(2, 4))
    np.testing.assert_allclose(found.average([1, 2, 3, 4, 5, 6])[::2], [[1, 1, 1.5, 2], [3, 3, 3.5, 4], [5, 5, 5.5, 6]])


# By hand -------------------------------------------------------------------------------------------------------------


def test_of_a_linear_network_it_is_the_weights_times_the_values_in_the_window() -> None:
    # The score is x1 + 2 x2 + 3 x3 + 4 x4; windows of 1x2 pixels every pixel, so one for each row.
    model, image = linear([[1, 2, 3, 4], [0, 0, 0, 0]]), torch.tensor([[[1.0, -1.0], [2.0, 0.5]]]).double()
    answer = explain.occlusion(model, image, 0, window=(1, 2), stride=1)
    assert answer.values.tolist() == [[-1, -1], [8, 8]]  # 1*1 + 2*-1; 3*2 + 4*0.5
    # Covered by 1: what is lost is the weight times (value - 1).
    answer = explain.occlusion(model, image, 0, window=1, stride=1, fill=1.0)
    assert answer.values.tolist() == [[0, -4], [3, -2]]
    # The mean of the image is 0.625.
    answer = explain.occlusion(model, image, 0, window=(2, 2), fill="mean")
    np.testing.assert_allclose(answer.values, np.full((2, 2), 7.0 - 10 * 0.625))


@settings(max_examples=25, deadline=None)
@given(windows(), st.integers(1, 3), st.floats(-2, 2), st.integers(0, 99))
def test_of_any_linear_network(found: SlidingWindows, channels: int, fill: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    image, weight = random.standard_normal((2, channels, *found.image))
    model = nn.Sequential(nn.Flatten(), nn.Linear(weight.size, 1, dtype=torch.float64))
    with torch.no_grad():
        model[1].weight.copy_(torch.from_numpy(weight.reshape(1, -1)))
    answer = explain.occlusion(model, image, 0, window=found.window, stride=found.stride, fill=fill)
    lost = [(weight * (image - fill))[:, rows, columns].sum() for rows, columns in found]
    np.testing.assert_allclose(answer.values, found.average(lost), rtol=1e-5, atol=1e-5)  # answers are float32


def test_of_one_convolution() -> None:
    # The score is the mean of the image: covering a pixel costs a quarter of it. Class 1: twice the negative part.
    image = torch.tensor([[[1.0, -2.0], [3.0, -4.0]]]).double()
    np.testing.assert_allclose(explain.occlusion(OneConv(), image, 0, window=1).values, [[0.25, -0.5], [0.75, -1]])
    np.testing.assert_allclose(explain.occlusion(OneConv(), image, 1, window=1).values, [[0, 1], [0, 2]])


def test_the_defaults_are_a_seventh_of_the_image_and_a_quarter_of_that() -> None:
    model, image = awkward(), random_image(size=28)
    given_all = explain.occlusion(model, image, 1, window=(4, 4), stride=(1, 1), fill=0.0)
    np.testing.assert_allclose(explain.occlusion(model, image, 1).values, given_all.values, atol=1e-6)
    assert explain.occlusion(model, image[:, :3, :1], 1).values.shape == (3, 1)


SLOW = pytest.mark.slow

# captum --------------------------------------------------------------------------------------------------------------


def real(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = create_model(name, num_classes=20, image_size=96).eval()  # the stem for large images
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def theirs(model: nn.Module, image: Tensor, window: tuple[int, int], stride: tuple[int, int], fill: Any = 0) -> Tensor:
    channels = image.shape[0]
    with torch.no_grad():
        found = captum.attr.Occlusion(model).attribute(
            image[None], (channels, *window), (channels, *stride), fill, target=7, perturbations_per_eval=16
        )
    # captum sums every channel's map on its own, which may round differently.
    torch.testing.assert_close(found, found[:, :1].expand_as(found))
    return found[0, 0]


@pytest.mark.parametrize(
    "name", ["squeezenet1_1", *(pytest.param(n, marks=SLOW) for n in ("resnet18", "mobilenet_v2"))]
)
@pytest.mark.parametrize(
    ("window", "stride", "fill"),
    [((12, 12), (6, 6), 0.0), ((20, 9), (13, 9), 0.0), ((48, 15), (7, 10), 0.25)],
    ids=["even", "cut at the border", "as high as the image"],
)
def test_captum(name: str, window: tuple[int, int], stride: tuple[int, int], fill: float) -> None:
    model, image = real(name), random_image(size=48)
    ours = explain.occlusion(model, image, 7, window=window, stride=stride, fill=fill)
    other = theirs(model, image, window, stride, fill)
    assert np.abs(ours.values - other.numpy()).max() < 1e-5 * max(1, abs(ours.score))
    assert np.abs(ours.values).max() > 1e-2
    # In float64 the two differ by nothing but the rounding of the answer to float32.
    ours = explain.occlusion(model.double(), image, 7, window=window, stride=stride, fill=fill)
    np.testing.assert_allclose(ours.values, theirs(model, image.double(), window, stride, fill), rtol=1e-6, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(windows())
@example(SlidingWindows((2, 9), (2, 5), (1, 1)))  # captum's channels differ in the last bit
def test_captum_with_any_window(found: SlidingWindows) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 9)
    )
    image = random_image(2, 12)[:, : found.image[0], : found.image[1]]
    ours = explain.occlusion(model, image, 7, window=found.window, stride=found.stride)
    np.testing.assert_allclose(ours.values, theirs(model, image, found.window, found.stride), atol=1e-6)


# What covers the image -----------------------------------------------------------------------------------------------


def test_filling() -> None:
    image = random_image(3, 28)[None]
    assert (filled(image, 0.5) == 0.5).all()
    mean = filled(image, "mean")
    torch.testing.assert_close(mean[0, :, 3, 5], image.mean((0, 2, 3)))
    assert (mean == mean[..., :1, :1]).all()
    # scipy's "mirror" is torch's "reflect"; its window ends at 3 standard deviations as well.
    expected = gaussian_filter(image.double().numpy(), 2.0, mode="mirror", truncate=3.0, axes=(2, 3))
    np.testing.assert_allclose(filled(image, "blur"), expected, atol=1e-5)
    assert blurred(image[..., :1, :1], 2.0).shape == (1, 3, 1, 1)


@pytest.mark.parametrize("fill", ["black", math.nan, math.inf, True])
def test_wrong_fill(fill: Any) -> None:
    with pytest.raises(UsageError, match=r'"mean", "grey" or "blur"'):
        explain.occlusion(awkward(), random_image(), fill=fill)


def test_a_batch_is_used_again_and_only_patches_change() -> None:
    image = random_image(3, 8)[None]
    found = SlidingWindows((8, 8), (3, 3), (2, 2))
    patched = CoveredImages(image, torch.full_like(image, 9.0), found)
    seen = []
    for numbers in ([0], [1, 2, 3, 4], [5, 16], [6, 7, 8, 0]):
        batch = patched(numbers)
        seen.append(batch.data_ptr())
        for number, covered in zip(numbers, batch, strict=True):
            expected = image[0].clone()
            if number:
                rows, columns = list(found)[number - 1]
                expected[:, rows, columns] = 9
            assert torch.equal(covered, expected)
    assert seen[1] == seen[2] == seen[3] != seen[0]


@pytest.mark.parametrize("size", [6, 9])
def test_a_network_that_changes_its_input_in_place(size: int) -> None:
    def network(inplace: bool) -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Hardtanh(-0.5, 0.5, inplace), nn.Flatten(), nn.Linear(3 * size * size, 4))

    answers = [
        explain.occlusion(network(inplace), random_image(3, size), 2, window=3).values for inplace in (True, False)
    ]
    np.testing.assert_allclose(*answers, atol=1e-6)


# Precision -----------------------------------------------------------------------------------------------------------


class Clocked(nn.Module):
    """A network on a clock of its own: an image takes a second, or ``half`` seconds under autocast to bf16.

    ``scrambled``: half precision puts the images into another order.
    """

    def __init__(self, half: float, scrambled: bool = False) -> None:
        super().__init__()
        self.inner, self.half, self.scrambled = awkward().eval(), half, scrambled
        self.now, self.images = 0.0, {True: 0, False: 0}

    def forward(self, x: Tensor) -> Tensor:
        bf16 = torch.is_autocast_enabled("cpu")
        self.images[bf16] += len(x)
        self.now += len(x) * (self.half if bf16 else 1.0)
        with torch.autocast("cpu", enabled=False):
            logits: Tensor = self.inner(x)
        return logits + torch.rand(len(x), 1) if bf16 and self.scrambled else logits


def clocked(monkeypatch: pytest.MonkeyPatch, half: float, scrambled: bool = False, supported: bool = True) -> Clocked:
    monkeypatch.setattr("cnnlab.explain.methods.occlusion.MANY", 1 << 20)  # a copy would count images of its own
    model = Clocked(half, scrambled)
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: supported)
    monkeypatch.setattr("time.perf_counter", lambda: model.now)
    return model


OPTIONS: dict[str, Any] = {"window": 4, "stride": 1}  # 13 * 13 = 169 windows of 16x16 pixels
EXPECTED = explain.occlusion(awkward(), random_image(), 1, precision="fp32", **OPTIONS).values


def test_auto_takes_bf16_where_it_is_faster_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = clocked(monkeypatch, half=0.5)
    answer = explain.occlusion(model, random_image(), 1, **OPTIONS)
    np.testing.assert_allclose(answer.values, EXPECTED, atol=1e-5)
    # All 170 images; in fp32 the two trials, of precision and of a part of the network, and the probe's own pass.
    assert model.images[True] >= 170
    assert model.images[False] <= precision.TRIAL + 50


@pytest.mark.parametrize(("half", "scrambled"), [(0.95, False), (2.0, False), (0.1, True)])
def test_auto_keeps_fp32_where_bf16_is_no_gain_or_says_something_else(
    monkeypatch: pytest.MonkeyPatch, half: float, scrambled: bool
) -> None:
    model = clocked(monkeypatch, half, scrambled)
    np.testing.assert_allclose(explain.occlusion(model, random_image(), 1, **OPTIONS).values, EXPECTED, atol=1e-5)
    assert model.images[True] <= precision.TRIAL + 8


@pytest.mark.parametrize(("supported", "windows"), [(False, 1), (True, 2)])
def test_auto_does_not_try_where_bf16_is_emulated_or_there_are_few_images(
    monkeypatch: pytest.MonkeyPatch, supported: bool, windows: int
) -> None:
    model = clocked(monkeypatch, half=0.1, supported=supported)
    explain.occlusion(model, random_image(), 1, window=4, stride=windows)
    assert model.images[True] == 0


def test_bf16_is_close_and_its_logits_are_not_rounded() -> None:
    model, image = awkward(), random_image()
    before = state_of(model)
    half = explain.occlusion(model, image, 1, precision="bf16", **OPTIONS)
    assert 0.99 < spearman(EXPECTED, half.map) < 1
    probe = Probe(model, image, 1)
    with probe.session(), precision.half(probe):
        logits = probe.logits_of(image[None])
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())
    assert state_of(model) == before


@given(st.lists(st.integers(-3, 3) | st.floats(-1e3, 1e3), min_size=2, max_size=30), st.integers(0, 99))
def test_rank_correlation(values: list[float], seed: int) -> None:
    other = np.random.default_rng(seed).integers(0, 4, len(values))
    if len(set(values)) > 1 and len(set(other)) > 1:
        assert spearman(np.array(values), torch.from_numpy(other)) == pytest.approx(spearmanr(values, other).statistic)
    assert spearman(np.array(values), np.zeros(len(values))) == 0
    assert ranks([5, 1, 5, 2]).tolist() == [3.5, 1, 3.5, 2]


# What cannot be done -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 17}, r"17x17 pixels is larger than the image of 16x16"),
        ({"window": (3, 20)}, r"3x20 pixels is larger"),
        ({"window": 4, "stride": 5}, "covered by no window"),
        ({"window": (4, 8), "stride": (4, 9)}, "covered by no window"),
        ({"window": 0}, "window is 0"),
        ({"window": 2.5}, r"window is 2\.5"),
        ({"window": "4"}, "window is '4'"),
        ({"stride": (1, 2, 3)}, r"stride is \(1, 2, 3\)"),
        ({"stride": (1, True)}, r"stride is \(1, True\)"),
        ({"precision": "fp16"}, "precision is 'fp16'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        explain.occlusion(awkward(), random_image(), **options)


def test_a_stride_beyond_the_window_is_fine_where_the_window_is_as_large_as_the_image() -> None:
    assert len(SlidingWindows((16, 16), (16, 4), (99, 4))) == 4


def test_numbers_that_are_not_finite() -> None:
    class Fragile(nn.Module):
        """Breaks when the middle of the image is covered."""

        def forward(self, x: Tensor) -> Tensor:
            return (1 / x[:, 0, 8, 8])[:, None].expand(-1, 3)

    with pytest.raises(ModelError, match="not finite"):
        explain.occlusion(Fragile(), random_image())


def test_the_model_is_left_as_it_was() -> None:
    model = awkward()
    before = state_of(model)
    explain.occlusion(model, random_image(), window=8)
    assert state_of(model) == before
