"""ReLU, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.properties import add_numerical_gradients
from cnnlab.learn.runs import Array
from cnnlab.scratch.layers.activation import relu_forward

_SHAPES = ((3, 4), (2, 3, 2, 2), (1, 5))


def _values(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return values of both signs, none near zero, where a numerical gradient would step over the kink."""
    x = random.normal(size=shape)
    return x + 0.1 * np.sign(x)


forward = add(
    Exercise(
        "cnnlab.scratch.layers.activation:relu_forward",
        title="ReLU",
        chapter="Dense layers",
        order=1.2,
        outputs=("out", "cache"),
        note="Return the outputs and the cache, a tuple of two; the cache is x.",
        hints=(
            "Negative numbers become 0, the others stay.",
            "np.maximum compares element by element; np.max looks for the largest of all.",
        ),
    )
)


@forward.cases
def forward_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape in _SHAPES:
        yield Case(_values(random, shape))


@forward.property("No output is negative, and applying it twice changes nothing.")
def idempotent(answer: Function, case: Case) -> bool:
    out = answer(*case.arguments)
    return bool((out >= 0).all()) and is_close(answer(out), out)


@forward.property("relu(x) - relu(-x) is x.")
def odd_part(answer: Function, case: Case) -> bool:
    (x,) = case.arguments
    return is_close(answer(x) - answer(-x), x)


@forward.mistake("x itself is changed: out = x; out[out < 0] = 0 writes into the caller's array. Use np.maximum(x, 0).")
def in_place(x: Array) -> Any:
    x[x < 0] = 0
    return x, x


@forward.mistake("That is the absolute value: negative numbers must become 0, not positive.")
def absolute(x: Array) -> Any:
    return np.abs(x), x


@forward.mistake("That is min(x, 0): the positive numbers must stay.")
def minimum(x: Array) -> Any:
    return np.minimum(x, 0), x


@forward.mistake("The outputs are 0 and 1: the mask x > 0 must be multiplied with x.")
def mask(x: Array) -> Any:
    return (x > 0).astype(float), x


@forward.mistake("Negative numbers are only made small (leaky ReLU); they must become 0.")
def leaky(x: Array) -> Any:
    return np.maximum(x, 0.01 * x), x


@forward.mistake("np.max gives the one largest number of the array; np.maximum compares each element with 0.")
def maximum_of_all(x: Array) -> Any:
    return np.max(x), x


@forward.mistake("Large values are cut off as well (at 1): ReLU has no upper limit.")
def clipped(x: Array) -> Any:
    return np.clip(x, 0, 1), x


backward = add(
    Exercise(
        "cnnlab.scratch.layers.activation:relu_backward",
        title="gradient of ReLU",
        chapter="Dense layers",
        order=1.3,
        outputs=("dx",),
        note="The cache is x, the input of relu_forward.",
        hints=(
            "Where x was positive the output was x, with slope 1; elsewhere it was 0, with slope 0.",
            "The mask comes from x, not from dout: dout * (x > 0).",
        ),
    )
)


@backward.cases
def backward_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape in _SHAPES:
        x = _values(random, shape)
        yield Case(random.normal(size=shape), x, inputs=(x,))
    yield Case(np.array([[1.0, 2.0, 3.0]]), np.array([[-1.0, 0.0, 2.0]]), about="an input of exactly 0", inputs=())


add_numerical_gradients(backward, lambda case, x: relu_forward(x)[0])


@backward.mistake("The mask is taken from dout: it must be taken from x, relu_backward(dout) = dout where x > 0.")
def mask_of_dout(dout: Array, cache: Array) -> Any:
    return np.maximum(dout, 0)


@backward.mistake("dout is multiplied with the output max(x, 0); the slope is 1 where x > 0, not x.")
def times_output(dout: Array, cache: Array) -> Any:
    return dout * np.maximum(cache, 0)


@backward.mistake("dout is not used: the slope of this layer must be multiplied with the gradient from above.")
def dout_ignored(dout: Array, cache: Array) -> Any:
    return (cache > 0).astype(float)


@backward.mistake("The mask is the wrong way round: the gradient flows where x was positive.")
def mask_inverted(dout: Array, cache: Array) -> Any:
    return dout * (cache < 0)


@backward.mistake("At x = 0 the gradient must be 0: compare with >, not with >=.")
def zero_counts(dout: Array, cache: Array) -> Any:
    return dout * (cache >= 0)


@backward.mistake("dout itself is changed: dout[x <= 0] = 0 writes into the caller's array. Multiply with the mask.")
def in_place_backward(dout: Array, cache: Array) -> Any:
    dout[cache <= 0] = 0
    return dout


@backward.mistake("dout is passed on unchanged: where x was not positive, nothing flows back.")
def passed_on(dout: Array, cache: Array) -> Any:
    return dout.copy()


@backward.mistake("dout is multiplied with the sign of x: where x was negative the gradient is 0, not -dout.")
def sign(dout: Array, cache: Array) -> Any:
    return dout * np.sign(cache)
