"""Update rules against torch.optim over many steps, against numbers worked out by hand, and what they refuse."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnnlab.errors import ShapeError, UnknownNameError
from cnnlab.scratch.optim import (
    Rule,
    adagrad,
    adam,
    adamw,
    nesterov,
    rmsprop,
    sgd,
    sgd_momentum,
    update_rules,
)

RULES = list(update_rules.values())
NAMES = list(update_rules)
optim = torch.optim


NOISE = np.random.default_rng(0).normal(size=(200, 3, 4))


def gradient(w: Any, noise: Any) -> Any:
    """The gradient of a valley, with the noise of a minibatch, so that no rule comes to rest.

    At rest the rules that divide by the size of gradients divide rounding errors by rounding errors.
    """
    return 0.5 * w + noise


def walk(rule: Rule, config: dict[str, Any], steps: int = 200, dtype: type = np.float64) -> np.ndarray:
    w = np.linspace(-1.5, 1.5, 12, dtype=dtype).reshape(3, 4)
    for noise in NOISE[:steps].astype(dtype):
        w, config = rule(w, gradient(w, noise), config)
    return w


def torch_walk(make: Callable[[list[torch.Tensor]], optim.Optimizer], steps: int = 200) -> np.ndarray:
    w = torch.linspace(-1.5, 1.5, 12, dtype=torch.float64).reshape(3, 4)
    optimizer = make([w])
    for noise in torch.from_numpy(NOISE[:steps]):
        w.grad = gradient(w, noise)
        optimizer.step()
    return w.numpy()


AGAINST_TORCH: list[tuple[Rule, dict[str, Any], Callable[[list[torch.Tensor]], optim.Optimizer]]] = [
    (sgd, {"learning_rate": 0.02}, lambda p: optim.SGD(p, lr=0.02)),
    (sgd_momentum, {"learning_rate": 0.01, "momentum": 0.8}, lambda p: optim.SGD(p, lr=0.01, momentum=0.8)),
    (nesterov, {"learning_rate": 0.01, "momentum": 0.8}, lambda p: optim.SGD(p, lr=0.01, momentum=0.8, nesterov=True)),
    (adagrad, {"learning_rate": 0.1, "epsilon": 1e-3}, lambda p: optim.Adagrad(p, lr=0.1, eps=1e-3)),
    (
        rmsprop,
        {"learning_rate": 0.02, "decay_rate": 0.9, "epsilon": 1e-3},
        lambda p: optim.RMSprop(p, lr=0.02, alpha=0.9, eps=1e-3),
    ),
    (
        adam,
        {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3},
        lambda p: optim.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3),
    ),
    (
        adamw,
        {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.3},
        lambda p: optim.AdamW(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3),
    ),
]


@pytest.mark.parametrize(("rule", "config", "make"), AGAINST_TORCH, ids=NAMES)
def test_walks_the_same_path_as_torch(rule: Rule, config: dict[str, Any], make: Any) -> None:
    ours, theirs = walk(rule, config), torch_walk(make)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    assert np.abs(ours - walk(rule, {}, 0)).min() > 1e-3  # every weight has moved


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        (rmsprop, lambda p: optim.RMSprop(p)),
        (adam, lambda p: optim.Adam(p)),
        (adamw, lambda p: optim.AdamW(p)),
    ],
)
def test_defaults_are_torchs(rule: Rule, make: Any) -> None:
    np.testing.assert_allclose(walk(rule, {}), torch_walk(make), rtol=0, atol=1e-12)


class TestWhereDefinitionsDiffer:
    def test_velocity_is_minus_learning_rate_times_torchs_buffer(self) -> None:
        w = torch.ones(1, dtype=torch.float64)
        optimizer = optim.SGD([w], lr=0.1, momentum=0.5)
        ours, config = np.ones(1), {"learning_rate": 0.1, "momentum": 0.5}
        for g in (1.0, -2.0, 0.5):
            w.grad = torch.full((1,), g, dtype=torch.float64)
            optimizer.step()
            ours, config = sgd_momentum(ours, np.full(1, g), config)
            assert config["velocity"] == pytest.approx(-0.1 * optimizer.state[w]["momentum_buffer"].numpy())

    def test_a_new_rate_does_not_change_the_velocity(self) -> None:
        """One gradient of 1 at rate 1, then the rate falls to 0: the ball rolls on; torch's would stand still."""
        w, config = sgd_momentum(np.zeros(1), np.ones(1), {"learning_rate": 1.0, "momentum": 0.5})
        assert w == pytest.approx([-1])
        w, _ = sgd_momentum(w, np.zeros(1), {**config, "learning_rate": 0.0})
        assert w == pytest.approx([-1.5])

    def test_dampening_would_scale_the_gradient(self) -> None:
        """With dampening d torch's buffer takes (1 - d) of each gradient but the first: here there is none of it."""
        damped = torch_walk(lambda p: optim.SGD(p, lr=0.01, momentum=0.8, dampening=0.8))
        assert np.abs(walk(sgd_momentum, {"learning_rate": 0.01, "momentum": 0.8}) - damped).max() > 1e-3

    @pytest.mark.parametrize("rule", [adagrad, rmsprop, adam])
    def test_epsilon_is_outside_the_root(self, rule: Rule) -> None:
        """A gradient of 3 whose root mean square is 3 too: 3 / (3 + 1), where inside it were 3 / sqrt(9 + 1)."""
        config = {"learning_rate": 1.0, "epsilon": 1.0} | ({"decay_rate": 0.0} if rule is rmsprop else {})
        w, _ = rule(np.zeros(1), np.full(1, 3.0), config)
        assert w == pytest.approx([-0.75])


def test_two_steps_of_adam_by_hand() -> None:
    """Gradients 1 and -1: t is raised before use, so that the first step is the whole learning rate."""
    w, config = adam(np.zeros(1), np.ones(1), {"learning_rate": 0.1, "epsilon": 0.0})
    assert (w[0], config["t"]) == (pytest.approx(-0.1), 1)
    w, config = adam(w, -np.ones(1), config)
    m, v = 0.9 * 0.1 - 0.1, 0.999 * 0.001 + 0.001
    assert w[0] == pytest.approx(-0.1 - 0.1 * (m / (1 - 0.9**2)) / math.sqrt(v / (1 - 0.999**2)))
    assert config["t"] == 2


def test_adamw_decay_does_not_pass_through_the_gradient() -> None:
    w, config = adamw(np.full(1, 2.0), np.zeros(1), {"learning_rate": 0.1, "weight_decay": 0.5})
    assert w == pytest.approx([2 - 0.1 * 0.5 * 2])
    assert config["m"] == 0


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
class TestContract:
    def test_no_config_means_the_defaults(self, rule: Rule) -> None:
        w, dw = np.ones(3), np.arange(3.0)
        first, config = rule(w, dw)
        again, completed = rule(w, dw, {})
        np.testing.assert_array_equal(first, again)
        assert list(config) == list(completed)
        assert config["learning_rate"] == (1e-3 if rule in (adam, adamw) else 1e-2)
        assert rule(w, dw)[1] is not config  # the next call does not find this one's memory

    def test_the_given_config_is_updated_and_returned(self, rule: Rule) -> None:
        given_config: dict[str, Any] = {"learning_rate": 0.5}
        _, config = rule(np.ones(3), np.ones(3), given_config)
        assert config is given_config

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_dtype_is_kept(self, rule: Rule, dtype: type) -> None:
        """Also with a gradient of another type, and with a rate drawn by NumPy, which is a float64."""
        w, config = np.ones((2, 3), dtype), {"learning_rate": np.float64(0.1)}
        for gradient_type in (np.float64, np.float32):
            w, config = rule(w, np.ones((2, 3), gradient_type), config)
            assert w.dtype == dtype
            assert {value.dtype for value in config.values() if np.ndim(value)} <= {np.dtype(dtype)}

    def test_float32_follows_float64(self, rule: Rule) -> None:
        np.testing.assert_allclose(walk(rule, {}, dtype=np.float32), walk(rule, {}), atol=1e-5)

    @given(data=st.data())
    def test_no_array_is_modified(self, rule: Rule, data: st.DataObject) -> None:
        shape = data.draw(hnp.array_shapes(max_dims=4, max_side=4))
        values = hnp.arrays(np.float64, shape, elements=st.floats(-10, 10))
        w, dw = data.draw(values), data.draw(values)
        _, config = rule(w, dw, {})
        given_arrays = [w, dw, *(value for value in config.values() if np.ndim(value))]
        before = copy.deepcopy(given_arrays)
        next_w, _ = rule(w, dw, config)
        assert next_w.shape == shape
        for array, copied in zip(given_arrays, before, strict=True):
            np.testing.assert_array_equal(array, copied)
            assert not np.shares_memory(next_w, array)

    def test_a_step_down_the_gradient(self, rule: Rule) -> None:
        w, _ = rule(np.zeros(2), np.array([1.0, -1.0]))
        assert w[0] < 0 < w[1]

    def test_a_typing_error_is_not_ignored(self, rule: Rule) -> None:
        with pytest.raises(UnknownNameError, match=f'setting of {rule.__name__} "learning_rte".*"learning_rate"'):
            rule(np.ones(2), np.ones(2), {"learning_rte": 0.1})

    def test_shapes_are_named(self, rule: Rule) -> None:
        with pytest.raises(ShapeError, match=r"dw must be of shape \(2, 3\) for w of shape \(2, 3\), got \(3, 2\)"):
            rule(np.ones((2, 3)), np.ones((3, 2)))

    def test_whole_numbers_are_refused(self, rule: Rule) -> None:
        with pytest.raises(ShapeError, match=r"w must hold floats, got int64.*astype"):
            rule(np.arange(3), np.ones(3))


def test_a_memory_of_another_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'config\["velocity"\] must be of shape \(2,\)'):
        sgd_momentum(np.ones(2), np.ones(2), {"velocity": np.zeros(3)})


def test_a_key_of_another_rule_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="momentum"):
        sgd(np.ones(2), np.ones(2), {"momentum": 0.9})
