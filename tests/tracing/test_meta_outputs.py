"""Outputs on the meta device against torch's own functions, and that nothing of torch's compiler is loaded for them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from cnnlab.tracing import recorder, trace
from cnnlab.tracing.meta_outputs import meta_output
from cnnlab.zoo import create_model, models

aten = torch.ops.aten
PLAIN = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)  # stride, padding, dilation, transposed, output padding, groups


def on_meta(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def layout(tensor: Tensor) -> tuple[Any, ...]:
    """Shape, number type and strides; the stride of an axis with one position says nothing."""
    strides = [stride for stride, side in zip(tensor.stride(), tensor.shape, strict=True) if side > 1]
    return tuple(tensor.shape), tensor.dtype, strides, tensor.device.type


def as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def check_the_outputs_of(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def both(func: Any, args: Any, kwargs: Any) -> Any:
        mine = meta_output(func, args, kwargs)
        if mine is not None and not func.name().partition(".")[0].endswith("_"):
            theirs = func(*args, **kwargs)
            assert [*map(layout, as_tuple(mine))] == [*map(layout, as_tuple(theirs))], func
            compared.append(func)
        return mine

    with torch.device("meta"):
        model = create_model(name)
    monkeypatch.setattr(recorder, "meta_output", both)
    trace(model, (2, model.arch["in_channels"], model.arch["image_size"], model.arch["image_size"]))
    assert compared


@pytest.mark.parametrize("name", ["googlenet", "convnext_tiny", "mobilenet_v3_small", "lenet5"])
def test_the_outputs_are_those_of_torch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_the_outputs_of(name, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_the_outputs_are_those_of_torch_in_every_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_the_outputs_of(name, monkeypatch)


@pytest.mark.parametrize("side", range(5, 12))
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (2, 3, 1), (3, 1, 1), (2, 2, 0)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pooling_against_real_images(side: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> None:
    pair = [[kernel] * 2, [stride] * 2, [padding] * 2]
    real = torch.nn.functional.max_pool2d(torch.zeros(1, 2, side, side), kernel, stride, padding, 1, ceil_mode)
    for func, args in (
        (aten.max_pool2d_with_indices, [*pair, [1, 1], ceil_mode]),
        (aten.avg_pool2d, [*pair, ceil_mode]),
    ):
        outputs = meta_output(func.default, (on_meta(1, 2, side, side), *args), {})
        assert as_tuple(outputs)[0].shape == real.shape


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.add.Tensor, (on_meta(2, 3), on_meta(2, 4))),
        (aten.mm.default, (on_meta(2, 3), on_meta(4, 2))),
        (aten.convolution.default, (on_meta(1, 3, 8, 8), on_meta(4, 2, 3, 3), None, *PLAIN)),
        (aten.cat.default, ([on_meta(1, 2, 3), on_meta(1, 2, 4)], 1)),
        (aten.cat.default, ([on_meta(2, 3), on_meta(2)], 1)),
        (aten.cat.default, ([on_meta(2, 3), on_meta(2, 3)], 2)),
        (aten.mean.default, (on_meta(2, 3),)),
        (aten.mean.dim, (on_meta(2, 3), [2])),
        (aten.mean.dim, (on_meta(), [0])),
        (aten.relu.default, (torch.zeros(2),)),
        (aten.fft_fft.default, (on_meta(4),)),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_left_to_torch(func: Any, args: Any) -> None:
    assert meta_output(func, args, {}) is None


def test_a_mean_over_everything_needs_no_values() -> None:
    class Centred(torch.nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x - x.mean())

    model = Centred(3, 2, 3, device="meta")  # which has none
    assert trace(model, (1, 3, 8, 8)).outputs[0].shape == (1, 2, 6, 6)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", pytest.param("convnext_tiny", marks=pytest.mark.slow)])
def test_listing_the_layers_loads_no_compiler(name: str) -> None:
    code = (
        "import sys, torch; from cnnlab.zoo import create_model; from cnnlab.tracing import list_layers; "
        f"assert list_layers(create_model({name!r}), (3, 224, 224)).default is not None; "
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)
