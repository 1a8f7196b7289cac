"""Every family of operations, over its settings, gives the numbers of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.microscope.arithmetic.checking import check, numbers

few = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@few
@given(st.data())
def test_convolutions(data: st.DataObject) -> None:
    dims, groups = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 2, 4]))
    transposed = data.draw(st.booleans())
    incoming, outgoing = groups * data.draw(st.integers(1, 3)), groups * data.draw(st.integers(1, 2))
    each = st.tuples(*[st.integers(1, 3)] * dims)
    options: dict[str, Any] = {"stride": data.draw(each), "dilation": data.draw(each), "groups": groups}
    options["padding"] = tuple(data.draw(st.integers(0, 2)) for _ in range(dims))
    options["bias"] = data.draw(st.booleans())
    make = getattr(nn, f"Conv{'Transpose' if transposed else ''}{dims}d")
    torch.manual_seed(0)
    layer = make(incoming, outgoing, data.draw(each), **options)
    x = numbers(1, incoming, *[7] * dims)
    try:
        with torch.no_grad():
            layer(x)
    except RuntimeError:
        return  # a transposed convolution whose padding leaves no pixel
    counts = check(layer, x)
    assert set(counts) == {("convolution", "weighted_sum")}


@pytest.mark.parametrize("padding_mode", ["reflect", "circular", "replicate"])
def test_padding_of_other_kinds_is_copied_pixels(padding_mode: str) -> None:
    counts = check(nn.Conv2d(2, 3, 3, padding=1, padding_mode=padding_mode), numbers(1, 2, 5, 5))
    assert "opaque" not in {how for _, how in counts}


DENSE = [
    (nn.Linear(6, 5), (1, 6)),
    (nn.Linear(6, 5, bias=False), (1, 6)),
    (nn.Linear(6, 5), (1, 4, 6)),
    (nn.Sequential(nn.Flatten(), nn.Linear(18, 4)), (1, 2, 3, 3)),
    (lambda x: x @ x.transpose(1, 2), (3, 4, 5)),
    (lambda x: x @ numbers(5, 2), (3, 4, 5)),
    (lambda x: torch.baddbmm(numbers(4, 4), x, x.transpose(1, 2), beta=0.5, alpha=2), (3, 4, 5)),
    (lambda x: torch.addmm(numbers(3, 1), x, numbers(4, 2), beta=2, alpha=-1), (3, 4)),
    (lambda x: torch.mv(x, numbers(4)), (3, 4)),
    (lambda x: torch.addmv(numbers(3), x, numbers(4), alpha=3), (3, 4)),
    (lambda x: torch.dot(x, x), (4,)),
    (lambda x: torch.einsum("bchw,cd->bdhw", x, numbers(3, 2)), (1, 3, 4, 4)),
]


@pytest.mark.parametrize(("layer", "shape"), DENSE)
def test_matrix_products(layer: Any, shape: tuple[int, ...]) -> None:
    counts = check(layer, numbers(*shape))
    assert "weighted_sum" in {how for _, how in counts}
    assert "opaque" not in {how for _, how in counts}


NORMS = [
    (nn.BatchNorm2d(4), (1, 4, 5, 5)),
    (nn.BatchNorm2d(4, affine=False, eps=0.1), (1, 4, 5, 5)),
    (nn.BatchNorm1d(4), (1, 4)),
    (nn.BatchNorm2d(4, track_running_stats=False), (1, 4, 5, 5)),
    (nn.InstanceNorm2d(4, affine=True), (1, 4, 5, 5)),
    (nn.LayerNorm([6]), (1, 9, 6)),
    (nn.LayerNorm([4, 5, 5]), (1, 4, 5, 5)),
    (nn.LayerNorm([6], elementwise_affine=False), (1, 3, 3, 6)),
    (nn.GroupNorm(2, 4), (1, 4, 5, 5)),
    (nn.GroupNorm(1, 4, affine=False), (1, 4, 5)),
    (nn.RMSNorm([6]), (1, 9, 6)),
]


@pytest.mark.parametrize(("layer", "shape"), NORMS)
def test_norms(layer: nn.Module, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    for name, tensor in layer.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + ("var" in name))
    counts = check(layer, 3 * numbers(*shape) + 1)
    assert "opaque" not in {how for _, how in counts}
    if not isinstance(layer, nn.RMSNorm):
        assert "affine" in {how for _, how in counts}


ACTIVATIONS: list[Callable[[Tensor], Tensor] | nn.Module] = [
    F.relu, F.relu6, F.leaky_relu, F.silu, F.mish, F.hardswish, F.hardsigmoid, torch.tanh, torch.sigmoid, F.selu,
    F.logsigmoid, F.softsign, F.tanhshrink, torch.exp, torch.abs, torch.square, torch.rsqrt, torch.log, torch.neg,
    nn.Hardtanh(-0.5, 0.25), nn.LeakyReLU(0.3), nn.PReLU(3), nn.PReLU(), nn.GELU(), nn.GELU("tanh"), nn.ELU(0.7),
    nn.CELU(0.7), nn.Softplus(), nn.Softplus(2, 1), nn.Threshold(0.1, 20), nn.ReLU(inplace=True), nn.SiLU(inplace=True),
    lambda x: x.clamp(min=-0.3), lambda x: x.clamp(-1, 1), lambda x: x.clamp(max=0.5), lambda x: x.abs() ** 0.75,
    lambda x: x**-1, lambda x: torch.sqrt(x * x + 1), lambda x: 1 / (x * x + 1), torch.cos, torch.sin,
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: Any) -> None:
    counts = check(activation, 3 * numbers(1, 3, 6, 6), numbers=60)
    assert "opaque" not in {how for _, how in counts}


def test_activations_do_not_overflow() -> None:
    x = torch.tensor([[-1000.0, -90.0, -20.0, -1e-8, 0.0, 20.0, 90.0, 1000.0]])
    for activation in (F.silu, F.mish, torch.sigmoid, F.softplus, F.elu, torch.tanh, F.gelu, F.logsigmoid):
        check(activation, x, numbers=30)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
def test_softmax(function: Any, dim: int) -> None:
    check(lambda x: function(x, dim=dim), 4 * numbers(1, 5, 4))
    check(lambda x: function(x, dim=-1), 400 * numbers(1, 5))


@few
@given(st.data())
def test_pooling_with_windows(data: st.DataObject) -> None:
    dims = data.draw(st.integers(1, 3))
    kernel = tuple(data.draw(st.integers(1, 4)) for _ in range(dims))
    options: dict[str, Any] = {
        "stride": data.draw(st.none() | st.integers(1, 3)),
        "padding": tuple(data.draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": data.draw(st.booleans()),
    }
    if data.draw(st.booleans()):
        layer = getattr(nn, f"MaxPool{dims}d")(kernel, dilation=data.draw(st.integers(1, 2)), **options)
        how = "maximum"
    else:
        options["count_include_pad"] = data.draw(st.booleans())
        if dims > 1:
            options["divisor_override"] = data.draw(st.none() | st.integers(1, 5))
        layer = getattr(nn, f"AvgPool{dims}d")(kernel, **options)
        how = "average"
    counts = check(layer, numbers(1, 2, *[8] * dims))
    assert how in {how for _, how in counts}
    assert {how for _, how in counts} <= {how, "choice"}


@pytest.mark.parametrize("kind", ["Avg", "Max"])
@pytest.mark.parametrize("size", [1, 3, 4, 7, 9])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_adaptive_pooling(kind: str, size: int, dims: int) -> None:
    counts = check(getattr(nn, f"Adaptive{kind}Pool{dims}d")(size), numbers(1, 2, *[7] * dims))
    assert "opaque" not in {how for _, how in counts}


REDUCTIONS = [
    lambda x: x.mean((2, 3)), lambda x: x.mean((2, 3), keepdim=True), lambda x: x.mean(1), lambda x: x.mean(),
    lambda x: x.sum((0, 2)), lambda x: x.sum(), lambda x: x.amax((2, 3)), lambda x: x.amax(), lambda x: x.max(2)[0],
    lambda x: x.max(), lambda x: x.amin(1), lambda x: x.min(3)[0], lambda x: x.amin(),
]  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_reductions(reduction: Any) -> None:
    counts = check(reduction, numbers(1, 4, 3, 5))
    assert "opaque" not in {how for _, how in counts}


ELEMENTWISE = [
    lambda x: x + numbers(1, 4, 3, 5, seed=1), lambda x: torch.add(x, numbers(4, 1, 1), alpha=-0.5), lambda x: x + 2,
    lambda x: x - x.mean((2, 3), keepdim=True), lambda x: torch.sub(x, numbers(5), alpha=3), lambda x: 1 - x,
    lambda x: torch.rsub(x, 2, alpha=0.5), lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)), lambda x: x * 3,
    lambda x: x / 7, lambda x: x / (x * x + 1), lambda x: x / torch.full((1, 1, 3, 1), 4), lambda x: x.clone().add_(x),
    lambda x: x.clone().mul_(x), lambda x: torch.maximum(x, x.flip(2)), lambda x: torch.minimum(x, -x), torch.neg,
    lambda x: x.mean() + x, lambda x: 2.5 / (x.abs() + 1),
]  # fmt: skip


@pytest.mark.parametrize("function", ELEMENTWISE)
def test_sums_and_products_of_two(function: Any) -> None:
    counts = check(function, numbers(1, 4, 3, 5))
    assert "opaque" not in {how for _, how in counts}


MOVES = [
    lambda x: torch.cat([x, 2 * x, x[:, :1]], 1), lambda x: torch.stack([x, -x], 2), lambda x: x.flatten(1),
    lambda x: x.permute(0, 2, 3, 1).contiguous(), lambda x: x[:, :, ::2, 1:], lambda x: F.pad(x, (1, 2, 0, 1)),
    lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)), lambda x: F.pixel_shuffle(x, 2), lambda x: x.roll(1, 2),
    lambda x: F.channel_shuffle(x, 2), lambda x: x.flip(3), lambda x: x.split(1, 1)[2], lambda x: x.chunk(2, 1)[1],
    lambda x: x.unbind(1)[3], lambda x: x.transpose(1, 2).reshape(1, -1), lambda x: F.unfold(x, 3, padding=1),
    lambda x: x.mT, lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), lambda x: F.pad(x, (1, 1, 1, 1), value=0.5),
    lambda x: x.masked_fill(x > 0, -2.0), lambda x: torch.where(x > 0, x, 3.0), lambda x: torch.where(x > 0, x, -x),
    lambda x: x[:, torch.tensor([2, 0, 2])], lambda x: x.repeat(1, 2, 1, 1), lambda x: x.expand(3, 4, 4, 6).clone(),
    lambda x: x.tril(), lambda x: x.unsqueeze(0).squeeze(1), lambda x: x.narrow(2, 1, 2),
]  # fmt: skip


@pytest.mark.parametrize("function", MOVES)
def test_moves(function: Any) -> None:
    counts = check(function, numbers(1, 4, 4, 6), numbers=20)
    assert {how for _, how in counts} <= {"choice", "multiply", "sum"}
    assert "choice" in {how for _, how in counts}


RESIZES: list[dict[str, Any]] = [
    {"size": (7, 5)}, {"scale_factor": 2}, {"scale_factor": 0.6, "recompute_scale_factor": False},
    {"size": (7, 5), "mode": "nearest-exact"}, {"size": (7, 9), "mode": "bilinear"},
    {"size": (7, 9), "mode": "bilinear", "align_corners": True}, {"scale_factor": (2, 3), "mode": "bilinear"},
    {"scale_factor": 1.7, "mode": "bilinear"}, {"size": (2, 3), "mode": "bilinear", "antialias": True},
    {"size": (9, 9), "mode": "bicubic"}, {"size": (9, 9), "mode": "bicubic", "align_corners": True},
]  # fmt: skip


@pytest.mark.parametrize("options", RESIZES)
def test_resizing(options: dict[str, Any]) -> None:
    counts = check(lambda x: F.interpolate(x, **options), numbers(1, 3, 4, 6), numbers=30)
    assert "opaque" not in {how for _, how in counts}


def test_resizing_of_sequences_and_volumes() -> None:
    for mode, shape in [("nearest", (1, 3, 5)), ("linear", (1, 3, 5)), ("trilinear", (1, 2, 3, 4, 5))]:
        counts = check(lambda x, mode=mode: F.interpolate(x, scale_factor=2, mode=mode), numbers(*shape))
        assert "opaque" not in {how for _, how in counts}


@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize("shape", [(1, 7, 4, 4), (1, 7, 4)])
def test_local_response_norm(size: int, shape: tuple[int, ...]) -> None:
    counts = check(nn.LocalResponseNorm(size, alpha=0.5, beta=0.75, k=2), numbers(*shape))
    assert {how for _, how in counts} == {"multiply", "choice", "average", "sum", "activation"}


def test_attention() -> None:
    x = numbers(1, 2, 6, 4)
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    for function in (
        lambda x: F.scaled_dot_product_attention(x, 2 * x, x),
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=mask, scale=0.3),
    ):
        counts = check(function, x, numbers=40)
        assert "opaque" not in {how for _, how in counts}
    counts = check(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), numbers(1, 9, 8))
    assert "opaque" not in {how for _, how in counts}


def test_what_is_not_known_is_opaque() -> None:
    counts = check(lambda x: torch.cumsum(x, 1), numbers(1, 4, 3, 5))
    assert set(counts) == {("cumsum", "opaque")}
