"""Affine layer, activations and losses: against torch, central differences, scikit-learn, and numbers by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import log_loss

from cnnlab.errors import LabelError, ShapeError, UsageError
from cnnlab.scratch.layers.activation import (
    leaky_relu_backward,
    leaky_relu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from cnnlab.scratch.layers.affine import affine_backward, affine_forward
from cnnlab.scratch.layers.loss import softmax_loss, softmax_loss_naive, svm_loss, svm_loss_naive
from tests.scratch.helpers_layers import FEW, SEEDS, check_layer, normal

Array = Any


def away_from_zero(*shape: int, seed: int = 0) -> Array:
    """Values that a nudge does not carry over the kink of a relu."""
    x = np.asarray(normal(*shape, seed=seed))
    return np.where(np.abs(x) < 0.01, 0.5, x)


class TestAffine:
    @FEW
    @given(st.integers(0, 4), hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), st.integers(1, 4), SEEDS)
    def test_contract(self, n: int, inner: tuple[int, ...], m: int, seed: int) -> None:
        d = int(np.prod(inner))
        inputs = {"x": normal(n, *inner, seed=seed), "w": normal(d, m, seed=seed + 1), "b": normal(m, seed=seed + 2)}
        check_layer(affine_forward, affine_backward, inputs, lambda x, w, b: F.linear(x.flatten(1), w.T, b))

    def test_large(self) -> None:
        inputs = {"x": normal(20, 3, 8, 8), "w": normal(192, 50, seed=1), "b": normal(50, seed=2)}
        check_layer(affine_forward, affine_backward, inputs, lambda x, w, b: F.linear(x.flatten(1), w.T, b))

    def test_by_hand(self) -> None:
        x, w, b = np.array([[[1.0, 2.0]]]), np.array([[3.0, 4.0], [5.0, 6.0]]), np.array([0.5, -0.5])
        out, cache = affine_forward(x, w, b)
        assert out.tolist() == [[13.5, 15.5]]
        dx, dw, db = affine_backward(np.array([[1.0, 10.0]]), cache)
        assert dx.tolist() == [[[43.0, 65.0]]]
        assert dw.tolist() == [[1.0, 10.0], [2.0, 20.0]]
        assert db.tolist() == [1.0, 10.0]

    @pytest.mark.parametrize(
        ("x", "w", "b", "message"),
        [
            ((2, 3, 4), (11, 5), (5,), r"x of shape \(2, 3, 4\) does not fit w of shape \(11, 5\).*= 11"),
            ((12,), (12, 5), (5,), r"x of shape \(12,\) does not fit"),
            ((2, 12), (12,), (5,), r"w must be \(D, M\), got an array of shape \(12,\)"),
            ((2, 12), (12, 5), (1, 5), r"b must be of shape \(5,\) for w of shape \(12, 5\), got \(1, 5\)"),
        ],
    )
    def test_shapes(self, x: Any, w: Any, b: Any, message: str) -> None:
        with pytest.raises(ShapeError, match=message):
            affine_forward(np.zeros(x), np.zeros(w), np.zeros(b))

    def test_shape_of_dout(self) -> None:
        _, cache = affine_forward(normal(2, 3), normal(3, 4), normal(4))
        with pytest.raises(ShapeError, match=r"dout must be of shape \(2, 4\) for x of shape \(2, 3\) .*got \(4,\)"):
            affine_backward(np.zeros(4), cache)

    def test_integers_and_lists(self) -> None:
        with pytest.raises(ShapeError, match=r"x must be float32 or float64, got uint8.*x\.astype\(np\.float32\)"):
            affine_forward(np.zeros((2, 3), np.uint8), normal(3, 4), normal(4))
        with pytest.raises(ShapeError, match=r"b must be a NumPy array, got list"):
            affine_forward(normal(2, 3), normal(3, 4), [0.0] * 4)  # type: ignore[arg-type]


ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "relu": (relu_forward, relu_backward, F.relu),
    "leaky_relu": (leaky_relu_forward, leaky_relu_backward, F.leaky_relu),
    "sigmoid": (sigmoid_forward, sigmoid_backward, torch.sigmoid),
    "tanh": (tanh_forward, tanh_backward, torch.tanh),
}
EACH = pytest.mark.parametrize("name", ACTIVATIONS)


class TestActivations:
    @EACH
    @FEW
    @given(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4), SEEDS)
    def test_contract(self, name: str, shape: tuple[int, ...], seed: int) -> None:
        forward, backward, reference = ACTIVATIONS[name]
        check_layer(forward, backward, {"x": away_from_zero(*shape, seed=seed)}, reference)

    @EACH
    def test_extremes_as_in_torch(self, name: str) -> None:
        forward, backward, reference = ACTIVATIONS[name]
        x = np.array([-1e300, -800.0, -90.0, -40.0, -1e-300, -0.0, 0.0, 1e-300, 40.0, 90.0, 800.0, 1e300])
        t = torch.tensor(x, requires_grad=True)
        out, cache = forward(x)
        np.testing.assert_allclose(out, reference(t).detach().numpy(), rtol=1e-12)
        (dx,) = torch.autograd.grad(reference(t).sum(), t)
        np.testing.assert_allclose(backward(np.ones_like(x), cache), dx.numpy(), rtol=1e-12, atol=1e-300)

    @EACH
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_nan_and_infinity_show(self, name: str, dtype: Any) -> None:
        forward, backward, reference = ACTIVATIONS[name]
        x = np.array([np.nan, np.inf, -np.inf], dtype)
        out, cache = forward(x)
        np.testing.assert_array_equal(out, reference(torch.tensor(x)).numpy())
        assert np.isnan(backward(np.full(3, np.nan, dtype), cache)).all()

    @EACH
    def test_errors(self, name: str) -> None:
        forward, backward, _ = ACTIVATIONS[name]
        with pytest.raises(ShapeError, match="x must be float32 or float64, got int64"):
            forward(np.arange(3))
        _, cache = forward(normal(2, 3))
        with pytest.raises(ShapeError, match=r"dout must be of shape \(2, 3\) for x of shape \(2, 3\), got \(3,\)"):
            backward(np.zeros(3), cache)

    def test_relu_at_zero(self) -> None:
        x = np.array([0.0, -0.0, 5e-324, -5e-324])
        out, cache = relu_forward(x)
        assert out.tolist() == [0, 0, 5e-324, 0]
        assert relu_backward(np.ones(4), cache).tolist() == [0, 0, 1, 0]

    @given(st.floats(0.01, 0.99), SEEDS)
    def test_slope(self, slope: float, seed: int) -> None:
        check_layer(
            lambda x: leaky_relu_forward(x, slope),
            leaky_relu_backward,
            {"x": away_from_zero(3, 4, seed=seed)},
            lambda x: F.leaky_relu(x, slope),
        )

    def test_a_slope_of_float64_does_not_change_float32(self) -> None:
        out, cache = leaky_relu_forward(np.float32([-1, 1]), np.float64(0.1))
        assert out.dtype == leaky_relu_backward(out, cache).dtype == np.float32

    @pytest.mark.parametrize("slope", [0.0, 1.0, -0.1, float("nan")])
    def test_slope_out_of_range(self, slope: float) -> None:
        with pytest.raises(UsageError, match=f"slope must be between 0 and 1, got {slope}"):
            leaky_relu_forward(normal(3), slope)

    def test_sigmoid_by_hand(self) -> None:
        out, _ = sigmoid_forward(np.array([0.0, np.log(3), -np.log(3)]))
        np.testing.assert_allclose(out, [0.5, 0.75, 0.25], rtol=1e-15)
        small, _ = sigmoid_forward(np.array([-100.0]))
        assert small[0] == pytest.approx(np.exp(-100), rel=1e-14)  # and not 0, as 1 - sigmoid(100) would be


def labels(n: int, c: int, seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, c, n)


def softmax_reference(y: Array) -> Callable[..., Any]:
    return lambda scores: F.cross_entropy(scores, torch.tensor(y))


def svm_reference(y: Array) -> Callable[..., Any]:
    # torch divides by the number of classes as well.
    return lambda scores: F.multi_margin_loss(scores, torch.tensor(y)) * scores.shape[1]


LOSSES = {"svm": (svm_loss, svm_reference), "softmax": (softmax_loss, softmax_reference)}
EACH_LOSS = pytest.mark.parametrize("name", LOSSES)


def times(dout: Array, dx: Array) -> Array:
    return dout * dx


class TestLosses:
    @EACH_LOSS
    @FEW
    @given(st.integers(1, 6), st.integers(1, 5), SEEDS)
    def test_contract(self, name: str, n: int, c: int, seed: int) -> None:
        loss, reference = LOSSES[name]
        y = labels(n, c, seed)
        check_layer(lambda x: loss(x, y), times, {"scores": 3 * normal(n, c, seed=seed)}, reference(y))

    def test_svm_by_hand(self) -> None:
        scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
        # The right classes lag by 5.1 - 3.2 + 1 = 2.9; lead by more than 1; lag by 6.3 and 6.6.
        loss, dscores = svm_loss(scores, np.array([0, 1, 2]))
        assert loss == pytest.approx((2.9 + 0 + 12.9) / 3)
        np.testing.assert_allclose(dscores * 3, [[-1, 1, 0], [0, 0, 0], [1, 1, -2]], atol=1e-15)

    def test_softmax_by_hand(self) -> None:
        # Odds of 1 : 2 : 5 for the first row, 1 : 1 : 1 for the second.
        loss, dscores = softmax_loss(np.log([[1.0, 2.0, 5.0], [7.0, 7.0, 7.0]]), [2, 0])
        assert loss == pytest.approx((np.log(8 / 5) + np.log(3)) / 2)
        np.testing.assert_allclose(dscores * 2, [[1 / 8, 2 / 8, -3 / 8], [-2 / 3, 1 / 3, 1 / 3]], atol=1e-15)

    def test_at_the_start_of_training(self) -> None:
        scores, y = np.zeros((50, 10)), labels(50, 10, 0)
        assert softmax_loss(scores, y)[0] == pytest.approx(np.log(10))
        assert svm_loss(scores, y)[0] == pytest.approx(9)

    def test_softmax_as_in_scikit_learn(self) -> None:
        scores, y = normal(20, 4), labels(20, 4, 1)
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        assert softmax_loss(scores, y)[0] == pytest.approx(log_loss(y, probabilities, labels=range(4)), rel=1e-12)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_softmax_of_huge_scores(self, dtype: Any) -> None:
        loss, dscores = softmax_loss(np.array([[1e4, 0, -1e4], [1e4, 0, -1e4]], dtype), np.array([0, 2]))
        assert loss == 1e4  # the mean of 0 and 2e4
        assert (dscores * 2).tolist() == [[0, 0, 0], [1, 0, -1]]

    @EACH_LOSS
    @given(SEEDS, st.floats(-50, 50))
    def test_only_differences_of_scores_matter(self, name: str, seed: int, shift: float) -> None:
        loss, _ = LOSSES[name]
        scores, y = normal(5, 4, seed=seed), labels(5, 4, seed)
        np.testing.assert_allclose(loss(scores + shift, y)[0], loss(scores, y)[0], rtol=1e-12)
        np.testing.assert_allclose(loss(scores, y)[1].sum(axis=1), 0, atol=1e-15)

    @EACH_LOSS
    def test_nan_is_seen(self, name: str) -> None:
        scores = normal(3, 4)
        scores[1, 2] = np.nan
        assert np.isnan(LOSSES[name][0](scores, [0, 1, 3])[0])

    @EACH_LOSS
    def test_errors(self, name: str) -> None:
        loss, _ = LOSSES[name]
        with pytest.raises(LabelError, match=r"y\[1\] is 4, but there are 4 classes, numbered from 0 to 3"):
            loss(normal(3, 4), [0, 4, 1])
        with pytest.raises(LabelError, match=r"y\[0\] is -1"):
            loss(normal(3, 4), [-1, 0, 1])
        with pytest.raises(ShapeError, match=r"y must be of shape \(3,\) for 3 rows of scores, got \(2,\)"):
            loss(normal(3, 4), [0, 1])
        with pytest.raises(ShapeError, match="y must hold integers"):
            loss(normal(3, 4), [0.0, 1.0, 2.0])
        with pytest.raises(ShapeError, match=r"scores must be \(N, C\), got an array of shape \(4,\)"):
            loss(normal(4), [0])
        with pytest.raises(ShapeError, match=r"scores is empty, of shape \(0, 4\)"):
            loss(normal(0, 4), np.zeros(0, int))
        with pytest.raises(ShapeError, match="scores must be float32 or float64, got int64"):
            loss(np.zeros((1, 2), int), [0])


NAIVE = {
    "svm": (svm_loss_naive, svm_reference, svm_loss),
    "softmax": (softmax_loss_naive, softmax_reference, softmax_loss),
}
EACH_NAIVE = pytest.mark.parametrize("name", NAIVE)


class TestNaiveLosses:
    @EACH_NAIVE
    @FEW
    @given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.sampled_from([0.0, 0.1, 5.0]), SEEDS)
    def test_contract(self, name: str, n: int, d: int, c: int, reg: float, seed: int) -> None:
        naive, reference, _ = NAIVE[name]
        X, y = normal(n, d, seed=seed), labels(n, c, seed)
        # X has no gradient here; it takes the precision of W.
        check_layer(
            lambda W: naive(W, X.astype(W.dtype), y, reg),
            times,
            {"W": normal(d, c, seed=seed + 1)},
            lambda W: reference(y)(torch.tensor(X) @ W) + 0.5 * reg * (W**2).sum(),
        )

    @EACH_NAIVE
    def test_equals_the_vectorised_loss(self, name: str) -> None:
        naive, _, vectorised = NAIVE[name]
        W, X, y = normal(6, 4), normal(9, 6, seed=1), labels(9, 4, 2)
        loss, dW = naive(W, X, y, 0.3)
        data_loss, dscores = vectorised(X @ W, y)
        assert loss == pytest.approx(data_loss + 0.15 * (W**2).sum(), rel=1e-13)
        np.testing.assert_allclose(dW, X.T @ dscores + 0.3 * W, atol=1e-13)

    @EACH_NAIVE
    def test_nothing_is_modified(self, name: str) -> None:
        W, X, y = normal(6, 4), normal(9, 6, seed=1), labels(9, 4, 2)
        kept = W.copy(), X.copy(), y.copy()
        NAIVE[name][0](W, X, y, 0.3)
        assert all(np.array_equal(a, b) for a, b in zip((W, X, y), kept, strict=True))

    @EACH_NAIVE
    def test_nan_is_seen(self, name: str) -> None:
        X = normal(3, 2)
        X[1, 0] = np.nan
        assert np.isnan(NAIVE[name][0](normal(2, 4), X, [0, 1, 3], 0.0)[0])

    @EACH_NAIVE
    def test_errors(self, name: str) -> None:
        naive = NAIVE[name][0]
        with pytest.raises(ShapeError, match=r"X of shape \(3, 5\) does not fit W of shape \(6, 4\).*\(N, 6\)"):
            naive(normal(6, 4), normal(3, 5), [0, 1, 2], 0.0)
        with pytest.raises(LabelError, match=r"y\[2\] is 9"):
            naive(normal(6, 4), normal(3, 6), [0, 1, 9], 0.0)
        with pytest.raises(ShapeError, match=r"X of shape \(0, 6\) .* is empty"):
            naive(normal(6, 4), normal(0, 6), np.zeros(0, int), 0.0)
        with pytest.raises(ShapeError, match="X must be float32 or float64, got uint8"):
            naive(normal(6, 4), np.zeros((3, 6), np.uint8), [0, 1, 2], 0.0)
