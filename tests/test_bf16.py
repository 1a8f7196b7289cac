"""Convolutions in bf16: autocast's outputs, and gradients that are nearer to those of float64, or faster."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab import bf16
from cnnlab.bf16 import DepthwiseConvolution, SideBySideConvolution, bf16_on_cpu, side_by_side
from cnnlab.hardware import Precision

CPU = torch.device("cpu")
BF16 = Precision(bf16=True, channels_last=True)


def answers(conv: nn.Module, images: Tensor, upstream: Tensor, context: AbstractContextManager[Any]) -> list[Tensor]:
    """The outputs of a convolution, and the gradients for the images, the weight and the bias."""
    conv, images = copy.deepcopy(conv), images.clone().requires_grad_()
    with context:
        outputs = conv(images)
    outputs.backward(upstream.to(outputs.dtype))
    return [outputs.detach(), *(t.grad for t in (images, *conv.parameters()) if t.grad is not None)]


def assert_near_float64(conv: nn.Module, images: Tensor, deviation: float = 2**-8) -> None:
    """Check the outputs and the gradients of a training in bf16, whose numbers have 8 bits."""
    upstream = torch.randn_like(conv(images)).bfloat16()
    exact = answers(copy.deepcopy(conv).double(), images.double(), upstream, nullcontext())
    ours = answers(conv, images, upstream, bf16_on_cpu())
    for true, mine, dtype in zip(exact, ours, [torch.bfloat16, *[torch.float32] * 3], strict=False):
        assert mine.dtype == dtype
        assert (mine - true).norm() <= deviation * true.norm()


@pytest.mark.parametrize(
    "settings",
    [
        {"in_channels": 6, "out_channels": 6, "padding": 1},
        {"in_channels": 6, "out_channels": 6, "kernel_size": 5, "stride": 2, "padding": 2, "bias": False},
        {"in_channels": 4, "out_channels": 8, "dilation": 2},  # two filters for each channel
        {"in_channels": 4, "out_channels": 4, "padding": 1, "padding_mode": "reflect"},
    ],
)
def test_outputs_of_depthwise_convolutions_are_those_of_autocast_and_gradients_those_of_float64(
    settings: dict[str, Any],
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(**{"kernel_size": 3, "groups": settings["in_channels"], **settings})
    images = torch.randn(3, conv.in_channels, 11, 9).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        expected = conv(images)
    with bf16_on_cpu():
        assert torch.equal(conv(images), expected)
    assert_near_float64(conv, images)


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "sides"), [(3, 2, (1, 1)), (3, 3, (8, 2)), (3, 2, (7, 1)), (5, 1, (1, 8)), (7, 1, (2, 2))]
)
def test_where_the_kernels_of_torch_read_what_lies_in_memory(
    kernel: int, stride: int, sides: tuple[int, int], amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bf16, "has_amx", lambda: amx)
    torch.manual_seed(0)
    for channels in (16, 64, 256):  # for some numbers of channels torch's is right by chance
        conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2).to(memory_format=torch.channels_last)
        images = torch.randn(32, channels, *sides).contiguous(memory_format=torch.channels_last)
        assert_near_float64(conv, images, 2**-7)


def test_transposed_convolutions_and_named_padding_are_not_misread_either() -> None:
    torch.manual_seed(0)
    for channels in (16, 64, 128):
        for layer, sides in (
            (nn.ConvTranspose2d(channels, channels, 3, 2, 1), (1, 1)),
            (nn.ConvTranspose2d(channels, channels, 4, 2, 1), (4, 1)),
            (nn.Conv2d(channels, channels, 5, padding="same"), (1, 1)),
            (nn.Conv2d(channels, channels, (2, 4), 2, padding="valid"), (6, 5)),
        ):
            assert_near_float64(layer, torch.randn(32, channels, *sides), 2**-7)


def test_where_autocast_is_off_or_does_not_apply_nothing_is_changed() -> None:
    conv, image = nn.Conv2d(16, 16, 3, 2, 1), torch.rand(2, 16, 1, 1)
    with bf16_on_cpu():
        assert conv(image).dtype == conv(image[0]).dtype == torch.bfloat16
        assert copy.deepcopy(conv).double()(image.double()).dtype == torch.float64
        with torch.autocast("cpu", enabled=False):
            assert torch.equal(conv(image), F.conv2d(image, conv.weight, conv.bias, 2, 1))
            assert conv(image).dtype == torch.float32
    with torch.inference_mode(), bf16_on_cpu():
        assert conv(image).dtype == torch.bfloat16


def depthwise_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the weights of the convolutions that :class:`DepthwiseConvolution` computes from now on."""
    seen: list[tuple[int, ...]] = []
    apply = DepthwiseConvolution.apply

    def noting(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        seen.append(tuple(weight.shape))
        return apply(x, weight, *rest)

    monkeypatch.setattr(DepthwiseConvolution, "apply", noting)
    return seen


def test_only_depthwise_convolutions_of_a_training_are_computed_so(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = depthwise_calls(monkeypatch)
    network = nn.Sequential(
        nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(8, 2, 3),
        nn.Conv2d(2, 2, 3, padding="same", groups=2),
    )  # fmt: skip
    with BF16.autocast(CPU):
        network(torch.rand(2, 4, 12, 12))
        network[1](torch.rand(8, 12, 12))  # a single image
    assert seen == [(8, 1, 3, 3)]
    with torch.no_grad(), BF16.autocast(CPU):
        network(torch.rand(2, 4, 12, 12))
    with Precision(bf16=False, channels_last=True).autocast(CPU):
        network(torch.rand(2, 4, 12, 12))
    assert len(seen) == 1


@pytest.mark.parametrize("steps", [(2, 1, 1), ([2], [1], (1,)), ((2, 1), 1, [1, 2])])
def test_steps_given_as_single_numbers(steps: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = depthwise_calls(monkeypatch)
    torch.manual_seed(0)
    given = [torch.randn(2, 4, 9, 8), torch.randn(4, 1, 3, 3)]

    def gradients(context: AbstractContextManager[Any], dtype: torch.dtype) -> tuple[Tensor, ...]:
        images, weight = (tensor.to(dtype, copy=True).requires_grad_() for tensor in given)
        with context:
            outputs = F.conv2d(images, weight, None, *steps, 4)
        return torch.autograd.grad(outputs.sum(), (images, weight))

    for true, mine in zip(
        gradients(nullcontext(), torch.float64), gradients(bf16_on_cpu(), torch.float32), strict=True
    ):
        assert (mine - true).norm() <= 2**-8 * true.norm()
    assert len(seen) == 1


def test_gradients_of_gradients() -> None:
    conv, images = nn.Conv2d(3, 3, 3, groups=3, bias=False), torch.randn(2, 3, 7, 7, requires_grad=True)

    def penalty(context: Callable[[], AbstractContextManager[None]]) -> Tensor:
        with context():
            outputs = conv(images).float().square().sum()
        (slope,) = torch.autograd.grad(outputs, images, create_graph=True)
        (second,) = torch.autograd.grad(slope.square().sum(), conv.weight)
        return second

    expected = penalty(nullcontext)
    torch.testing.assert_close(penalty(bf16_on_cpu), expected, rtol=0.03, atol=0.03 * float(expected.abs().max()))


@given(
    st.integers(1, 40),
    *(
        st.tuples(st.integers(least, most), st.integers(least, most))
        for least, most in ((1, 5), (1, 3), (0, 2), (0, 5))
    ),
    st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_images_side_by_side_have_the_gradients_of_each_alone(
    count: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    edges: tuple[int, int],
    more: tuple[int, int],
    last: bool,
) -> None:
    padding = tuple(min(edge, (size - 1) // 2) for edge, size in zip(edges, kernel, strict=True))
    sides = [max(1, size - 2 * edge + extra) for size, edge, extra in zip(kernel, padding, more, strict=True)]
    layout = torch.channels_last if last else torch.contiguous_format
    torch.manual_seed(0)
    tensors = [
        torch.randn(count, 3, *sides, dtype=torch.float64).contiguous(memory_format=layout),
        torch.randn(4, 3, *kernel, dtype=torch.float64), torch.randn(4, dtype=torch.float64),
    ]  # fmt: skip
    for tensor in tensors:
        tensor.requires_grad_()
    outputs = F.conv2d(*tensors, stride, padding)
    upstream = torch.randn_like(outputs)
    expected = torch.autograd.grad(outputs, tensors, upstream)
    laid = SideBySideConvolution.apply(*tensors, stride, padding, (1, 1), 1)
    found = torch.autograd.grad(laid, tensors, upstream)
    for true, mine in zip(expected, found, strict=True):
        torch.testing.assert_close(mine, true)


@pytest.mark.parametrize("groups", [1, 64])
def test_weight_gradients_have_gradients_for_the_images(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bf16, "has_amx", lambda: True)
    monkeypatch.setattr(bf16, "ENOUGH_WORK", 0)
    torch.manual_seed(0)
    conv, images = nn.Conv2d(64, 64, 3, groups=groups, bias=False), torch.randn(8, 64, 5, 5, requires_grad=True)

    def second(context: Callable[[], AbstractContextManager[None]]) -> Tensor:
        with context():
            outputs = conv(images)
        (slope,) = torch.autograd.grad(outputs.float().square().sum(), conv.weight, create_graph=True)
        (gradient,) = torch.autograd.grad(slope.square().sum(), images)
        return gradient

    expected = second(nullcontext)
    assert (second(bf16_on_cpu) - expected).norm() < 0.03 * expected.norm()


def test_maps_in_rows() -> None:
    maps = torch.arange(1.0, 7).view(3, 1, 1, 2)
    assert side_by_side(maps, 2, 3, 7).tolist() == [[[[1, 2, 0, 3, 4, 0, 0]]], [[[5, 6, 0, 0, 0, 0, 0]]]]
    assert side_by_side(maps, 3, 3, 8).tolist() == [[[[1, 2, 0, 3, 4, 0, 5, 6]]]]


def test_which_images_are_laid_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    def way(conv: nn.Module, size: int, count: int = 128, amx: bool = True) -> str:
        monkeypatch.setattr(bf16, "has_amx", lambda: amx)
        with BF16.autocast(CPU):
            grad_fn = conv(torch.zeros(count, 128, size, size, requires_grad=True)).grad_fn
        return type(grad_fn).__name__.removesuffix("Backward")

    conv = nn.Conv2d(128, 128, 3, padding=1)
    assert (
        way(conv, 8)
        == way(nn.Conv2d(128, 128, 3, 2, 1), 16)
        == way(nn.Conv2d(128, 128, 3), 10)
        == "SideBySideConvolution"
    )
    usual = [
        way(conv, 8, amx=False), way(conv, 9), way(conv, 8, count=127), way(nn.Conv2d(128, 128, 1), 4),
        way(nn.Conv2d(128, 256, 3, padding=1, groups=2), 4), way(nn.Conv2d(128, 128, 3, padding=2, dilation=2), 4),
        way(nn.Conv2d(128, 128, 3, padding=2), 4), way(nn.Conv2d(128, 128, 3, padding=1).requires_grad_(False), 4),
        way(nn.Conv2d(128, 128, 3, padding="same"), 4),
    ]  # fmt: skip
    assert not [name for name in usual if not name.startswith("Convolution")]


def test_gradients_of_gradients_of_images_side_by_side() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    images = torch.randn(3, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda x, w: SideBySideConvolution.apply(x, w, None, (1, 1), (1, 1), (1, 1), 1), (images, weight)
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler itself
def test_a_compiled_network() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(288, 2))
    images = torch.rand(4, 3, 8, 8)
    with BF16.autocast(CPU):
        expected, found = network(images), torch.compile(network)(images)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    found.float().sum().backward()
    assert all(bool((p.grad != 0).any()) for p in network.parameters() if p.grad is not None)
