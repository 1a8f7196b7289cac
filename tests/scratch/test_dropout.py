"""Dropout: which values stay, what they become, and that seeds do what the course's notebooks expect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnnlab.errors import ShapeError, UnknownNameError, UsageError
from cnnlab.scratch.layers.dropout import dropout_backward, dropout_forward
from tests.scratch.helpers_layers import check_layer, normal

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
KEEP = st.floats(0.05, 1)


@settings(max_examples=40, deadline=None)
@given(SHAPES, KEEP, st.integers(0, 999))
def test_contract_in_training(shape: tuple[int, ...], keep_prob: float, seed: int) -> None:
    np.random.seed(seed)
    factor = torch.tensor((np.random.rand(*shape) < keep_prob) / keep_prob)
    check_layer(
        lambda x: dropout_forward(x, {"mode": "train", "keep_prob": keep_prob, "seed": seed}),
        dropout_backward,
        {"x": normal(*shape, seed=seed)},
        lambda x: x * factor,
    )


@settings(max_examples=20, deadline=None)
@given(SHAPES, KEEP)
def test_contract_in_test_mode(shape: tuple[int, ...], keep_prob: float) -> None:
    check_layer(
        lambda x: dropout_forward(x, {"mode": "test", "keep_prob": keep_prob}),
        dropout_backward,
        {"x": normal(*shape)},
        lambda x: x.clone(),
    )


@pytest.mark.parametrize("keep_prob", [0.25, 0.4, 0.7, 1])
def test_the_mean_stays(keep_prob: float) -> None:
    x = np.full((500, 500), 10.0)
    out, _ = dropout_forward(x, {"mode": "train", "keep_prob": keep_prob, "seed": 0})
    spread = 10 * ((1 - keep_prob) / keep_prob) ** 0.5 / 500  # of the mean of 250,000 values
    assert abs(out.mean() - 10) <= 4 * spread
    assert abs((out == 0).mean() - (1 - keep_prob)) < 0.005
    assert {float(value) for value in np.unique(out)} <= {0.0, 10 / keep_prob}


def test_seed_reseeds_every_call() -> None:
    x, param = np.ones((6, 7)), {"mode": "train", "keep_prob": 0.5, "seed": 123}
    first, second = dropout_forward(x, param)[0], dropout_forward(x, param)[0]
    assert np.array_equal(first, second)
    np.random.seed(123)
    assert np.array_equal(first, (np.random.rand(6, 7) < 0.5) / 0.5)


@pytest.mark.parametrize("param", [{}, {"seed": None}])
def test_without_a_seed_the_global_stream_goes_on(param: dict[str, Any]) -> None:
    param = {"mode": "train", "keep_prob": 0.5, **param}
    np.random.seed(7)
    first, second = dropout_forward(np.ones(50), param)[0], dropout_forward(np.ones(50), param)[0]
    assert not np.array_equal(first, second)
    np.random.seed(7)
    assert np.array_equal(np.concatenate([first, second]), (np.random.rand(100) < 0.5) / 0.5)


def test_seed_zero_is_a_seed() -> None:
    param = {"mode": "train", "keep_prob": 0.5, "seed": 0}
    assert np.array_equal(dropout_forward(np.ones(50), param)[0], dropout_forward(np.ones(50), param)[0])


def test_test_mode_draws_nothing() -> None:
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    dropout_forward(np.ones(50), {"mode": "test", "keep_prob": 0.5, "seed": 11})
    assert np.random.rand() == expected


def test_a_keep_prob_of_float64_does_not_change_float32() -> None:
    out, cache = dropout_forward(np.ones(5, np.float32), {"mode": "train", "keep_prob": np.float64(0.5)})
    assert out.dtype == dropout_backward(out, cache).dtype == np.float32


def test_nan_is_seen() -> None:
    out, _ = dropout_forward(np.full(20, np.nan), {"mode": "train", "keep_prob": 0.5, "seed": 0})
    assert np.isnan(out).all()  # NaN times 0 is NaN


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("keep_prob", [0, -0.1, 1.1, float("nan"), None])
def test_keep_prob_out_of_range(mode: str, keep_prob: Any) -> None:
    with pytest.raises(UsageError, match=f"keep_prob.* must be above 0 and at most 1, got {keep_prob}"):
        dropout_forward(np.ones(3), {"mode": mode, "keep_prob": keep_prob})


def test_errors() -> None:
    with pytest.raises(UsageError, match=r"keep_prob.* got None"):
        dropout_forward(np.ones(3), {"mode": "train"})
    with pytest.raises(UnknownNameError, match=r'no mode "eval"\..* Known: test, train.*dropout_param\["mode"\]'):
        dropout_forward(np.ones(3), {"mode": "eval", "keep_prob": 0.5})
    with pytest.raises(UnknownNameError, match=r'no key "keep_prop"\. Did you mean "keep_prob"\?'):
        dropout_forward(np.ones(3), {"mode": "train", "keep_prop": 0.5})
    with pytest.raises(ShapeError, match="x must be float32 or float64, got int64"):
        dropout_forward(np.ones(3, int), {"mode": "train", "keep_prob": 0.5})
    for mode in ("train", "test"):
        _, cache = dropout_forward(np.ones((2, 3)), {"mode": mode, "keep_prob": 0.5})
        with pytest.raises(ShapeError, match=r"dout must be of shape \(2, 3\) for x of shape \(2, 3\), got \(3,\)"):
            dropout_backward(np.ones(3), cache)


def test_the_course_s_name_of_keep_prob() -> None:
    x = np.ones((6, 7))
    ours, theirs = (dropout_forward(x, {"mode": "train", key: 0.3, "seed": 5})[0] for key in ("keep_prob", "p"))
    assert np.array_equal(ours, theirs)
    with pytest.raises(UsageError, match="both keep_prob and p"):
        dropout_forward(x, {"mode": "train", "keep_prob": 0.3, "p": 0.3})
