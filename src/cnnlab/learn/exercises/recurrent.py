"""Steps of recurrent layers: the plain one and the LSTM, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.properties import add_numerical_gradients, nearly
from cnnlab.learn.runs import Array
from cnnlab.scratch.gradcheck import eval_numerical_gradient_array
from cnnlab.scratch.layers.lstm import lstm_step_backward, lstm_step_forward
from cnnlab.scratch.layers.rnn import rnn_step_backward, rnn_step_forward

_CHAPTER = "Sequences"
_SIZES = ((3, 4, 2), (1, 2, 3), (4, 3, 3))  # N, D, H


def _rnn_inputs(random: np.random.Generator, gates: int = 1) -> Iterator[list[Array]]:
    for N, D, H in _SIZES:
        shapes = [(N, D), (N, H)] + [(N, H)] * (gates > 1) + [(D, gates * H), (H, gates * H), (gates * H,)]
        yield [0.7 * random.normal(size=shape) for shape in shapes]


rnn_forward = add(
    Exercise(
        "cnnlab.scratch.layers.rnn:rnn_step_forward",
        title="a step of a recurrent network",
        chapter=_CHAPTER,
        order=6.0,
        outputs=("next_h", "cache"),
        note="The cache is your own affair.",
        hints=(
            "Two products and the biases are added up, then one tanh squashes the sum.",
            "next_h = tanh(x @ Wx + prev_h @ Wh + b)",
        ),
    )
)


@rnn_forward.cases
def rnn_forward_cases(random: np.random.Generator) -> Iterator[Case]:
    for inputs in _rnn_inputs(random):
        yield Case(*inputs, about="one sequence" if len(inputs[0]) == 1 else "")


@rnn_forward.property("Without weights the state is tanh(b) for every sequence.")
def only_bias(answer: Function, case: Case) -> bool:
    x, prev_h, Wx, Wh, b = case.arguments
    return is_close(answer(x, prev_h, 0 * Wx, 0 * Wh, b), np.tile(np.tanh(b), (len(x), 1)))


@rnn_forward.property("The states lie between -1 and 1.")
def bounded(answer: Function, case: Case) -> bool:
    x, prev_h, *rest = case.arguments
    return bool((np.abs(answer(50 * x, prev_h, *rest)) <= 1).all())


@rnn_forward.mistake("The tanh is missing.")
def without_tanh(x: Array, prev_h: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return x @ Wx + prev_h @ Wh + b, None


@rnn_forward.mistake("The biases are not added.")
def rnn_without_bias(x: Array, prev_h: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return rnn_step_forward(x, prev_h, Wx, Wh, 0 * b)


@rnn_forward.mistake("Wh is transposed: the state before is multiplied from the left, prev_h @ Wh.")
def wh_transposed(x: Array, prev_h: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return rnn_step_forward(x, prev_h, Wx, Wh.T, b)


@rnn_forward.mistake("The state before the step is not used: add prev_h @ Wh.")
def state_ignored(x: Array, prev_h: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return rnn_step_forward(x, 0 * prev_h, Wx, Wh, b)


@rnn_forward.mistake("The sum goes through a sigmoid; this layer has a tanh.")
def sigmoid_for_tanh(x: Array, prev_h: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return 1 / (1 + np.exp(-(x @ Wx + prev_h @ Wh + b))), None


@rnn_forward.mistake("The state before is added as it is, without its weights Wh.")
def state_unweighted(x: Array, prev_h: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return np.tanh(x @ Wx + prev_h + b), None


@rnn_forward.mistake("Each part has a tanh of its own; add them up first, then take one tanh.")
def several_tanh(x: Array, prev_h: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return np.tanh(x @ Wx) + np.tanh(prev_h @ Wh) + b, None


rnn_backward = add(
    Exercise(
        "cnnlab.scratch.layers.rnn:rnn_step_backward",
        title="gradients of a recurrent step",
        chapter=_CHAPTER,
        order=6.1,
        outputs=("dx", "dprev_h", "dWx", "dWh", "db"),
        note="The cache is (x, prev_h, Wx, Wh, next_h).",
        hints=(
            "First go back through tanh: its slope is 1 - tanh**2, and tanh of the sum is next_h.",
            "da = dnext_h * (1 - next_h**2); the rest is two affine layers that share da.",
        ),
    )
)


@rnn_backward.cases
def rnn_backward_cases(random: np.random.Generator) -> Iterator[Case]:
    for inputs in _rnn_inputs(random):
        next_h, cache = rnn_step_forward(*inputs)
        yield Case(random.normal(size=next_h.shape), cache, inputs=inputs)


add_numerical_gradients(rnn_backward, lambda case, *inputs: rnn_step_forward(*inputs)[0])


def _rnn_gradients(dnext_h: Array, cache: Any, slope: Callable[[Array], Array]) -> Any:
    x, prev_h, Wx, Wh, next_h = cache
    da = dnext_h * slope(next_h)
    return da @ Wx.T, da @ Wh.T, x.T @ da, prev_h.T @ da, da.sum(axis=0)


@rnn_backward.mistake("The slope of tanh is missing: da = dnext_h * (1 - next_h**2).")
def slope_missing(dnext_h: Array, cache: Any) -> Any:
    return _rnn_gradients(dnext_h, cache, np.ones_like)


@rnn_backward.mistake("The slope of tanh is 1 - next_h**2; the square is missing.")
def slope_not_squared(dnext_h: Array, cache: Any) -> Any:
    return _rnn_gradients(dnext_h, cache, lambda h: 1 - h)


@rnn_backward.mistake("h * (1 - h) is the slope of the sigmoid; that of tanh is 1 - h**2.")
def slope_of_sigmoid(dnext_h: Array, cache: Any) -> Any:
    return _rnn_gradients(dnext_h, cache, lambda h: h * (1 - h))


@rnn_backward.mistake("The tanh is applied again: next_h is the tanh already, its slope is 1 - next_h**2.")
def tanh_twice(dnext_h: Array, cache: Any) -> Any:
    return _rnn_gradients(dnext_h, cache, lambda h: 1 - np.tanh(h) ** 2)


@rnn_backward.mistake("dWh is computed with the state after the step; the weights were multiplied with prev_h.")
def wrong_state(dnext_h: Array, cache: Any) -> Any:
    _x, _prev_h, _Wx, _Wh, next_h = cache
    gradients = list(rnn_step_backward(dnext_h, cache))
    gradients[3] = next_h.T @ (dnext_h * (1 - next_h**2))
    return tuple(gradients)


@rnn_backward.mistake("dprev_h is computed with Wh where its transpose is needed: da @ Wh.T.")
def wh_not_transposed(dnext_h: Array, cache: Any) -> Any:
    gradients = list(rnn_step_backward(dnext_h, cache))
    gradients[1] = (dnext_h * (1 - cache[4] ** 2)) @ cache[3]
    return tuple(gradients)


@rnn_backward.mistake("db is a mean over the batch; it must be the sum.")
def rnn_db_mean(dnext_h: Array, cache: Any) -> Any:
    *others, db = rnn_step_backward(dnext_h, cache)
    return *others, db / len(dnext_h)


@rnn_backward.mistake("db is the sum of dnext_h; it must be that of da, after the slope of tanh.")
def db_before_slope(dnext_h: Array, cache: Any) -> Any:
    return *rnn_step_backward(dnext_h, cache)[:-1], dnext_h.sum(axis=0)


lstm_forward = add(
    Exercise(
        "cnnlab.scratch.layers.lstm:lstm_step_forward",
        title="a step of an LSTM",
        chapter=_CHAPTER,
        order=6.2,
        outputs=("next_h", "next_c", "cache"),
        note="The cache is your own affair.",
        hints=(
            "One product gives (N, 4H); its four parts of H columns are, in this order, i, f, o and g.",
            "i, f and o go through a sigmoid, g through tanh.",
            "next_c = f * prev_c + i * g, next_h = o * tanh(next_c)",
        ),
    )
)


@lstm_forward.cases
def lstm_forward_cases(random: np.random.Generator) -> Iterator[Case]:
    for inputs in _rnn_inputs(random, 4):
        yield Case(*inputs, about="one sequence" if len(inputs[0]) == 1 else "")


@lstm_forward.property("With an open forget gate and a closed input gate the cell is remembered.")
def remembered(answer: Function, case: Case) -> bool:
    x, prev_h, prev_c, Wx, Wh, _b = case.arguments
    H = len(Wh)
    gates = np.concatenate([np.full(H, -50.0), np.full(H, 50.0), np.zeros(2 * H)])
    return is_close(answer(x, prev_h, prev_c, 0 * Wx, 0 * Wh, gates)[1], prev_c)


@lstm_forward.property("With a closed output gate the state is 0.")
def closed(answer: Function, case: Case) -> bool:
    x, prev_h, prev_c, Wx, Wh, _b = case.arguments
    H = len(Wh)
    gates = np.concatenate([np.zeros(2 * H), np.full(H, -100.0), np.zeros(H)])
    return bool(np.allclose(answer(x, prev_h, prev_c, 0 * Wx, 0 * Wh, gates)[0], 0))


def _sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def _lstm(
    arguments: Any,
    order: str = "ifog",
    squash_g: Callable[[Array], Array] = np.tanh,
    cell: Callable[..., Array] = lambda i, f, g, c: f * c + i * g,
    state: Callable[[Array, Array], Array] = lambda o, c: o * np.tanh(c),
) -> Any:
    """Take a step with one of its parts wrong."""
    x, prev_h, prev_c, Wx, Wh, b = arguments
    parts = dict(zip(order, np.split(x @ Wx + prev_h @ Wh + b, 4, axis=1), strict=True))
    i, f, o = (_sigmoid(parts[key]) for key in "ifo")
    next_c = cell(i, f, squash_g(parts["g"]), prev_c)
    return state(o, next_c), next_c, None


@lstm_forward.mistake("The four parts are taken in the order i, f, g, o, as PyTorch has them; here it is i, f, o, g.")
def order_of_pytorch(x: Array, prev_h: Array, prev_c: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return _lstm((x, prev_h, prev_c, Wx, Wh, b), "ifgo")


@lstm_forward.mistake("Input gate and forget gate are swapped: i comes first, then f.")
def gates_swapped(x: Array, prev_h: Array, prev_c: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return _lstm((x, prev_h, prev_c, Wx, Wh, b), "fiog")


@lstm_forward.mistake("g goes through a sigmoid; it needs tanh, so that the cell can fall as well as rise.")
def g_sigmoid(x: Array, prev_h: Array, prev_c: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return _lstm((x, prev_h, prev_c, Wx, Wh, b), squash_g=_sigmoid)


@lstm_forward.mistake("The state is o * next_c; the tanh of the cell is missing.")
def cell_without_tanh(x: Array, prev_h: Array, prev_c: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return _lstm((x, prev_h, prev_c, Wx, Wh, b), state=lambda o, c: o * c)


@lstm_forward.mistake("The cell before the step is lost: next_c = f * prev_c + i * g.")
def cell_lost(x: Array, prev_h: Array, prev_c: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return _lstm((x, prev_h, prev_c, Wx, Wh, b), cell=lambda i, f, g, c: i * g)


@lstm_forward.mistake("The gates are added where they must multiply: the state is o * tanh(next_c).")
def gate_added(x: Array, prev_h: Array, prev_c: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return _lstm((x, prev_h, prev_c, Wx, Wh, b), state=lambda o, c: o + np.tanh(c))


@lstm_forward.mistake("The new part is added ungated: it is i * g, not g.")
def ungated(x: Array, prev_h: Array, prev_c: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    return _lstm((x, prev_h, prev_c, Wx, Wh, b), cell=lambda i, f, g, c: f * c + g)


@lstm_forward.mistake("next_h and next_c are returned in each other's place.")
def states_swapped(x: Array, prev_h: Array, prev_c: Array, Wx: Array, Wh: Array, b: Array) -> Any:
    next_h, next_c, cache = lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b)
    return next_c, next_h, cache


lstm_backward = add(
    Exercise(
        "cnnlab.scratch.layers.lstm:lstm_step_backward",
        title="gradients of an LSTM step",
        chapter=_CHAPTER,
        order=6.3,
        outputs=("dx", "dprev_h", "dprev_c", "dWx", "dWh", "db"),
        note="The cache is (x, prev_h, Wx, Wh, cell) with cell = (i, f, o, g, prev_c, tanh_c), tanh_c = tanh(next_c).",
        hints=(
            "The cell is reached on two ways: dc = dnext_c + dnext_h * o * (1 - tanh_c**2).",
            "di = dc * g, df = dc * prev_c, do = dnext_h * tanh_c, dg = dc * i, and dprev_c = dc * f.",
            "Back through the squashing: s * (1 - s) for i, f, o and 1 - g**2 for g; then put the four side by side.",
        ),
    )
)


@lstm_backward.cases
def lstm_backward_cases(random: np.random.Generator) -> Iterator[Case]:
    for inputs in _rnn_inputs(random, 4):
        next_h, next_c, cache = lstm_step_forward(*inputs)
        yield Case(random.normal(size=next_h.shape), random.normal(size=next_c.shape), cache, inputs=inputs)


@lstm_backward.property("All six gradients equal the numerical ones, of next_h and next_c together.")
def lstm_numerical(answer: Function, case: Case) -> bool:
    dnext_h, dnext_c, _ = case.arguments
    inputs = [np.array(each) for each in case.inputs]
    both = np.stack([dnext_h, dnext_c])
    return all(
        nearly(
            gradient,
            eval_numerical_gradient_array(lambda _: np.stack(lstm_step_forward(*inputs)[:2]), inputs[position], both),
        )
        for position, gradient in enumerate(answer(*case.arguments))
    )


def _lstm_gradients(
    dnext_h: Array,
    dnext_c: Array,
    cache: Any,
    *,
    dc: Callable[..., Array] = lambda dh, dc, o, t: dc + dh * o * (1 - t**2),
    slope_g: Callable[[Array], Array] = lambda g: 1 - g**2,
    d_o: Callable[[Array, Array], Array] = lambda dh, t: dh * t,
    order: str = "ifog",
    slopes: bool = True,
) -> Any:
    """Return the gradients with one of the parts wrong."""
    x, prev_h, Wx, Wh, (i, f, o, g, prev_c, tanh_c) = cache
    dcell = dc(dnext_h, dnext_c, o, tanh_c)
    parts = {"i": (dcell * g, i), "f": (dcell * prev_c, f), "o": (d_o(dnext_h, tanh_c), o)}
    sums = {key: d * (s * (1 - s) if slopes else 1) for key, (d, s) in parts.items()}
    sums["g"] = dcell * i * (slope_g(g) if slopes else 1)
    da = np.hstack([sums[key] for key in order])
    return da @ Wx.T, da @ Wh.T, dcell * f, x.T @ da, prev_h.T @ da, da.sum(axis=0)


@lstm_backward.mistake(
    "The gradient of the cell that comes through next_h is missing: add dnext_h * o * (1 - tanh_c**2)."
)
def through_h_missing(dnext_h: Array, dnext_c: Array, cache: Any) -> Any:
    return _lstm_gradients(dnext_h, dnext_c, cache, dc=lambda dh, dc, o, t: dc)


@lstm_backward.mistake("dnext_c is not used: the cell acts on the next cell, too.")
def dnext_c_ignored(dnext_h: Array, dnext_c: Array, cache: Any) -> Any:
    return _lstm_gradients(dnext_h, 0 * dnext_c, cache)


@lstm_backward.mistake("The slope of tanh(next_c) is missing on the way through next_h: 1 - tanh_c**2.")
def tanh_c_slope_missing(dnext_h: Array, dnext_c: Array, cache: Any) -> Any:
    return _lstm_gradients(dnext_h, dnext_c, cache, dc=lambda dh, dc, o, t: dc + dh * o)


@lstm_backward.mistake("g has the slope of a sigmoid; it went through tanh: 1 - g**2.")
def g_slope(dnext_h: Array, dnext_c: Array, cache: Any) -> Any:
    return _lstm_gradients(dnext_h, dnext_c, cache, slope_g=lambda g: g * (1 - g))


@lstm_backward.mistake("The slopes of sigmoid and tanh are missing: s * (1 - s) for the gates, 1 - g**2 for g.")
def all_slopes_missing(dnext_h: Array, dnext_c: Array, cache: Any) -> Any:
    return _lstm_gradients(dnext_h, dnext_c, cache, slopes=False)


@lstm_backward.mistake("The four parts are put together in the order i, f, g, o; here it is i, f, o, g.")
def backward_order(dnext_h: Array, dnext_c: Array, cache: Any) -> Any:
    return _lstm_gradients(dnext_h, dnext_c, cache, order="ifgo")


@lstm_backward.mistake("dprev_c is not multiplied with the forget gate: dprev_c = dc * f.")
def forget_gate_missing(dnext_h: Array, dnext_c: Array, cache: Any) -> Any:
    gradients = list(lstm_step_backward(dnext_h, dnext_c, cache))
    gradients[2] = gradients[2] / cache[4][1]
    return tuple(gradients)


@lstm_backward.mistake("db is a mean over the batch; it must be the sum.")
def lstm_db_mean(dnext_h: Array, dnext_c: Array, cache: Any) -> Any:
    *others, db = lstm_step_backward(dnext_h, dnext_c, cache)
    return *others, db / len(dnext_h)
