"""Dropout, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.properties import add_numerical_gradients
from cnnlab.learn.runs import Array
from cnnlab.scratch.layers.dropout import dropout_forward

forward = add(
    Exercise(
        "cnnlab.scratch.layers.dropout:dropout_forward",
        title="inverted dropout",
        chapter="Normalisation and dropout",
        order=4.0,
        outputs=("out", "cache"),
        note=(
            'dropout_param has "mode", "keep_prob" and "seed": call np.random.seed(seed) first, then draw with '
            "np.random.rand. The cache is your own affair."
        ),
        hints=(
            "In test mode nothing happens at all: inverted dropout does its scaling in training.",
            "A value is kept where np.random.rand(*x.shape) < keep_prob.",
            "The output is x * mask / keep_prob.",
        ),
    )
)


@forward.cases
def forward_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape, keep, mode in (((4, 5), 0.3, "train"), ((2, 3, 2, 2), 0.8, "train"), ((3, 4), 0.3, "test")):
        param = {"mode": mode, "keep_prob": keep, "seed": 3}
        yield Case(random.normal(size=shape) + 2, param, about=f"{mode} mode")


@forward.property("In test mode the outputs are the inputs.")
def test_mode(answer: Function, case: Case) -> bool:
    x, param = case.arguments
    return is_close(answer(x, {**param, "mode": "test"}), x)


@forward.property("In training the mean of many outputs is that of the inputs.")
def unbiased(answer: Function, case: Case) -> bool:
    param = {**case.arguments[1], "mode": "train"}
    return abs(float(np.mean(answer(np.ones((100, 100)), param))) - 1) < 0.06


@forward.property("With keep_prob 1 nothing is dropped.")
def all_kept(answer: Function, case: Case) -> bool:
    x, param = case.arguments
    return is_close(answer(x, {**param, "keep_prob": 1.0}), x)


def _draw(x: Array, param: Any, shape: tuple[int, ...] | None = None) -> tuple[bool, float, Array]:
    np.random.seed(param["seed"])
    return param["mode"] == "train", param["keep_prob"], np.random.rand(*(shape or x.shape))


@forward.mistake("keep_prob is taken for the probability of dropping: keep where the random number is below it.")
def inverted(x: Array, dropout_param: Any) -> Any:
    train, keep, numbers = _draw(x, dropout_param)
    return (x * (numbers > keep) / keep if train else x), None


@forward.mistake("The values that are kept are not divided by keep_prob.")
def not_scaled(x: Array, dropout_param: Any) -> Any:
    train, keep, numbers = _draw(x, dropout_param)
    return (x * (numbers < keep) if train else x), None


@forward.mistake("Values are dropped in test mode too: there all are kept as they are.")
def dropped_in_test(x: Array, dropout_param: Any) -> Any:
    return dropout_forward(x, {**dropout_param, "mode": "train"})


@forward.mistake("Nothing is dropped in training: the modes are confused, or the mask is not used.")
def modes_confused(x: Array, dropout_param: Any) -> Any:
    other = "test" if dropout_param["mode"] == "train" else "train"
    return dropout_forward(x, {**dropout_param, "mode": other})


@forward.mistake("That is not inverted dropout: training must divide by keep_prob, and test mode must do nothing.")
def scaled_in_test(x: Array, dropout_param: Any) -> Any:
    train, keep, numbers = _draw(x, dropout_param)
    return (x * (numbers < keep) if train else x * keep), None


@forward.mistake("The kept values are divided by 1 - keep_prob; divide by keep_prob.")
def wrong_scale(x: Array, dropout_param: Any) -> Any:
    train, keep, numbers = _draw(x, dropout_param)
    return (x * (numbers < keep) / (1 - keep) if train else x), None


@forward.mistake(
    "One mask is used for all inputs of the batch: draw a number for every value, np.random.rand(*x.shape)."
)
def one_mask(x: Array, dropout_param: Any) -> Any:
    train, keep, numbers = _draw(x, dropout_param, x.shape[1:])
    return (x * (numbers < keep) / keep if train else x), None


@forward.mistake("The inputs are multiplied with the random numbers themselves: compare them with keep_prob first.")
def random_factors(x: Array, dropout_param: Any) -> Any:
    train, keep, numbers = _draw(x, dropout_param)
    return (x * numbers / keep if train else x), None


backward = add(
    Exercise(
        "cnnlab.scratch.layers.dropout:dropout_backward",
        title="gradient of dropout",
        chapter="Normalisation and dropout",
        order=4.1,
        outputs=("dx",),
        note=(
            "The cache is (shape, mask): the shape of x, and the factor that every value was multiplied with, 0 or "
            "1 / keep_prob; in test mode mask is None."
        ),
        hints=(
            "The layer multiplied every value with a number; so does its backward pass.",
            "dout * mask in training, dout in test mode.",
        ),
    )
)


@backward.cases
def backward_cases(random: np.random.Generator) -> Iterator[Case]:
    for shape, keep, mode in (((4, 5), 0.3, "train"), ((2, 3, 2), 0.8, "train"), ((3, 4), 0.3, "test")):
        x, param = random.normal(size=shape), {"mode": mode, "keep_prob": keep, "seed": 3}
        cache = dropout_forward(x, param)[1]
        yield Case(random.normal(size=shape), cache, about=f"{mode} mode", inputs=(x,), param=param)


add_numerical_gradients(backward, lambda case, x: dropout_forward(x, case.param)[0])


@backward.mistake("The mask is used without its scale: the kept values were multiplied with 1 / keep_prob.")
def mask_without_scale(dout: Array, cache: Any) -> Any:
    return dout if cache[1] is None else dout * (cache[1] > 0)


@backward.mistake("dout is passed on as it is: where a value was dropped, nothing flows back.")
def mask_ignored(dout: Array, cache: Any) -> Any:
    return dout.copy()


@backward.mistake("The mask is None in test mode, where the gradient passes unchanged: ask for that first.")
def test_mode_forgotten(dout: Array, cache: Any) -> Any:
    return dout * cache[1]


@backward.mistake("dout is divided by the mask, which gives infinity where it is 0; multiply with it.")
def divided(dout: Array, cache: Any) -> Any:
    return dout if cache[1] is None else dout / cache[1]


@backward.mistake("The scale is applied twice: 1 / keep_prob is in the mask already.")
def scaled_twice(dout: Array, cache: Any) -> Any:
    return dout if cache[1] is None else dout * cache[1] ** 2


@backward.mistake("In test mode the gradient must pass unchanged; it is zero.")
def nothing_in_test(dout: Array, cache: Any) -> Any:
    return 0 * dout if cache[1] is None else dout * cache[1]
