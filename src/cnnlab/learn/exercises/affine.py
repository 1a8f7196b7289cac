"""The fully connected layer, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.properties import add_batch_independence, add_numerical_gradients
from cnnlab.learn.runs import Array
from cnnlab.scratch.layers.affine import affine_backward, affine_forward

# (N, d1, ..., dk) and M
_SHAPES = (
    ((3, 4), 5, ""),
    ((2, 2, 3), 4, "inputs that are no vectors"),
    ((1, 3), 2, "one input"),
    ((5, 2, 1, 2), 3, ""),
)


def _inputs(random: np.random.Generator) -> Iterator[tuple[Array, Array, Array, str]]:
    for shape, M, about in _SHAPES:
        D = int(np.prod(shape[1:]))
        yield random.normal(size=shape), random.normal(size=(D, M)), random.normal(size=M), about


forward = add(
    Exercise(
        "cnnlab.scratch.layers.affine:affine_forward",
        title="a dense layer",
        chapter="Dense layers",
        order=1.0,
        outputs=("out", "cache"),
        hints=(
            "An input may have any shape; the layer only sees its D numbers in a row.",
            "x.reshape(N, D) keeps the inputs apart, and -1 lets NumPy work out D.",
            "out = x.reshape(len(x), -1) @ w + b; the biases (M,) are broadcast over the N rows.",
        ),
    )
)


@forward.cases
def forward_cases(random: np.random.Generator) -> Iterator[Case]:
    for x, w, b, about in _inputs(random):
        yield Case(x, w, b, about=about)


add_batch_independence(forward)


@forward.property("With zero weights the outputs are the biases.")
def only_biases(answer: Function, case: Case) -> bool:
    x, w, b = case.arguments
    return is_close(answer(x, np.zeros_like(w), b), np.tile(b, (len(x), 1)))


@forward.property("Twice the input gives twice the output, biases aside.")
def linear(answer: Function, case: Case) -> bool:
    x, w, b = case.arguments
    return is_close(answer(2 * x, w, b) - b, 2 * (answer(x, w, b) - b))


@forward.mistake("The biases are not added.")
def without_bias(x: Array, w: Array, b: Array) -> Any:
    return affine_forward(x, w, 0 * b)


@forward.mistake("The biases are subtracted; they must be added.")
def bias_subtracted(x: Array, w: Array, b: Array) -> Any:
    return affine_forward(x, w, -b)


@forward.mistake(
    "x is laid out in Fortran order or transposed before the reshape: the numbers of one input are in another order. "
    "Use x.reshape(N, D) as it is."
)
def fortran_order(x: Array, w: Array, b: Array) -> Any:
    return x.reshape(len(x), -1, order="F") @ w + b, None


@forward.mistake(
    "x is reshaped to (D, N) and transposed: that mixes the numbers of different inputs. Reshape to (N, D)."
)
def inputs_mixed(x: Array, w: Array, b: Array) -> Any:
    return x.reshape(-1, len(x)).T @ w + b, None


@forward.mistake("x is not reshaped: inputs of more than one axis need x.reshape(N, D) before the product.")
def not_reshaped(x: Array, w: Array, b: Array) -> Any:
    return x @ w + b, None


@forward.mistake("Only the first axis after N is used: D is the product of all axes after the first, d1 * ... * dk.")
def only_first_axis(x: Array, w: Array, b: Array) -> Any:
    flat = x.reshape(len(x), x.shape[1], -1)[:, :, 0]
    return flat @ w[: flat.shape[1]] + b, None


@forward.mistake("The biases are added once for every feature: the sum over the D features is of x * w alone.")
def bias_in_sum(x: Array, w: Array, b: Array) -> Any:
    return x.reshape(len(x), -1) @ w + len(w) * b, None


backward = add(
    Exercise(
        "cnnlab.scratch.layers.affine:affine_backward",
        title="gradients of a dense layer",
        chapter="Dense layers",
        order=1.1,
        outputs=("dx", "dw", "db"),
        note="The cache is (x, w), the arguments of affine_forward: x (N, d1, ..., dk), w (D, M).",
        hints=(
            "Each gradient has the shape of what it belongs to: dx that of x, dw (D, M), db (M,).",
            "The shapes leave one choice: dout (N, M) and w.T (M, D) give (N, D); x.T (D, N) and dout give (D, M).",
            "db is the sum of dout over the inputs, axis 0, because every input received the same biases.",
        ),
    )
)


@backward.cases
def backward_cases(random: np.random.Generator) -> Iterator[Case]:
    for x, w, b, about in _inputs(random):
        yield Case(random.normal(size=(len(x), w.shape[1])), (x, w), about=about, inputs=(x, w, b))


add_numerical_gradients(backward, lambda case, x, w, b: affine_forward(x, w, b)[0])


@backward.mistake("The gradient of b is summed over the features; it must be summed over the images: axis 0.")
def bias_over_features(dout: Array, cache: Any) -> Any:
    return *affine_backward(dout, cache)[:2], dout.sum(axis=1)


@backward.mistake("The gradient of b is the mean over the inputs; it must be their sum.")
def bias_mean(dout: Array, cache: Any) -> Any:
    return *affine_backward(dout, cache)[:2], dout.mean(axis=0)


@backward.mistake("The gradient of b is summed over everything to one number; sum over axis 0 alone.")
def bias_number(dout: Array, cache: Any) -> Any:
    return *affine_backward(dout, cache)[:2], dout.sum()


@backward.mistake("dx stays (N, D): reshape it to the shape of x.")
def dx_flat(dout: Array, cache: Any) -> Any:
    return dout @ cache[1].T, *affine_backward(dout, cache)[1:]


@backward.mistake("dw is transposed, (M, D): it must have the shape of w, x.T @ dout and not dout.T @ x.")
def dw_transposed(dout: Array, cache: Any) -> Any:
    dx, dw, db = affine_backward(dout, cache)
    return dx, dw.T, db


@backward.mistake("dw is divided by the number of inputs: the mean belongs to the loss, a layer only sums.")
def dw_mean(dout: Array, cache: Any) -> Any:
    dx, dw, db = affine_backward(dout, cache)
    return dx, dw / len(dout), db


@backward.mistake("dx and dw are returned in each other's place: the order is dx, dw, db.")
def outputs_swapped(dout: Array, cache: Any) -> Any:
    dx, dw, db = affine_backward(dout, cache)
    return dw, dx, db


@backward.mistake("dx is computed with w where its transpose is needed: dout @ w.T.")
def w_not_transposed(dout: Array, cache: Any) -> Any:
    x, w = cache
    return (dout @ w).reshape(x.shape), *affine_backward(dout, cache)[1:]
