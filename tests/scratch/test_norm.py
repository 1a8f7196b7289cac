"""Normalisation against torch, central differences, and running averages worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnlab.errors import ShapeError, UnknownNameError
from cnnlab.scratch.layers.norm import (
    batchnorm_backward,
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
)
from cnnlab.scratch.layers.spatial_norm import (
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
    spatial_groupnorm_backward,
    spatial_groupnorm_forward,
)
from tests.scratch.helpers_layers import FEW, SEEDS, check_layer, normal

Array = Any
EPS = st.sampled_from([1e-5, 1e-3, 0.5])


def spread(*shape: int, seed: int = 0) -> Array:
    """Values that differ clearly: where a variance is tiny, a nudge of 1e-5 is no small one."""
    rng = np.random.default_rng(seed)
    return (rng.permutation(int(np.prod(shape))) + rng.uniform(-0.3, 0.3, int(np.prod(shape)))).reshape(shape) / 3


def affine_params(shape: tuple[int, ...], seed: int) -> dict[str, Array]:
    return {"gamma": normal(*shape, seed=seed + 1), "beta": normal(*shape, seed=seed + 2)}


BACKWARD = pytest.mark.parametrize("backward", [batchnorm_backward, batchnorm_backward_alt])


class TestBatchNorm:
    @BACKWARD
    @FEW
    @given(st.integers(2, 6), st.integers(1, 5), EPS, SEEDS)
    def test_contract_in_training(self, backward: Any, n: int, d: int, eps: float, seed: int) -> None:
        check_layer(
            lambda x, gamma, beta: batchnorm_forward(x, gamma, beta, {"mode": "train", "eps": eps}),
            backward,
            {"x": spread(n, d, seed=seed), **affine_params((d,), seed)},
            lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps),
            float32_tolerance=1e-3,
        )

    @BACKWARD
    @FEW
    @given(st.integers(0, 4), st.integers(1, 5), EPS, SEEDS)
    def test_contract_in_test_mode(self, backward: Any, n: int, d: int, eps: float, seed: int) -> None:
        mean, var = normal(d, seed=seed + 3), np.random.default_rng(seed).uniform(0.1, 2, d)
        bn_param = {"mode": "test", "eps": eps, "running_mean": mean, "running_var": var}
        check_layer(
            lambda x, gamma, beta: batchnorm_forward(x, gamma, beta, bn_param),
            backward,
            {"x": normal(n, d, seed=seed), **affine_params((d,), seed)},
            lambda x, gamma, beta: gamma * (x - torch.tensor(mean)) / torch.sqrt(torch.tensor(var) + eps) + beta,
        )
        assert bn_param["running_mean"] is mean
        assert bn_param["running_var"] is var

    def test_large(self) -> None:
        check_layer(
            lambda x, gamma, beta: batchnorm_forward(x, gamma, beta, {"mode": "train"}),
            batchnorm_backward_alt,
            {"x": 5 * normal(200, 30) + 12, **affine_params((30,), 0)},
            lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True),
            float32_tolerance=1e-3,
        )

    @BACKWARD
    def test_by_hand(self, backward: Any) -> None:
        # Mean 2, variance 8/3 + 1/3 of eps = 3: the values are -2, 0, 2 over the root of 3.
        x, root = np.array([[0.0], [2.0], [4.0]]), 3**0.5
        out, cache = batchnorm_forward(x, np.array([3.0]), np.array([1.0]), {"mode": "train", "eps": 1 / 3})
        np.testing.assert_allclose(out[:, 0], [1 - 6 / root, 1, 1 + 6 / root], rtol=1e-14)
        dx, dgamma, dbeta = backward(np.array([[1.0], [0.0], [0.0]]), cache)
        assert dgamma == pytest.approx(-2 / root)
        assert dbeta == pytest.approx(1)
        # dx = gamma / std (dout - 1/3 - x_hat mean(dout x_hat)); the last mean is -2 / (3 root).
        np.testing.assert_allclose(dx[:, 0], root * np.array([2 / 3 - 4 / 9, -1 / 3, -1 / 3 + 4 / 9]), atol=1e-14)

    @FEW
    @given(st.integers(2, 8), st.floats(0.1, 10), st.floats(-10, 10), SEEDS)
    def test_shift_and_scale_of_the_input_are_taken_out(self, n: int, scale: float, shift: float, seed: int) -> None:
        x, gamma, beta = spread(n, 3, seed=seed), np.ones(3), np.zeros(3)
        out, _ = batchnorm_forward(x, gamma, beta, {"mode": "train", "eps": 0})
        again, _ = batchnorm_forward(scale * x + shift, gamma, beta, {"mode": "train", "eps": 0})
        np.testing.assert_allclose(again, out, atol=1e-10)
        np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(out.std(axis=0), 1, rtol=1e-12)

    def test_float32_far_from_zero(self) -> None:
        x = (10_000 + normal(64, 3)).astype(np.float32)
        bn_param = {"mode": "train"}
        out, _ = batchnorm_forward(x, np.ones(3, np.float32), np.zeros(3, np.float32), bn_param)
        exact = (x - x.astype(float).mean(axis=0)) / x.astype(float).std(axis=0)
        np.testing.assert_allclose(out, exact, atol=2e-3)  # the squares, 1e8, would lose all digits of the variance

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_running_averages(self, dtype: Any) -> None:
        bn_param: dict[str, Any] = {"mode": "train", "momentum": 0.75}
        mean, var = np.zeros(4), np.zeros(4)
        for step in range(5):
            x = (2 * normal(7, 4, seed=step) + step).astype(dtype)
            batchnorm_forward(x, np.ones(4, dtype), np.zeros(4, dtype), bn_param)
            mean = 0.75 * mean + 0.25 * x.astype(float).mean(axis=0)
            var = 0.75 * var + 0.25 * x.astype(float).var(axis=0)  # biased
            np.testing.assert_allclose(bn_param["running_mean"], mean, rtol=1e-5 if dtype == np.float32 else 1e-13)
            np.testing.assert_allclose(bn_param["running_var"], var, rtol=1e-5 if dtype == np.float32 else 1e-13)
            assert bn_param["running_mean"].dtype == bn_param["running_var"].dtype == dtype
        assert set(bn_param) == {"mode", "momentum", "running_mean", "running_var"}

    def test_running_averages_by_hand(self) -> None:
        bn_param: dict[str, Any] = {"mode": "train"}
        batchnorm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), bn_param)
        assert bn_param["running_mean"] == pytest.approx(0.2)  # a tenth of 2
        assert bn_param["running_var"] == pytest.approx(0.1)  # a tenth of 1
        batchnorm_forward(np.array([[0.0], [10.0]]), np.ones(1), np.zeros(1), bn_param)
        assert bn_param["running_mean"] == pytest.approx(0.9 * 0.2 + 0.1 * 5)
        assert bn_param["running_var"] == pytest.approx(0.9 * 0.1 + 0.1 * 25)
        bn_param["mode"] = "test"
        out, _ = batchnorm_forward(np.array([[0.68 + 2.59**0.5]]), np.array([2.0]), np.array([5.0]), bn_param)
        assert out == pytest.approx(7, abs=1e-4)

    def test_arrays_of_running_averages_are_replaced_not_modified(self) -> None:
        mean, var = np.full(2, 3.0), np.ones(2)
        bn_param = {"mode": "train", "running_mean": mean, "running_var": var}
        batchnorm_forward(normal(5, 2), np.ones(2), np.zeros(2), bn_param)
        assert (mean == 3).all()
        assert (var == 1).all()

    @BACKWARD
    def test_a_batch_of_one_is_its_own_mean(self, backward: Any) -> None:
        out, cache = batchnorm_forward(normal(1, 3), np.ones(3), np.arange(3.0), {"mode": "train"})
        assert out.tolist() == [[0, 1, 2]]
        dx, dgamma, dbeta = backward(np.ones((1, 3)), cache)
        assert (dx.tolist(), dgamma.tolist(), dbeta.tolist()) == ([[0, 0, 0]], [0, 0, 0], [1, 1, 1])

    def test_nan_is_seen(self) -> None:
        x = normal(4, 3)
        x[1, 2] = np.nan
        out, _ = batchnorm_forward(x, np.ones(3), np.zeros(3), {"mode": "train"})
        assert np.isnan(out).all(axis=0).tolist() == [False, False, True]


class TestLayerNorm:
    @FEW
    @given(st.integers(0, 4), st.integers(1, 6), EPS, SEEDS)
    def test_contract(self, n: int, d: int, eps: float, seed: int) -> None:
        check_layer(
            lambda x, gamma, beta: layernorm_forward(x, gamma, beta, {"eps": eps}),
            layernorm_backward,
            {"x": spread(n, d, seed=seed), **affine_params((d,), seed)},
            lambda x, gamma, beta: F.layer_norm(x, (d,), gamma, beta, eps),
            float32_tolerance=1e-3,
        )

    def test_is_batchnorm_turned_on_its_side(self) -> None:
        x = normal(5, 7)
        out, _ = layernorm_forward(x, np.ones(7), np.zeros(7), {})
        turned, _ = batchnorm_forward(x.T, np.ones(5), np.zeros(5), {"mode": "train"})
        np.testing.assert_allclose(out, turned.T, atol=1e-14)

    def test_each_input_is_alone(self) -> None:
        x, gamma, beta = normal(5, 7), normal(7, seed=1), normal(7, seed=2)
        out, _ = layernorm_forward(x, gamma, beta, {})
        np.testing.assert_allclose(layernorm_forward(x[2:3], gamma, beta, {})[0], out[2:3], atol=1e-14)


IMAGES = {"n": st.integers(1, 3), "c": st.integers(1, 4), "h": st.integers(1, 3), "w": st.integers(2, 3)}


class TestSpatialBatchNorm:
    @FEW
    @given(**IMAGES, eps=EPS, seed=SEEDS)
    def test_contract_in_training(self, n: int, c: int, h: int, w: int, eps: float, seed: int) -> None:
        check_layer(
            lambda x, gamma, beta: spatial_batchnorm_forward(x, gamma, beta, {"mode": "train", "eps": eps}),
            spatial_batchnorm_backward,
            {"x": spread(n, c, h, w, seed=seed), **affine_params((c,), seed)},
            lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps),
            float32_tolerance=1e-3,
        )

    @FEW
    @given(**IMAGES, seed=SEEDS)
    def test_contract_in_test_mode(self, n: int, c: int, h: int, w: int, seed: int) -> None:
        mean, var = normal(c, seed=seed + 3), np.random.default_rng(seed).uniform(0.1, 2, c)
        running = {"running_mean": mean, "running_var": var}
        check_layer(
            lambda x, gamma, beta: spatial_batchnorm_forward(x, gamma, beta, {"mode": "test", **running}),
            spatial_batchnorm_backward,
            {"x": normal(n, c, h, w, seed=seed), **affine_params((c,), seed)},
            lambda x, gamma, beta: F.batch_norm(x, torch.tensor(mean), torch.tensor(var), gamma, beta, eps=1e-5),
        )

    def test_is_batchnorm_of_all_pixels(self) -> None:
        x, dout, gamma, beta = normal(4, 3, 5, 6), normal(4, 3, 5, 6, seed=1), normal(3, seed=2), normal(3, seed=3)
        bn_param: dict[str, Any] = {"mode": "train"}
        flat_param: dict[str, Any] = {"mode": "train"}
        out, cache = spatial_batchnorm_forward(x, gamma, beta, bn_param)
        flat, flat_cache = batchnorm_forward(x.transpose(0, 2, 3, 1).reshape(-1, 3), gamma, beta, flat_param)
        np.testing.assert_allclose(out, flat.reshape(4, 5, 6, 3).transpose(0, 3, 1, 2), atol=1e-13)
        for name in ("running_mean", "running_var"):
            assert bn_param[name].shape == (3,)
            np.testing.assert_allclose(bn_param[name], flat_param[name], atol=1e-14)
        dx, dgamma, dbeta = spatial_batchnorm_backward(dout, cache)
        flat_dx, flat_dgamma, flat_dbeta = batchnorm_backward(dout.transpose(0, 2, 3, 1).reshape(-1, 3), flat_cache)
        np.testing.assert_allclose(dx, flat_dx.reshape(4, 5, 6, 3).transpose(0, 3, 1, 2), atol=1e-13)
        np.testing.assert_allclose(dgamma, flat_dgamma, atol=1e-12)
        np.testing.assert_allclose(dbeta, flat_dbeta, atol=1e-12)


class TestSpatialGroupNorm:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), EPS, SEEDS)
    def test_contract(self, n: int, groups: int, size: int, h: int, w: int, eps: float, seed: int) -> None:
        c = groups * size

        def reference(x: Any, gamma: Any, beta: Any) -> Any:
            # F.group_norm refuses a group of one value.
            parts = x.reshape(n, groups, size * h * w)
            parts = F.layer_norm(parts, (size * h * w,), eps=eps)
            return parts.reshape(x.shape) * gamma + beta

        check_layer(
            lambda x, gamma, beta: spatial_groupnorm_forward(x, gamma, beta, groups, {"eps": eps}),
            spatial_groupnorm_backward,
            {"x": spread(n, c, h, w, seed=seed), **affine_params((1, c, 1, 1), seed)},
            reference,
            float32_tolerance=1e-3,
        )

    @pytest.mark.parametrize("groups", [1, 2, 3, 6])
    def test_as_in_torch(self, groups: int) -> None:
        check_layer(
            lambda x, gamma, beta: spatial_groupnorm_forward(x, gamma, beta, groups, {}),
            spatial_groupnorm_backward,
            {"x": normal(2, 6, 4, 5), **affine_params((1, 6, 1, 1), 0)},
            lambda x, gamma, beta: F.group_norm(x, groups, gamma.flatten(), beta.flatten()),
            float32_tolerance=1e-3,
        )

    @pytest.mark.parametrize("groups", [4, 0, -1, 7])
    def test_groups_that_do_not_divide(self, groups: int) -> None:
        with pytest.raises(
            ShapeError, match=rf"G = {groups} groups do not divide the 6 channels of x of shape \(2, 6, 3"
        ):
            spatial_groupnorm_forward(normal(2, 6, 3, 3), normal(1, 6, 1, 1), normal(1, 6, 1, 1), groups, {})

    def test_gamma_and_beta_with_one_axis(self) -> None:
        """As torch has them; the gradients have the shape of what was passed."""
        check_layer(
            lambda x, gamma, beta: spatial_groupnorm_forward(x, gamma, beta, 3, {"mode": "train"}),
            spatial_groupnorm_backward,
            {"x": normal(2, 6, 4, 5), **affine_params((6,), 0)},
            lambda x, gamma, beta: F.group_norm(x, 3, gamma, beta),
            float32_tolerance=1e-3,
        )

    def test_shape_of_gamma(self) -> None:
        with pytest.raises(ShapeError, match=r"gamma must be of shape \(6,\) or \(1, 6, 1, 1\) for x .*got \(6, 1\)"):
            spatial_groupnorm_forward(normal(2, 6, 3, 3), np.ones((6, 1)), np.zeros(6), 2, {})
        with pytest.raises(ShapeError, match=r"beta must be of shape \(6,\) for gamma"):
            spatial_groupnorm_forward(normal(2, 6, 3, 3), np.ones(6), np.zeros((1, 6, 1, 1)), 2, {})


BATCH = {
    "batchnorm": (batchnorm_forward, batchnorm_backward, (4, 3)),
    "batchnorm_alt": (batchnorm_forward, batchnorm_backward_alt, (4, 3)),
    "spatial_batchnorm": (spatial_batchnorm_forward, spatial_batchnorm_backward, (2, 3, 4, 5)),
}
ALL: dict[str, Any] = BATCH | {
    "layernorm": (layernorm_forward, layernorm_backward, (4, 3)),
    "spatial_groupnorm": (
        lambda x, gamma, beta, param: spatial_groupnorm_forward(
            x, gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1), 3, param
        ),
        spatial_groupnorm_backward,
        (2, 3, 4, 5),
    ),
}


def param(name: str) -> dict[str, Any]:
    return {"mode": "train"} if name in BATCH else {}


@pytest.mark.parametrize("name", sorted(ALL.keys() - BATCH.keys()))
def test_a_mode_changes_nothing_where_the_batch_does_not_count(name: str) -> None:
    """The course's notebooks pass ``mode`` to every normalisation."""
    forward, _, shape = ALL[name]
    x, gamma, beta = normal(*shape), normal(3), normal(3)
    plain, _ = forward(x, gamma, beta, {})
    for mode in ("train", "test"):
        assert np.array_equal(forward(x, gamma, beta, {"mode": mode})[0], plain)
    with pytest.raises(UnknownNameError, match='Did you mean "train"'):
        forward(x, gamma, beta, {"mode": "tran"})


class TestErrors:
    @pytest.mark.parametrize("name", BATCH)
    @pytest.mark.parametrize(("mode", "message"), [("tran", 'Did you mean "train"'), (None, 'no mode "None"')])
    def test_mode(self, name: str, mode: Any, message: str) -> None:
        forward, _, shape = BATCH[name]
        bn_param = {} if mode is None else {"mode": mode}
        with pytest.raises(UnknownNameError, match=rf'{message}.*Known: test, train.*bn_param\["mode"\]'):
            forward(normal(*shape), np.ones(3), np.zeros(3), bn_param)

    @pytest.mark.parametrize("name", ALL)
    def test_key_that_would_be_ignored(self, name: str) -> None:
        forward, _, shape = ALL[name]
        with pytest.raises(UnknownNameError, match=r'no key "epsilon". Did you mean "eps"\? .* It was in [bgl]n_param'):
            forward(normal(*shape), np.ones(3), np.zeros(3), {**param(name), "epsilon": 1e-3})

    @pytest.mark.parametrize("name", ALL)
    def test_shapes(self, name: str) -> None:
        forward, backward, shape = ALL[name]
        x, gamma, beta = normal(*shape), np.ones(3), np.zeros(3)
        with pytest.raises(ShapeError, match=r"x must be \(N, .*got an array of shape \(3,\)"):
            forward(normal(3), gamma, beta, param(name))
        with pytest.raises(ShapeError, match=r"gamma must be of shape .*got .*4"):
            forward(x, np.ones(4), beta, param(name))
        with pytest.raises(ShapeError, match=r"beta must be of shape .*got .*2"):
            forward(x, gamma, np.ones(2), param(name))
        with pytest.raises(ShapeError, match="x must be float32 or float64, got int64"):
            forward(np.ones(shape, int), gamma, beta, param(name))
        _, cache = forward(x, gamma, beta, param(name))
        with pytest.raises(ShapeError, match=r"dout must be of shape .*got \(1, 3\)"):
            backward(np.ones((1, 3)), cache)

    @pytest.mark.parametrize("name", BATCH)
    def test_an_empty_batch_has_no_mean(self, name: str) -> None:
        forward, _, shape = BATCH[name]
        with pytest.raises(ShapeError, match=r"x of shape \(0, 3.* no values to take a mean of"):
            forward(np.zeros((0, *shape[1:])), np.ones(3), np.zeros(3), {"mode": "train"})

    @pytest.mark.parametrize("name", BATCH)
    def test_running_averages_of_another_net(self, name: str) -> None:
        forward, _, shape = BATCH[name]
        bn_param = {"mode": "test", "running_mean": np.zeros(3), "running_var": np.ones(5)}
        with pytest.raises(ShapeError, match=r"running_var must be of shape \(3,\) for x of shape .*got \(5,\)"):
            forward(normal(*shape), np.ones(3), np.zeros(3), bn_param)
