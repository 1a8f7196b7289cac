"""Depthwise convolutions in bf16: autocast's outputs, and gradients nearer to those of float32."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.bf16 import DepthwiseConvolution, bf16_training
from cnnlab.hardware import Precision

CPU = torch.device("cpu")
BF16 = Precision(bf16=True, channels_last=True)


def answers(conv: nn.Conv2d, images: Tensor, upstream: Tensor, context: AbstractContextManager[Any]) -> list[Tensor]:
    """The outputs of a convolution, and the gradients for the images, the weight and the bias."""
    conv, images = copy.deepcopy(conv), images.clone().requires_grad_()
    with context:
        outputs = conv(images)
    outputs.backward(upstream.to(outputs.dtype))
    return [outputs.detach(), *(t.grad for t in (images, *conv.parameters()) if t.grad is not None)]


@pytest.mark.parametrize(
    "settings",
    [
        {"in_channels": 6, "out_channels": 6, "padding": 1},
        {"in_channels": 6, "out_channels": 6, "kernel_size": 5, "stride": 2, "padding": 2, "bias": False},
        {"in_channels": 4, "out_channels": 8, "dilation": 2},  # two filters for each channel
        {"in_channels": 4, "out_channels": 4, "padding": 1, "padding_mode": "reflect"},
    ],
)
def test_outputs_are_those_of_autocast_and_gradients_those_of_float64(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(**{"kernel_size": 3, "groups": settings["in_channels"], **settings})
    images = torch.randn(3, conv.in_channels, 11, 9).contiguous(memory_format=torch.channels_last)
    upstream = torch.randn_like(conv(images)).bfloat16()
    exact = answers(copy.deepcopy(conv).double(), images.double(), upstream, nullcontext())
    autocast = answers(conv, images, upstream, torch.autocast("cpu", torch.bfloat16))
    ours = answers(conv, images, upstream, bf16_training())
    assert ours[0].dtype == torch.bfloat16
    assert torch.equal(ours[0], autocast[0])
    for true, half, mine in zip(exact[1:], autocast[1:], ours[1:], strict=True):
        assert mine.dtype == half.dtype == torch.float32
        assert (mine - true).norm() <= 2**-8 * true.norm()  # the images are rounded to bf16, of 8 bits


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
        gradients(nullcontext(), torch.float64), gradients(bf16_training(), torch.float32), strict=True
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
    torch.testing.assert_close(penalty(bf16_training), expected, rtol=0.03, atol=0.03 * float(expected.abs().max()))


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
