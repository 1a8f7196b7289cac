"""RNN and LSTM against torch's own, central differences and numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cnnlab.errors import ShapeError
from cnnlab.scratch.layers.lstm import lstm_backward, lstm_forward, lstm_step_backward, lstm_step_forward
from cnnlab.scratch.layers.rnn import rnn_backward, rnn_forward, rnn_step_backward, rnn_step_forward
from tests.scratch.helpers_layers import check_layer
from tests.scratch.helpers_recurrent import torch_lstm, torch_lstm_from_zero, torch_rnn

Array = npt.NDArray[Any]
sizes = st.integers(1, 4)


def arrays(N: int, T: int | None, D: int, H: int, gates: int, seed: int) -> dict[str, Array]:
    """Inputs of a layer, or of a step where ``T`` is None."""
    rng = np.random.default_rng(seed)
    shapes = {
        "x": (N, D) if T is None else (N, T, D),
        "h0": (N, H),
        "Wx": (D, gates * H),
        "Wh": (H, gates * H),
        "b": (gates * H,),
    }
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


class TestEqualsTorch:
    """Values, every gradient, central differences, types, inputs untouched (``check_layer``)."""

    @settings(max_examples=30, deadline=None)
    @given(sizes, sizes, sizes, st.integers(0, 99))
    def test_rnn_step(self, N: int, D: int, H: int, seed: int) -> None:
        def reference(x: Tensor, h: Tensor, *weights: Tensor) -> Tensor:
            return torch_rnn(x[:, None], h, *weights)[:, 0]

        check_layer(rnn_step_forward, rnn_step_backward, arrays(N, None, D, H, 1, seed), reference)

    @settings(max_examples=30, deadline=None)
    @given(sizes, st.integers(1, 6), sizes, sizes, st.integers(0, 99))
    def test_rnn(self, N: int, T: int, D: int, H: int, seed: int) -> None:
        check_layer(rnn_forward, rnn_backward, arrays(N, T, D, H, 1, seed), torch_rnn)

    @settings(max_examples=30, deadline=None)
    @given(sizes, sizes, sizes, st.integers(0, 99))
    def test_lstm_step(self, N: int, D: int, H: int, seed: int) -> None:
        def reference(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
            states, cell = torch_lstm(x[:, None], h, c, *weights)
            return states[:, 0], cell

        x, h, *weights = arrays(N, None, D, H, 4, seed).values()
        c = np.random.default_rng(seed + 100).standard_normal((N, H))
        inputs = dict(zip(("x", "prev_h", "prev_c", "Wx", "Wh", "b"), (x, h, c, *weights), strict=True))
        check_layer(lstm_step_forward, lstm_step_backward, inputs, reference)

    @settings(max_examples=30, deadline=None)
    @given(sizes, st.integers(1, 6), sizes, sizes, st.integers(0, 99))
    def test_lstm(self, N: int, T: int, D: int, H: int, seed: int) -> None:
        check_layer(lstm_forward, lstm_backward, arrays(N, T, D, H, 4, seed), torch_lstm_from_zero)

    @pytest.mark.parametrize(
        ("gates", "forward", "backward", "reference"),
        [
            (1, rnn_forward, rnn_backward, torch_rnn),
            (4, lstm_forward, lstm_backward, torch_lstm_from_zero),
        ],
    )
    def test_a_long_sequence(
        self, gates: int, forward: Callable[..., Any], backward: Callable[..., Any], reference: Callable[..., Any]
    ) -> None:
        inputs = arrays(8, 30, 12, 16, gates, seed=0)
        inputs["Wh"] /= 4  # otherwise the gradients of 30 steps grow beyond what can be compared
        check_layer(forward, backward, inputs, reference, rtol=1e-10, numeric=False)


class TestByHand:
    def test_an_rnn_of_one_number(self) -> None:
        one = np.ones((1, 1))
        h, cache = rnn_forward(np.array([[[1.0], [0.0]]]), 0 * one, 0.5 * one, 2 * one, np.array([0.0]))
        # tanh(0.5) = 0.462117, then tanh(2 * 0.462117) = tanh(0.924234) = 0.727894
        np.testing.assert_allclose(h.ravel(), [0.462117, 0.727894], atol=1e-6)
        dx, dh0, dWx, dWh, db = rnn_backward(np.array([[[0.0], [1.0]]]), cache)
        # Back through the second tanh: 1 - 0.727894² = 0.470170; times Wh = 2 and 1 - 0.462117² = 0.786448: 0.739528.
        np.testing.assert_allclose(dx.ravel(), [0.5 * 0.739528, 0.5 * 0.470170], atol=1e-6)
        np.testing.assert_allclose(dh0, [[2 * 0.739528]], atol=1e-6)
        np.testing.assert_allclose(dWx, [[1 * 0.739528 + 0 * 0.470170]], atol=1e-6)
        np.testing.assert_allclose(dWh, [[0 * 0.739528 + 0.462117 * 0.470170]], atol=1e-6)
        np.testing.assert_allclose(db, [0.739528 + 0.470170], atol=1e-6)

    def test_an_lstm_step_of_one_number(self) -> None:
        # The gates see the bias alone: sigmoid(±log 3) = 3/4 and 1/4, sigmoid(0) = 1/2, tanh(1) = 0.761594.
        nothing = np.zeros((1, 1))
        b = np.array([np.log(3), 0, -np.log(3), 1])
        h, c, _ = lstm_step_forward(nothing, nothing, np.array([[2.0]]), np.zeros((1, 4)), np.zeros((1, 4)), b)
        np.testing.assert_allclose(c, [[1 / 2 * 2 + 3 / 4 * 0.761594]], atol=1e-6)  # f c + i g = 1.571196
        np.testing.assert_allclose(h, [[1 / 4 * 0.917216]], atol=1e-6)  # o tanh(1.571196)

    def test_an_open_forget_gate_keeps_the_cell_for_ever(self) -> None:
        """The point of the forget gate: with f = 1 and i = 0 neither the cell nor its gradient changes."""
        rng = np.random.default_rng(0)
        b = np.repeat([-100.0, 100.0, 0.0, 0.0], 3)
        x, h, kept = rng.standard_normal((2, 5)), np.zeros((2, 3)), rng.standard_normal((2, 3))
        Wx, Wh = rng.standard_normal((5, 12)), rng.standard_normal((3, 12))
        c, caches = kept, []
        for _ in range(50):
            h, c, cache = lstm_step_forward(x, h, c, Wx, Wh, b)
            caches.append(cache)
        np.testing.assert_allclose(c, kept, rtol=1e-12)
        dc = np.ones((2, 3))
        for cache in reversed(caches):
            _, _, dc, *_ = lstm_step_backward(np.zeros((2, 3)), dc, cache)
        np.testing.assert_allclose(dc, 1, rtol=1e-12)


class TestSequences:
    """A sequence is its steps, one after the other."""

    @given(sizes, st.integers(0, 5), sizes, sizes, st.integers(0, 99))
    def test_rnn_is_a_loop_of_steps(self, N: int, T: int, D: int, H: int, seed: int) -> None:
        x, h0, Wx, Wh, b = arrays(N, T, D, H, 1, seed).values()
        h, _ = rnn_forward(x, h0, Wx, Wh, b)
        assert h.shape == (N, T, H)
        state = h0
        for t in range(T):
            state, _ = rnn_step_forward(x[:, t], state, Wx, Wh, b)
            np.testing.assert_allclose(h[:, t], state, rtol=1e-12, atol=1e-14)

    @given(sizes, st.integers(0, 5), sizes, sizes, st.integers(0, 99))
    def test_lstm_is_a_loop_of_steps_from_a_cell_of_zeros(self, N: int, T: int, D: int, H: int, seed: int) -> None:
        x, h0, Wx, Wh, b = arrays(N, T, D, H, 4, seed).values()
        h, _ = lstm_forward(x, h0, Wx, Wh, b)
        assert h.shape == (N, T, H)
        state, cell = h0, np.zeros_like(h0)
        for t in range(T):
            state, cell, _ = lstm_step_forward(x[:, t], state, cell, Wx, Wh, b)
            np.testing.assert_allclose(h[:, t], state, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize(
        ("gates", "forward", "backward"), [(1, rnn_forward, rnn_backward), (4, lstm_forward, lstm_backward)]
    )
    def test_no_steps(self, gates: int, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        inputs = arrays(2, 0, 3, 4, gates, seed=0)
        h, cache = forward(*inputs.values())
        for gradient, given_array in zip(backward(h, cache), inputs.values(), strict=True):
            np.testing.assert_array_equal(gradient, np.zeros_like(given_array))

    @pytest.mark.parametrize("sign", [-1, 1])
    def test_large_sums_do_not_overflow(self, sign: int) -> None:
        x, h0, Wx, Wh, b = arrays(2, 3, 4, 5, 4, seed=0).values()
        h, cache = lstm_forward(x.astype(np.float32), h0, Wx, Wh, b + sign * 1e5)
        assert np.isfinite(h).all()
        assert all(np.isfinite(gradient).all() for gradient in lstm_backward(np.ones_like(h), cache))


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "shape", "message"),
        [
            ("x", (2, 5), r"x must be \(N, T, D\), got an array of shape \(2, 5\)"),
            ("h0", (3, 4), r"h0 must be of shape \(2, 4\) for x of shape \(2, 6, 3\), got \(3, 4\)"),
            ("h0", (4,), r"h0 must be \(N, H\), got an array of shape \(4,\)"),
            ("Wx", (4, 3), r"Wx must be of shape \(3, 4\) for x of shape \(2, 6, 3\) and h0 .*\(2, 4\), got \(4, 3\)"),
            ("Wh", (4, 16), r"Wh must be of shape \(4, 4\) .* got \(4, 16\)"),
            ("b", (3,), r"b must be of shape \(4,\) .* got \(3,\)"),
        ],
    )
    def test_rnn(self, name: str, shape: tuple[int, ...], message: str) -> None:
        inputs = arrays(2, 6, 3, 4, 1, seed=0) | {name: np.zeros(shape)}
        with pytest.raises(ShapeError, match=message):
            rnn_forward(*inputs.values())

    def test_integers(self) -> None:
        """They would be rounded towards zero when the states are stored."""
        x, h0, Wx, Wh, b = arrays(2, 6, 3, 4, 1, seed=0).values()
        with pytest.raises(ShapeError, match=r"h0 must be float32 or float64, got int64"):
            rnn_forward(x, h0.astype(int), Wx, Wh, b)

    def test_lstm(self) -> None:
        x, h0, Wx, Wh, b = arrays(2, 6, 3, 4, 4, seed=0).values()
        with pytest.raises(ShapeError, match=r"Wx must be of shape \(3, 16\) .* got \(3, 4\)"):
            lstm_forward(x, h0, Wx[:, :4], Wh, b)
        with pytest.raises(ShapeError, match=r"x must be \(N, T, D\)"):
            lstm_forward(x[0], h0, Wx, Wh, b)

    def test_steps(self) -> None:
        x, h, Wx, Wh, b = arrays(2, None, 3, 4, 4, seed=0).values()
        with pytest.raises(
            ShapeError, match=r"prev_c must be of shape \(2, 4\) for prev_h of shape \(2, 4\), got \(1, 4\)"
        ):
            lstm_step_forward(x, h, h[:1], Wx, Wh, b)
        with pytest.raises(ShapeError, match=r"prev_h must be of shape \(2, 4\) for x of shape \(2, 3\), got \(1, 4\)"):
            rnn_step_forward(x, h[:1], Wx[:, :4], Wh[:, :4], b[:4])
        with pytest.raises(ShapeError, match=r"x must be \(N, D\)"):
            rnn_step_forward(x[None], h, Wx[:, :4], Wh[:, :4], b[:4])
        with pytest.raises(ShapeError, match=r"x must be \(N, D\)"):
            lstm_step_forward(x[None], h, h, Wx, Wh, b)

    def test_upstream_gradients(self) -> None:
        x, h, Wx, Wh, b = arrays(2, 6, 3, 4, 1, seed=0).values()
        _, cache = rnn_forward(x, h, Wx, Wh, b)
        with pytest.raises(
            ShapeError, match=r"dh must be of shape \(2, 6, 4\) for 6 states of shape \(2, 4\), got \(2, 4\)"
        ):
            rnn_backward(h, cache)
        _, cache = rnn_step_forward(x[:, 0], h, Wx, Wh, b)
        with pytest.raises(ShapeError, match=r"dnext_h must be of shape \(2, 4\) .* got \(2, 6, 4\)"):
            rnn_step_backward(np.zeros((2, 6, 4)), cache)
        x, h, Wx, Wh, b = arrays(2, 6, 3, 4, 4, seed=0).values()
        _, cache = lstm_forward(x, h, Wx, Wh, b)
        with pytest.raises(ShapeError, match=r"dh must be of shape \(2, 6, 4\)"):
            lstm_backward(h, cache)
        _, _, cache = lstm_step_forward(x[:, 0], h, h, Wx, Wh, b)
        with pytest.raises(
            ShapeError, match=r"dnext_c must be of shape \(2, 4\) for a cell of shape \(2, 4\), got \(2, 3\)"
        ):
            lstm_step_backward(h, h[:, :3], cache)
        with pytest.raises(ShapeError, match=r"dnext_h must be of shape \(2, 4\)"):
            lstm_step_backward(h[:, :3], h, cache)
