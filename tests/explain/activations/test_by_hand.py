"""A convolution by hand gives the numbers of SciPy and of torch, and its figure shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from cnnlab.errors import ModelError, ShapeError, UnknownNameError, UsageError
from cnnlab.explain.activations.by_hand import (
    KERNELS,
    all_kernels,
    apply_kernel,
    layer_pixel,
    named_kernel,
    output_pixel,
)
from cnnlab.figures import to_png
from tests.explain.helpers_explain import awkward, hooks_of, random_image, state_of

RNG = np.random.default_rng(0)
PHOTO = RNG.random((3, 11, 14))


def texts(figure: Any) -> set[str]:
    return {text.get_text() for text in figure.findobj(Text)}


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_is_scipys_correlation(name: str) -> None:
    values = apply_kernel(PHOTO, name).values
    for channel, result in zip(PHOTO, values, strict=True):
        np.testing.assert_allclose(result, ndimage.correlate(channel, named_kernel(name), mode="constant"), atol=1e-12)


def test_kernels_do_what_their_names_say() -> None:
    grey = PHOTO[0]
    inside = (slice(1, -1), slice(1, -1))
    np.testing.assert_array_equal(apply_kernel(grey, "identity").values[0], grey)
    for name, expected in {
        "sobel_x": ndimage.sobel(grey, axis=1),
        "sobel_y": ndimage.sobel(grey, axis=0),
        "laplacian": ndimage.laplace(grey),
        "blur": ndimage.uniform_filter(grey, 3),
        "sharpen": grey - ndimage.laplace(grey),
    }.items():
        np.testing.assert_allclose(apply_kernel(grey, name).values[0][inside], expected[inside], atol=1e-12)
    assert {name: round(named_kernel(name).sum(), 9) for name in KERNELS} == {
        "identity": 1, "sobel_x": 0, "sobel_y": 0, "laplacian": 0, "blur": 1, "gaussian": 1, "emboss": 1, "sharpen": 1,
    }  # fmt: skip


def test_a_pixel_worked_out_on_paper() -> None:
    image = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    pixel = output_pixel(image, [[1, 0], [0, -2]], 1, 0, bias=0.5)
    assert pixel.patch.tolist() == [[[4, 5], [7, 8]]]
    assert pixel.products.tolist() == [[[4, 0], [0, -16]]]
    assert (pixel.sum, pixel.value) == (-12, -11.5)
    assert pixel.output.tolist() == [[1 - 10 + 0.5, 2 - 12 + 0.5], [-11.5, 5 - 18 + 0.5]]
    assert (pixel.rows.tolist(), pixel.columns.tolist()) == ([1, 2], [0, 1])


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.integers(0, 3),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    seed=st.integers(0, 99),
)
def test_any_pixel_is_torchs(
    channels: int, kernel: tuple[int, int], stride: tuple[int, int], padding: int, dilation: tuple[int, int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(channels, 9, 8, generator=generator, dtype=torch.float64)
    weight = torch.randn(channels, *kernel, generator=generator, dtype=torch.float64)
    expected = F.conv2d(image[None], weight[None], torch.tensor([0.3], dtype=torch.float64), stride, padding, dilation)[
        0, 0
    ].numpy()
    row, column = seed % expected.shape[0], seed % expected.shape[1]
    pixel = output_pixel(image, weight, row, column, bias=0.3, stride=stride, padding=padding, dilation=dilation)
    np.testing.assert_allclose(pixel.output, expected, atol=1e-12)
    assert pixel.value == pytest.approx(expected[row, column])
    padded = F.pad(image, (padding,) * 4).numpy()
    rows, columns = pixel.rows + padding, pixel.columns + padding
    np.testing.assert_array_equal(pixel.patch, padded[:, rows[:, None], columns])


@pytest.mark.parametrize("padding", [0, 2, "same"])
@pytest.mark.parametrize("stride", [1, 2])
def test_stride_padding_and_bias_of_a_kernel(stride: int, padding: Any) -> None:
    filtered = apply_kernel(PHOTO, "emboss", bias=0.25, stride=stride, padding=padding)
    width = 1 if padding == "same" else padding
    expected = F.conv2d(
        torch.from_numpy(PHOTO)[:, None], torch.from_numpy(named_kernel("emboss"))[None, None], stride=stride,
        padding=width,
    )  # fmt: skip
    np.testing.assert_allclose(filtered.values, expected[:, 0].numpy() + 0.25, atol=1e-12)
    assert filtered.pixel(2, 3, channel=1).value == pytest.approx(filtered.values[1, 2, 3])


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
@pytest.mark.parametrize("size", [(2, 4), (5, 1), (3, 2)])
def test_same_keeps_the_size_of_any_kernel_as_in_torch(size: tuple[int, int]) -> None:
    kernel = RNG.random(size)
    expected = F.conv2d(torch.from_numpy(PHOTO)[:, None], torch.from_numpy(kernel)[None, None], padding="same")
    np.testing.assert_allclose(apply_kernel(PHOTO, kernel).values, expected[:, 0].numpy(), atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 2},
        {"groups": 4, "bias": False},
        {"stride": 2, "padding": (1, 2), "dilation": 2},
        {"padding": "same", "kernel_size": 4},
        {"padding": 2, "padding_mode": "reflect"},
        {"padding": 1, "padding_mode": "circular"},
        {"padding": 1, "padding_mode": "replicate"},
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
def test_a_pixel_of_a_layer_is_what_the_layer_gives(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, **({"kernel_size": 3} | options))
    model = nn.Sequential(layer, nn.ReLU(inplace=True), nn.Flatten())
    image = random_image(4, 9)
    with torch.no_grad():
        expected = layer(image[None])[0]
    for channel in (0, 3, 7):
        pixel = layer_pixel(model, image, "0", channel, 1, 2)
        assert pixel.value == pytest.approx(float(expected[channel, 1, 2]), abs=1e-5)
        np.testing.assert_allclose(pixel.output, expected[channel].numpy(), atol=1e-5)
    assert layer_pixel(model, image, "0", 5).value == pytest.approx(float(expected[5].max()), abs=1e-5)


def test_the_input_of_a_layer_is_the_one_before_a_relu_in_place_and_nothing_remains() -> None:
    model = awkward()
    before = state_of(model)
    pixel = layer_pixel(model, random_image(), "last", 3, 0, 0)
    assert pixel.image.min() == 0, "what the ReLU in place left"
    assert state_of(model) == before
    model.broken = True
    with pytest.raises(ModelError, match="broken on purpose"):
        layer_pixel(model, random_image(), "last")
    assert hooks_of(model) == 0
    model.broken = False
    with pytest.raises(ModelError, match="did not run"):
        layer_pixel(model, random_image(), "asleep")


class PaddedAfter(nn.Conv2d):
    """Pads below and on the right alone, as TensorFlow's convolutions with a stride do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x, (0, 2, 0, 2)), self.weight, self.bias)


class Standardised(nn.Conv2d):
    """Takes mean and standard deviation out of its weights as it runs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


@pytest.mark.parametrize("kind", [PaddedAfter, Standardised])
def test_a_layer_that_computes_something_else_than_its_weights_say_is_refused(kind: type[nn.Conv2d]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(kind(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UsageError, match=f'"0" is a {kind.__name__} whose outputs are not those of a'):
        layer_pixel(model, random_image(), "0", 1, 2, 3)


@pytest.mark.parametrize(("dtype", "room"), [(torch.float64, 1e-12), (torch.bfloat16, 2**-7)])
def test_numbers_of_other_sizes_are_rounded_and_not_refused(dtype: torch.dtype, room: float) -> None:
    model, image = awkward().eval().to(dtype), random_image().to(dtype)
    with torch.no_grad():
        expected = model.first(image[None])[0, 2]
    pixel = layer_pixel(model, image, "first", 2)
    np.testing.assert_allclose(pixel.output, expected.double(), atol=room * float(expected.abs().max()))


def test_the_figure_writes_every_number_of_a_small_kernel() -> None:
    figure = output_pixel([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0], [0, -2]], 1, 0, bias=0.5).figure()
    assert {"4", "5", "7", "8", "1", "0", "−2", "−16", "sum −12", "−12 + 0.500 (bias) = −11.5"} <= texts(figure)
    assert "−0" not in texts(figure)


def test_the_figure_of_many_channels_draws_the_strongest_and_sums_the_rest() -> None:
    image, kernel = np.ones((5, 3, 3)), np.ones((5, 1, 1)) * np.array([1, 9, 2, -7, 4])[:, None, None]
    found = texts(output_pixel(image, kernel, 1, 1).figure())
    assert {"channel 1", "channel 3", "channel 4", "sum −7"} <= found
    assert "9 − 7 + 4 + 3 (the other 2 channels) + 0 (bias) = 9" in found
    assert "channel 0" not in found


def test_figures_at_the_border_of_large_kernels_and_of_all_kernels() -> None:
    assert to_png(output_pixel(PHOTO, RNG.normal(size=(3, 9, 9)), 0, 0, padding=4, stride=2).figure())
    found = texts(all_kernels(PHOTO))
    assert {"image", "sobel x", "sharpen", "1/9", "1/16", "−4"} <= found
    assert to_png(apply_kernel(PHOTO, [[1.0, -1.0]]).figure())


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UnknownNameError, match='Did you mean "sobel_x"'):
        apply_kernel(PHOTO, "sobelx")
    with pytest.raises(ShapeError, match=r"\(2, 3, 4, 5\)"):
        apply_kernel(np.zeros((2, 3, 4, 5)))
    with pytest.raises(ShapeError, match="matrix"):
        apply_kernel(PHOTO, np.zeros(3))
    with pytest.raises(ShapeError, match="2 x 2 with its padding, smaller than the kernel of 3 x 3"):
        apply_kernel(np.zeros((2, 2)), "blur", padding=0)
    with pytest.raises(ShapeError, match="2 channels and the image 3"):
        output_pixel(PHOTO, np.zeros((2, 3, 3)), 0, 0)
    with pytest.raises(UsageError, match="9 x 12; row 9"):
        output_pixel(PHOTO, np.zeros((3, 3, 3)), 9, 0)
    with pytest.raises(UsageError, match="0 to 2, not 3"):
        apply_kernel(PHOTO).pixel(0, 0, channel=3)
    with pytest.raises(UsageError, match=r"stride is \(0, 0\)"):
        apply_kernel(PHOTO, stride=0)
    with pytest.raises(UsageError, match="cannot be negative"):
        apply_kernel(PHOTO, padding=-1)
    model = awkward()
    with pytest.raises(UsageError, match="row is 2 and column None"):
        layer_pixel(model, random_image(), "first", 0, 2)
    with pytest.raises(UnknownNameError, match="first"):
        layer_pixel(model, random_image(), "firs")
    with pytest.raises(UsageError, match="Linear"):
        layer_pixel(model, random_image(), "fc")
    with pytest.raises(UsageError, match="channel 6"):
        layer_pixel(model, random_image(), "first", 6)
