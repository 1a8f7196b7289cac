"""The losses at the end of a classifier: softmax with cross-entropy, and the multiclass hinge loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnlab.learn.closeness import is_close
from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.properties import nearly
from cnnlab.learn.runs import Array
from cnnlab.scratch.gradcheck import eval_numerical_gradient
from cnnlab.scratch.layers.loss import softmax_loss, svm_loss


def _cases(random: np.random.Generator) -> Iterator[Case]:
    for N, C, about in ((4, 3, ""), (1, 5, "one input"), (3, 6, "")):
        yield Case(2 * random.normal(size=(N, C)), random.integers(0, C, size=N), about=about)


def _is_gradient(answer: Function, case: Case) -> bool:
    scores, y = np.array(case.arguments[0]), case.arguments[1]
    return nearly(answer(scores, y)[1], eval_numerical_gradient(lambda s: answer(s, y)[0], scores))


def _sums_to_zero(answer: Function, case: Case) -> bool:
    return bool(np.allclose(answer(*case.arguments)[1].sum(axis=1), 0))


softmax = add(
    Exercise(
        "cnnlab.scratch.layers.loss:softmax_loss",
        title="cross entropy of softmax, with gradient",
        chapter="Losses",
        order=2.0,
        outputs=("loss", "dscores"),
        note="scores are (N, C), y holds the N right classes. The loss is a mean over the inputs.",
        hints=(
            "Work row by row: subtract the largest score of the row, take exp, divide by the sum of the row.",
            "scores[np.arange(N), y] picks the score of the right class of every row.",
            "The gradient is (probabilities - 1 at the right class) / N.",
        ),
    )
)


@softmax.cases
def softmax_cases(random: np.random.Generator) -> Iterator[Case]:
    yield from _cases(random)
    yield Case(np.array([[1000.0, 1000.0, 0.0], [-1000.0, 0.0, 1.0]]), np.array([0, 2]), about="scores of 1000")


softmax.property("dscores equals the numerical gradient of the loss.")(
    lambda answer, case: "1000" in case.about or _is_gradient(answer, case)
)
softmax.property("Every row of dscores sums to 0.")(_sums_to_zero)


@softmax.property("Adding the same number to all scores of a row changes nothing.")
def shift(answer: Function, case: Case) -> bool:
    scores, y = case.arguments
    first, second = answer(scores, y), answer(scores + 3, y)
    return is_close(first[0], second[0]) and is_close(first[1], second[1])


def _probabilities(scores: Array, axis: int = 1) -> Array:
    exponentials = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


def _from_probabilities(probabilities: Array, y: Array) -> tuple[Any, Array]:
    rows = np.arange(len(y))
    gradient = probabilities.copy()
    gradient[rows, y] -= 1
    return -np.log(probabilities[rows, y]).mean(), gradient / len(y)


@softmax.mistake("The loss is a sum over the inputs: divide it by N.")
def mean_forgotten(scores: Array, y: Array) -> Any:
    loss, gradient = softmax_loss(scores, y)
    return loss * len(y), gradient


@softmax.mistake("The gradient is a sum over the inputs: divide it by N, as the loss is.")
def gradient_not_mean(scores: Array, y: Array) -> Any:
    loss, gradient = softmax_loss(scores, y)
    return loss, gradient * len(y)


@softmax.mistake("The gradient has the wrong sign: it is probabilities minus 1 at the right class.")
def gradient_sign(scores: Array, y: Array) -> Any:
    loss, gradient = softmax_loss(scores, y)
    return loss, -gradient


@softmax.mistake("The largest score is not subtracted first: exp(1000) overflows to infinity and gives NaN.")
def overflow(scores: Array, y: Array) -> Any:
    exponentials = np.exp(scores)
    return _from_probabilities(exponentials / exponentials.sum(axis=1, keepdims=True), y)


@softmax.mistake("Softmax runs over the inputs (axis 0); it must run over the classes (axis 1).")
def axis_of_inputs(scores: Array, y: Array) -> Any:
    return _from_probabilities(_probabilities(scores, axis=0), y)


@softmax.mistake("In the gradient the 1 of the right class is not subtracted from the probabilities.")
def one_forgotten(scores: Array, y: Array) -> Any:
    return softmax_loss(scores, y)[0], _probabilities(scores) / len(y)


@softmax.mistake("The loss is divided by the number of classes as well: take the mean over the N inputs only.")
def mean_over_classes(scores: Array, y: Array) -> Any:
    loss, gradient = softmax_loss(scores, y)
    return loss / scores.shape[1], gradient


@softmax.mistake("The loss is 1 minus the probability of the right class; it must be minus its logarithm.")
def without_log(scores: Array, y: Array) -> Any:
    probabilities = _probabilities(scores)
    return (1 - probabilities[np.arange(len(y)), y]).mean(), softmax_loss(scores, y)[1]


svm = add(
    Exercise(
        "cnnlab.scratch.layers.loss:svm_loss",
        title="multiclass hinge loss, with gradient",
        chapter="Losses",
        order=2.1,
        outputs=("loss", "dscores"),
        hints=(
            "margins = max(0, scores - score of the right class + 1), a row for each input.",
            "The right class itself would have a margin of 1: set it to 0.",
            "Each positive margin gives +1 to its class and -1 to the right class; divide by N at the end.",
        ),
    )
)
svm.cases(_cases)
svm.property("dscores equals the numerical gradient of the loss.")(_is_gradient)
svm.property("Every row of dscores sums to 0.")(_sums_to_zero)


@svm.property("The loss is 0 when the right class leads by more than 1.")
def no_loss(answer: Function, case: Case) -> bool:
    scores, y = case.arguments
    return is_close(answer(10 * np.eye(scores.shape[1])[y], y)[0], 0.0)


def _margins(scores: Array, y: Array, margin: float = 1.0) -> Array:
    margins = np.maximum(0, scores - scores[np.arange(len(y)), y, None] + margin)
    margins[np.arange(len(y)), y] = 0
    return margins


def _svm_gradient(margins: Array, y: Array) -> Array:
    gradient = (margins > 0).astype(float)
    gradient[np.arange(len(y)), y] = -gradient.sum(axis=1)
    return gradient / len(y)


@svm.mistake("The right class is counted too: its margin is always 1 and must be set to 0.")
def right_class_counted(scores: Array, y: Array) -> Any:
    return svm_loss(scores, y)[0] + 1, svm_loss(scores, y)[1]


@svm.mistake("The margin of 1 is missing: max(0, scores - right + 1).")
def without_margin(scores: Array, y: Array) -> Any:
    margins = _margins(scores, y, 0)
    return margins.sum() / len(y), _svm_gradient(margins, y)


@svm.mistake("The gradient of the right class is missing: minus the number of positive margins of its row.")
def right_gradient_missing(scores: Array, y: Array) -> Any:
    return svm_loss(scores, y)[0], (_margins(scores, y) > 0) / len(y)


@svm.mistake("The gradient of the right class is -1; it must be minus the number of positive margins of its row.")
def right_gradient_one(scores: Array, y: Array) -> Any:
    gradient = (_margins(scores, y) > 0).astype(float)
    gradient[np.arange(len(y)), y] = -1
    return svm_loss(scores, y)[0], gradient / len(y)


@svm.mistake("The loss is a sum over the inputs: divide it by N.")
def svm_mean_forgotten(scores: Array, y: Array) -> Any:
    loss, gradient = svm_loss(scores, y)
    return loss * len(y), gradient


@svm.mistake("The gradient is a sum over the inputs: divide it by N.")
def svm_gradient_not_mean(scores: Array, y: Array) -> Any:
    loss, gradient = svm_loss(scores, y)
    return loss, gradient * len(y)


@svm.mistake("The margins are squared; this is the plain hinge loss.")
def squared(scores: Array, y: Array) -> Any:
    return (_margins(scores, y) ** 2).sum() / len(y), svm_loss(scores, y)[1]


@svm.mistake("np.mean divides by N and by the number of classes; divide the sum by N alone.")
def mean_over_all(scores: Array, y: Array) -> Any:
    return _margins(scores, y).mean(), svm_loss(scores, y)[1]
