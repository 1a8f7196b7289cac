"""Gradient checks on functions whose gradient is known, and on backward passes that are wrong on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnnlab.errors import CnnlabError, ShapeError, UsageError
from cnnlab.scratch.gradcheck import (
    GradientError,
    check_directions,
    check_gradients,
    eval_numerical_gradient,
    eval_numerical_gradient_array,
    rel_error,
)
from cnnlab.scratch.layers.affine import affine_backward, affine_forward
from cnnlab.scratch.layers.loss import softmax_loss
from tests.scratch.helpers_layers import normal

BOTH = pytest.mark.parametrize("check", [check_gradients, check_directions])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, max_side=4)


class TestNumericalGradient:
    @given(SHAPES, st.integers(0, 99))
    def test_of_a_sum_of_sines_is_the_cosine(self, shape: tuple[int, ...], seed: int) -> None:
        x = np.asarray(normal(*shape, seed=seed))
        gradient = eval_numerical_gradient(lambda x: np.sin(x).sum(), x)
        assert gradient.shape == x.shape
        np.testing.assert_allclose(gradient, np.cos(x), atol=1e-9)

    @given(SHAPES, st.integers(0, 99))
    def test_array_valued(self, shape: tuple[int, ...], seed: int) -> None:
        x, dout = np.asarray(normal(*shape, seed=seed)), np.asarray(normal(*shape, seed=seed + 1))
        gradient = eval_numerical_gradient_array(lambda x: x**3, x, dout)
        np.testing.assert_allclose(gradient, 3 * x**2 * dout, atol=1e-8)

    def test_h_is_the_half_distance(self) -> None:
        # (x + h)^3 - (x - h)^3 = 6 x^2 h + 2 h^3, divided by 2 h: h^2 too much.
        assert eval_numerical_gradient(lambda x: (x**3).sum(), np.ones(1), h=0.5)[0] == pytest.approx(3.25)

    def test_x_is_restored_bit_for_bit(self) -> None:
        x = normal(4, 5) * 10.0 ** np.arange(-8, 12, 4)
        kept = x.copy()
        eval_numerical_gradient(lambda x: (x**2).sum(), x)
        assert np.array_equal(x, kept)

    def test_x_is_restored_after_an_error(self) -> None:
        x = normal(3)
        kept = x.copy()
        with pytest.raises(ZeroDivisionError):
            eval_numerical_gradient(lambda x: 1 // 0, x)
        assert np.array_equal(x, kept)

    def test_f_may_read_the_array_from_elsewhere(self) -> None:
        params = {"w": normal(2, 3)}
        gradient = eval_numerical_gradient(lambda _: (params["w"] ** 2).sum(), params["w"])
        np.testing.assert_allclose(gradient, 2 * params["w"], atol=1e-9)

    def test_f_may_return_x_itself(self) -> None:
        x, dout = normal(2, 3), normal(2, 3, seed=1)
        np.testing.assert_allclose(eval_numerical_gradient_array(lambda x: x, x, dout), dout, rtol=1e-9)

    def test_a_view_is_enough(self) -> None:
        whole = normal(4, 6)
        view = whole[::2, ::-3].T
        np.testing.assert_allclose(eval_numerical_gradient(lambda _: (whole**2).sum(), view), 2 * view, atol=1e-9)

    def test_large_values_round_x_plus_h(self) -> None:
        # At 1e6 the neighbours of a float64 are 1e-10 apart: a divisor of exactly 2h would be off by 1e-5.
        x = np.array([1e6 + 1 / 3])
        assert eval_numerical_gradient(lambda x: x.sum(), x)[0] == 1.0

    @pytest.mark.parametrize(
        ("x", "kind"), [(np.zeros(2, np.float32), "float32"), (np.arange(2), "int"), ([1.0], "list")]
    )
    def test_needs_float64(self, x: Any, kind: str) -> None:
        with pytest.raises(ShapeError, match=rf"x is {kind}.*float64 array.*x\.astype\(np\.float64\)"):
            eval_numerical_gradient(np.sum, x)

    def test_one_number_or_the_shape_of_dout(self) -> None:
        with pytest.raises(ShapeError, match=r"f\(x\) must be of shape \(\).*got \(2,\)"):
            eval_numerical_gradient(lambda x: x, np.zeros(2))
        with pytest.raises(ShapeError, match=r"f\(x\) must be of shape \(1, 2\).*got \(2,\)"):
            eval_numerical_gradient_array(lambda x: x, np.zeros(2), np.zeros((1, 2)))


class TestRelError:
    def test_by_hand(self) -> None:
        assert rel_error(np.array([1.0, 2.0]), np.array([1.0, 3.0])) == pytest.approx(1 / 5)
        assert rel_error(1e-12, -1e-12) == pytest.approx(2e-4)  # below 1e-8 it is absolute
        assert rel_error(0.0, 0.0) == 0
        assert rel_error(np.zeros((0, 3)), np.zeros((0, 3))) == 0

    def test_nan_is_not_hidden(self) -> None:
        assert np.isnan(rel_error([1.0, np.nan], [1.0, 1.0]))

    def test_shapes_are_not_stretched(self) -> None:
        with pytest.raises(ShapeError, match=r"\(1, 3\), got \(3,\)"):
            rel_error(np.zeros((1, 3)), np.zeros(3))


def affine_inputs(n: int = 3, d: int = 4, m: int = 2) -> dict[str, Any]:
    return {"x": normal(n, d), "w": normal(d, m, seed=1), "b": normal(m, seed=2)}


def breaking(place: tuple[int, ...], factor: float) -> Any:
    """Return an affine backward pass whose dw is wrong in one place."""

    def backward(dout: Any, cache: Any) -> Any:
        dx, dw, db = affine_backward(dout, cache)
        dw[place] *= factor
        return dx, dw, db

    return backward


class TestChecks:
    @BOTH
    def test_right(self, check: Any) -> None:
        inputs = affine_inputs()
        kept = {name: x.copy() for name, x in inputs.items()}
        errors = check(affine_forward, affine_backward, inputs)
        assert list(errors) == ["x", "w", "b"]
        assert max(errors.values()) < 1e-7
        assert all(np.array_equal(inputs[name], kept[name]) for name in kept)

    @BOTH
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 3), st.integers(0, 1), st.sampled_from([0.0, -1.0, 1.01, float("nan")]), st.integers(0, 9))
    def test_one_wrong_value_is_found(self, check: Any, row: int, column: int, factor: float, seed: int) -> None:
        inputs = affine_inputs()
        with pytest.raises(GradientError) as caught:
            check(affine_forward, breaking((row, column), factor), inputs, seed=seed)
        error = caught.value
        assert (error.name, error.index) == ("w", (row, column))
        assert error.analytic == pytest.approx(error.numeric * factor, rel=1e-6, nan_ok=True)

    def test_message(self) -> None:
        with pytest.raises(GradientError) as caught:
            check_gradients(affine_forward, breaking((2, 1), 3.0), affine_inputs())
        error = caught.value
        assert str(error) == (
            "The gradient of w is wrong in 1 of 8 values. They differ most at w[2, 1]:\n"
            f"  backward pass   {error.analytic: .10g}\n"
            f"  numerical       {error.numeric: .10g}\n"
            "  relative error   0.5"  # |3 - 1| / (3 + 1)
        )

    def test_message_of_a_direction(self) -> None:
        with pytest.raises(GradientError, match=r"gradient of w .* direction 1 of 5 the slope is .* at w\[2, 1\]:\n"):
            check_directions(affine_forward, breaking((2, 1), 2.0), affine_inputs())
        assert issubclass(GradientError, AssertionError)
        assert issubclass(GradientError, CnnlabError)

    def test_place_in_a_large_layer(self) -> None:
        with pytest.raises(GradientError, match=r"at w\[123, 45\]"):
            check_directions(affine_forward, breaking((123, 45), 1.5), affine_inputs(8, 300, 100))

    @BOTH
    def test_several_outputs(self, check: Any) -> None:
        def forward(x: Any) -> Any:
            return np.sin(x), x.sum(axis=0) ** 2, x

        def backward(dsin: Any, dsquare: Any, x: Any) -> Any:
            return dsin * np.cos(x) + 2 * dsquare * x.sum(axis=0)

        check(forward, backward, {"x": normal(3, 2)})
        with pytest.raises(GradientError):
            check(forward, lambda a, b, x: a * np.cos(x), {"x": normal(3, 2)})

    @BOTH
    def test_losses_and_parameters_in_place(self, check: Any) -> None:
        y = np.array([0, 2, 1])
        check(lambda x: softmax_loss(x, y), lambda dout, dx: dout * dx, {"scores": normal(3, 3)})
        params = {"w": normal(4, 3), "b": normal(3)}

        def loss(*_: Any) -> Any:
            scores, cache = affine_forward(normal(3, 4), params["w"], params["b"])
            value, dscores = softmax_loss(scores, y)
            return value, dict(zip(("x", "w", "b"), affine_backward(dscores, cache), strict=True))

        check(loss, lambda dout, gradients: [dout * gradients[name] for name in params], params)

    @BOTH
    def test_empty_inputs_have_nothing_to_check(self, check: Any) -> None:
        errors = check(affine_forward, affine_backward, affine_inputs(n=0))
        assert errors["x"] == 0

    @BOTH
    def test_random_forward_pass(self, check: Any) -> None:
        rng = np.random.default_rng(0)
        with pytest.raises(UsageError, match="different results for the same inputs: fix its seed"):
            check(lambda x: (x * rng.random(3), None), lambda dout, _: dout, {"x": np.ones(3)})

    @BOTH
    def test_gradients_that_do_not_fit(self, check: Any) -> None:
        with pytest.raises(ShapeError, match=r"backward gives 1 gradients, but there are 3 inputs: \['x', 'w', 'b'\]"):
            check(affine_forward, lambda dout, cache: dout, affine_inputs())
        with pytest.raises(ShapeError, match=r"gradient of x must be of shape \(3,\).*got \(1, 3\)"):
            check(lambda x: (x, None), lambda dout, _: dout[None], {"x": np.ones(3)})

    @BOTH
    def test_needs_float64(self, check: Any) -> None:
        inputs = affine_inputs() | {"b": np.zeros(2, np.float32)}
        with pytest.raises(ShapeError, match="b is float32"):
            check(affine_forward, affine_backward, inputs)

    def test_tolerances(self) -> None:
        slightly = breaking((0, 0), 1 + 1e-4)
        check_gradients(affine_forward, slightly, affine_inputs(), rtol=1e-3)
        check_gradients(affine_forward, slightly, affine_inputs(), atol=1e-2)
        with pytest.raises(GradientError):
            check_gradients(affine_forward, slightly, affine_inputs())
