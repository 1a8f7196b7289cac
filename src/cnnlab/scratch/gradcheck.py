"""Is a backward pass right? Compare it with what the forward pass itself says when its inputs are nudged.

A derivative is the limit of ``(f(x + h) - f(x - h)) / 2h``; with h = 1e-5 and float64 this central difference is right
to about 1e-10. It needs two forward passes per value of ``x``, so it checks gradients and never trains anything.
float32 is refused: two losses of 2.3 that differ by 1e-5 differ in no more than the last six of its 24 binary digits.
Source: CS231n, "Gradient checks" (https://cs231n.github.io/neural-networks-3/#gradcheck).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnnlab.errors import CnnlabError, ShapeError, UsageError
from cnnlab.scratch._checks import Array, expect_shape


class GradientError(CnnlabError, AssertionError):
    """A backward pass disagrees with the numerical gradient.

    Attributes:
        name: name of the input whose gradient is wrong.
        index: position in the array at which the two differ most.
        analytic: gradient of the backward pass at that position.
        numeric: central difference at that position.
    """

    def __init__(self, message: str, name: str, index: tuple[int, ...], analytic: float, numeric: float) -> None:
        self.name, self.index, self.analytic, self.numeric = name, index, analytic, numeric
        super().__init__(
            f"{message} They differ most at {name}[{', '.join(map(str, index))}]:\n"
            f"  backward pass   {analytic: .10g}\n"
            f"  numerical       {numeric: .10g}\n"
            f"  relative error  {rel_error(analytic, numeric): .3g}"
        )


def rel_error(a: Any, b: Any) -> float:
    """Return the largest ``|a - b| / max(1e-8, |a| + |b|)``: 1e-7 and less is fine, 1e-2 and more is a mistake.

    Raises:
        ShapeError: ``a`` and ``b`` differ in shape.
    """
    a, b = np.asarray(a), np.asarray(b)
    expect_shape("b", b, a.shape, f"a of shape {a.shape}")
    return float(np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)), initial=0.0))


def eval_numerical_gradient(f: Callable[[Array], Any], x: Array, h: float = 1e-5) -> Array:
    """Return the gradient of a scalar function by central differences.

    Args:
        f: function of ``x`` that returns one number. ``x`` is nudged in place, so ``f`` may as well ignore its argument
            and read the same array from elsewhere, as the loss of a net reads its parameters.
        x: float64 array of any shape; afterwards it holds exactly what it held before.
        h: half the distance between the two values of ``x``.

    Raises:
        ShapeError: ``x`` is not float64, or ``f`` does not return one number.
    """
    return eval_numerical_gradient_array(f, x, np.array(1.0), h)


def eval_numerical_gradient_array(f: Callable[[Array], Any], x: Array, dout: Array, h: float = 1e-5) -> Array:
    """Return the gradient of ``sum(f(x) * dout)`` by central differences: what a backward pass returns for ``dout``.

    Args:
        f: function of ``x`` (nudged in place, as in :func:`eval_numerical_gradient`) that returns an array.
        x: float64 array of any shape; afterwards it holds exactly what it held before.
        dout: upstream gradient, of the shape of ``f(x)``.
        h: half the distance between the two values of ``x``.

    Raises:
        ShapeError: ``x`` is not float64, or ``f(x)`` and ``dout`` differ in shape.
    """
    _expect_float64("x", x)
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        original = x[index]
        try:
            x[index] = original + h
            step, above = x[index], np.array(f(x))  # a copy: f may return x itself
            x[index] = original - h
            step, below = step - x[index], np.array(f(x))  # 2h, as rounded
        finally:
            x[index] = original
        expect_shape("f(x)", above, np.shape(dout), f"a dout of shape {np.shape(dout)}")
        gradient[index] = np.sum((above - below) * dout) / step
    return gradient


def check_gradients(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Mapping[str, Array],
    *,
    h: float = 1e-5,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    seed: int = 0,
) -> dict[str, float]:
    """Compare every value of every gradient of a layer with its central difference.

    ::

        check_gradients(affine_forward, affine_backward, {"x": x, "w": w, "b": b})
        check_gradients(lambda x: softmax_loss(x, y), lambda dout, dx: dout * dx, {"scores": scores})
        check_gradients(lambda *_: net.loss(X, y), lambda dout, g: [dout * g[name] for name in net.params], net.params)

    Args:
        forward: function called as ``forward(*inputs.values()) -> (out, cache)``, or ``(out1, out2, ..., cache)``.
        backward: function called as ``backward(dout, cache)``, or ``backward(dout1, dout2, ..., cache)``, that returns
            the gradient of each input in order; the upstream gradients are drawn at random.
        inputs: name and float64 array of each input that has a gradient; afterwards they hold what they held before.
        h: half the distance between the two values of an input.
        rtol, atol: relative and absolute tolerance: a difference of ``atol + rtol * |numerical|`` is allowed.
        seed: seed of the upstream gradients.

    Returns:
        The relative error of each gradient, by name.

    Raises:
        GradientError: a gradient is wrong; the message has both values and the position at which they differ most.
        UsageError: ``forward`` is random.
        ShapeError: an input is not float64.
    """
    outputs, dout, gradients = _run(forward, backward, inputs, np.random.default_rng(seed))
    errors = {}
    for name, x in inputs.items():
        analytic, numeric = gradients[name], eval_numerical_gradient_array(outputs, x, dout, h)
        difference = np.abs(analytic - numeric)
        wrong = ~(difference <= atol + rtol * np.abs(numeric))  # NaN is wrong too
        if wrong.any():
            at = tuple(int(i) for i in np.unravel_index(np.argmax(difference), x.shape))
            message = f"The gradient of {name} is wrong in {wrong.sum()} of {wrong.size} values."
            raise GradientError(message, name, at, float(analytic[at]), float(numeric[at]))
        errors[name] = rel_error(analytic, numeric)
    return errors


def check_directions(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Mapping[str, Array],
    *,
    directions: int = 5,
    h: float = 1e-5,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    seed: int = 0,
) -> dict[str, float]:
    """Compare slopes along random unit directions: for layers too large for :func:`check_gradients`.

    A wrong gradient almost never has the right slope along a random direction, and a slope costs two forward passes
    however many values an input has. When one is wrong, halving the direction again and again finds the position.

    Args:
        directions: number of directions for each input; the other arguments are those of :func:`check_gradients`.

    Returns:
        The largest relative error of the slopes along each input, by name.

    Raises:
        GradientError: a slope is wrong; the message has both values and the position at which they differ most.
        UsageError: ``forward`` is random.
        ShapeError: an input is not float64.
    """
    rng = np.random.default_rng(seed)
    outputs, dout, gradients = _run(forward, backward, inputs, rng)
    errors = dict.fromkeys(inputs, 0.0)
    for name, x in inputs.items():

        def slopes(direction: Array, x: Array = x, gradient: Array = gradients[name]) -> tuple[float, float]:
            # Without the zeros, so that NaN in one half of a gradient is not in the slope of the other.
            analytic = np.sum(gradient * direction, where=direction != 0)
            return float(analytic), _slope(outputs, x, direction, dout, h)

        for number in range(directions if x.size else 0):
            direction = _unit(rng.standard_normal(x.shape))
            analytic, numeric = slopes(direction)
            if not abs(analytic - numeric) <= atol + rtol * abs(numeric):
                message = (
                    f"The gradient of {name} is wrong: along random direction {number + 1} of {directions} the slope "
                    f"is {analytic:.10g} by the backward pass, {numeric:.10g} numerically."
                )
                at = _worst(slopes, direction)
                single = np.zeros(x.shape)
                single[at] = 1.0
                raise GradientError(message, name, at, *slopes(single))
            errors[name] = max(errors[name], rel_error(analytic, numeric))
    return errors


def _run(
    forward: Callable[..., Any], backward: Callable[..., Any], inputs: Mapping[str, Array], rng: np.random.Generator
) -> tuple[Callable[[Any], Array], Array, dict[str, Array]]:
    """Return a function that computes all outputs as one row, a random ``dout`` of its length, and the gradients."""
    for name, x in inputs.items():
        _expect_float64(name, x)

    def outputs(_: Any = None) -> Array:
        return np.concatenate([np.ravel(out) for out in forward(*inputs.values())[:-1]])

    *outs, cache = forward(*inputs.values())
    if not np.array_equal(outputs(), np.concatenate([np.ravel(out) for out in outs]), equal_nan=True):
        raise UsageError(
            "forward gives different results for the same inputs: fix its seed, or nothing can be compared."
        )
    douts = [np.asarray(rng.standard_normal(np.shape(out))) for out in outs]
    dout = np.concatenate([np.ravel(dout) for dout in douts])
    gradients = backward(*douts, cache)
    if not isinstance(gradients, (tuple, list)):
        gradients = (gradients,)
    if len(gradients) != len(inputs):
        raise ShapeError(
            f"backward gives {len(gradients)} gradients, but there are {len(inputs)} inputs: {list(inputs)}."
        )
    by_name = dict(zip(inputs, gradients, strict=True))
    for name, gradient in by_name.items():
        expect_shape(f"The gradient of {name}", gradient, inputs[name].shape, f"{name} of that shape")
    return outputs, dout, by_name


def _slope(f: Callable[[Array], Array], x: Array, direction: Array, dout: Array, h: float) -> float:
    original = x.copy()
    try:
        x[...] = original + h * direction
        above = f(x)
        x[...] = original - h * direction
        below = f(x)
    finally:
        x[...] = original
    return float(np.sum((above - below) * dout) / (2 * h))


def _worst(slopes: Callable[[Array], tuple[float, float]], direction: Array) -> tuple[int, ...]:
    """Return the index that is left when ``direction`` is halved again and again and the half with more error stays."""
    positions = np.arange(direction.size)
    while len(positions) > 1:
        halves, differences = np.array_split(positions, 2), []
        for half in halves:
            part = np.zeros(direction.size)
            part[half] = direction.flat[half]
            analytic, numeric = slopes(_unit(part.reshape(direction.shape)))
            differences.append(abs(analytic - numeric))
        positions = halves[int(np.argmax(differences))]  # NaN counts as the largest
    return tuple(int(i) for i in np.unravel_index(positions[0], direction.shape))


def _unit(direction: Array) -> Array:
    return direction / np.linalg.norm(direction)


def _expect_float64(name: str, x: Array) -> None:
    if not isinstance(x, np.ndarray) or x.dtype != np.float64:
        kind = f"{x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise ShapeError(
            f"{name} is {kind}; a gradient check needs a float64 array, because in fewer digits the difference of two "
            f"nearly equal numbers is noise. Use {name}.astype(np.float64), or dtype=np.float64 for a net."
        )
