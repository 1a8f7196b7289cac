"""Layers as one: against torch and central differences, and against the layers one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnlab.errors import ShapeError
from cnnlab.scratch.layers.conv import conv_forward
from cnnlab.scratch.layers.pool import max_pool_forward
from cnnlab.scratch.layers.sandwich import (
    affine_relu_backward,
    affine_relu_forward,
    conv_batchnorm_relu_backward,
    conv_batchnorm_relu_forward,
    conv_relu_backward,
    conv_relu_forward,
    conv_relu_pool_backward,
    conv_relu_pool_forward,
)
from cnnlab.scratch.layers.spatial_norm import spatial_batchnorm_forward
from tests.scratch.helpers_layers import FEW, SEEDS, check_layer, normal

Array = Any
POOL = {"pool_height": 2, "pool_width": 2, "stride": 2}


def near_a_kink(values: Array) -> bool:
    """Whether a nudge could carry a value over the kink of the relu."""
    return bool((np.abs(values) < 1e-3).any())


def near_a_tie(images: Array) -> bool:
    """Whether a nudge could change which of the four values in a window is the largest."""
    n, c, h, w = images.shape
    windows = np.maximum(images, 0).reshape(n, c, h // 2, 2, w // 2, 2).swapaxes(3, 4).reshape(-1, 4)
    first, second = np.sort(windows, axis=1).T[[-1, -2]]
    return bool(((first > 0) & (first - second < 1e-3)).any())


def conv_inputs(n: int, c: int, size: int, f: int, seed: int) -> dict[str, Array]:
    return {
        "x": normal(n, c, size, size, seed=seed),
        "w": normal(f, c, 3, 3, seed=seed + 1),
        "b": normal(f, seed=seed + 2),
    }


@FEW
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_affine_relu(n: int, d1: int, d2: int, m: int, seed: int) -> None:
    inputs = {"x": normal(n, d1, d2, seed=seed), "w": normal(d1 * d2, m, seed=seed + 1), "b": normal(m, seed=seed + 2)}
    assume(not near_a_kink(inputs["x"].reshape(n, -1) @ inputs["w"] + inputs["b"]))
    check_layer(
        affine_relu_forward, affine_relu_backward, inputs, lambda x, w, b: F.relu(F.linear(x.flatten(1), w.T, b))
    )


@FEW
@given(st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), st.sampled_from([(1, 1), (1, 0), (2, 0)]), SEEDS)
def test_conv_relu(n: int, c: int, f: int, geometry: tuple[int, int], seed: int) -> None:
    stride, pad = geometry
    inputs, param = conv_inputs(n, c, 5, f, seed), {"stride": stride, "pad": pad}
    assume(not near_a_kink(conv_forward(*inputs.values(), param)[0]))
    check_layer(
        lambda x, w, b: conv_relu_forward(x, w, b, param),
        conv_relu_backward,
        inputs,
        lambda x, w, b: F.relu(F.conv2d(x, w, b, stride, pad)),
    )


@FEW
@given(st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), SEEDS)
def test_conv_relu_pool(n: int, c: int, f: int, seed: int) -> None:
    inputs, param = conv_inputs(n, c, 4, f, seed), {"stride": 1, "pad": 1}
    a, _ = conv_forward(*inputs.values(), param)
    assume(not near_a_kink(a) and not near_a_tie(a))
    check_layer(
        lambda x, w, b: conv_relu_pool_forward(x, w, b, param, POOL),
        conv_relu_pool_backward,
        inputs,
        lambda x, w, b: F.max_pool2d(F.relu(F.conv2d(x, w, b, 1, 1)), 2),
    )


@pytest.mark.parametrize("mode", ["train", "test"])
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), SEEDS)
def test_conv_batchnorm_relu(mode: str, n: int, c: int, f: int, seed: int) -> None:
    mean, var = normal(f, seed=seed + 5), np.random.default_rng(seed).uniform(0.5, 2, f)
    inputs = conv_inputs(n, c, 4, f, seed)
    inputs |= {"gamma": normal(f, seed=seed + 3), "beta": normal(f, seed=seed + 4)}
    param = {"stride": 1, "pad": 1}

    def bn_param() -> dict[str, Any]:
        return {"mode": mode, "running_mean": mean, "running_var": var}

    a, _ = conv_forward(inputs["x"], inputs["w"], inputs["b"], param)
    assume(not near_a_kink(spatial_batchnorm_forward(a, inputs["gamma"], inputs["beta"], bn_param())[0]))

    def reference(x: Any, w: Any, b: Any, gamma: Any, beta: Any) -> Any:
        running = torch.tensor(mean), torch.tensor(var)
        return F.relu(F.batch_norm(F.conv2d(x, w, b, 1, 1), *running, gamma, beta, training=mode == "train", eps=1e-5))

    check_layer(
        lambda *arrays: conv_batchnorm_relu_forward(*arrays, param, bn_param()),
        conv_batchnorm_relu_backward,
        inputs,
        reference,
        # The bias before a BatchNorm has gradient zero; what is left of it is rounding.
        float32_tolerance=1e-3,
    )


def test_the_running_averages_come_out() -> None:
    x, w, b = conv_inputs(2, 3, 6, 4, 0).values()
    bn_param: dict[str, Any] = {"mode": "train"}
    alone: dict[str, Any] = {"mode": "train"}
    out, _ = conv_batchnorm_relu_forward(x, w, b, np.ones(4), np.zeros(4), {"stride": 1, "pad": 1}, bn_param)
    a, _ = conv_forward(x, w, b, {"stride": 1, "pad": 1})
    normalised, _ = spatial_batchnorm_forward(a, np.ones(4), np.zeros(4), alone)
    np.testing.assert_array_equal(out, np.maximum(normalised, 0))
    for name in ("running_mean", "running_var"):
        np.testing.assert_array_equal(bn_param[name], alone[name])


def test_equals_the_layers_one_by_one() -> None:
    x, w, b = conv_inputs(2, 3, 8, 4, 0).values()
    param = {"stride": 1, "pad": 1}
    a, _ = conv_forward(x, w, b, param)
    np.testing.assert_array_equal(conv_relu_forward(x, w, b, param)[0], np.maximum(a, 0))
    pooled, _ = max_pool_forward(np.maximum(a, 0), POOL)
    np.testing.assert_array_equal(conv_relu_pool_forward(x, w, b, param, POOL)[0], pooled)


def test_errors_are_those_of_the_layers_inside() -> None:
    x, w, b = conv_inputs(2, 3, 8, 4, 0).values()
    param = {"stride": 1, "pad": 1}
    with pytest.raises(ShapeError, match=r"b must be of shape \(5,\)"):
        affine_relu_forward(normal(2, 3), normal(3, 5), normal(4))
    with pytest.raises(ShapeError, match="gamma must be of shape"):
        conv_batchnorm_relu_forward(x, w, b, np.ones(3), np.zeros(3), param, {"mode": "train"})
    for forward, backward in (
        (lambda: affine_relu_forward(normal(2, 3), normal(3, 5), normal(5)), affine_relu_backward),
        (lambda: conv_relu_forward(x, w, b, param), conv_relu_backward),
        (lambda: conv_relu_pool_forward(x, w, b, param, POOL), conv_relu_pool_backward),
        (
            lambda: conv_batchnorm_relu_forward(x, w, b, np.ones(4), np.zeros(4), param, {"mode": "train"}),
            conv_batchnorm_relu_backward,
        ),
    ):
        out, cache = forward()
        with pytest.raises(ShapeError, match=r"dout .*\(1, 2, 3\)"):
            backward(np.ones((1, 2, 3)), cache)
        assert np.isfinite(out).all()
