"""The numerical gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnlab.learn.exercise import Case, Exercise, Function, add
from cnnlab.learn.runs import Array

exercise = add(
    Exercise(
        "cnnlab.scratch.gradcheck:eval_numerical_gradient",
        title="a gradient by central differences",
        chapter="Losses",
        order=2.2,
        outputs=("gradient",),
        note="f takes the whole array x and returns a number. Try one value of x after the other.",
        hints=(
            "np.ndindex(x.shape) gives the index of every value, whatever the number of axes.",
            "Nudge x[index] up and down by h, call f each time, and set it back to exactly what it was.",
            "The gradient there is (f above - f below) / (2 * h).",
        ),
    )
)
F = Callable[[Array], Any]


def _cubes(x: Array) -> float:
    return float(np.sum(np.arange(1, x.size + 1).reshape(x.shape) * x**3))


def _product(x: Array) -> float:
    return float(np.prod(x))


@exercise.cases
def cases(random: np.random.Generator) -> Iterator[Case]:
    yield Case(_cubes, random.normal(size=3) + 2, 0.1, about="f is a sum of cubes, h is large")
    yield Case(_product, random.normal(size=(2, 2)) + 2, 1e-3, about="f is a product")
    yield Case(_cubes, random.normal(size=(2, 1, 2)), about="three axes, h by default")


@exercise.property("The gradient of a linear function is its coefficients.")
def linear(answer: Function, case: Case) -> bool:
    x = np.array(case.arguments[1])
    coefficients = np.linspace(-1, 2, x.size).reshape(x.shape)
    return bool(np.allclose(answer(lambda v: float(np.sum(coefficients * v)), x), coefficients, atol=1e-8))


@exercise.property("The gradient has the shape of x.")
def shape(answer: Function, case: Case) -> bool:
    return bool(np.shape(answer(*case.arguments)) == case.arguments[1].shape)


def _differences(f: F, x: Array, rule: Callable[[Callable[[float], float]], float]) -> Array:
    """Apply a rule to ``f`` as a function of the step of one value, for every value."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):

        def moved(step: float, index: Any = index) -> float:
            other = np.array(x)
            other[index] += step
            return float(f(other))

        gradient[index] = rule(moved)
    return gradient


@exercise.mistake("The difference is taken on one side, (f(x + h) - f(x)) / h; the central one is far more exact.")
def one_sided(f: F, x: Array, h: float = 1e-5) -> Any:
    return _differences(f, x, lambda g: (g(h) - g(0)) / h)


@exercise.mistake("The distance between x + h and x - h is 2 * h: divide by it, not by h.")
def divided_by_h(f: F, x: Array, h: float = 1e-5) -> Any:
    return _differences(f, x, lambda g: (g(h) - g(-h)) / h)


@exercise.mistake("The difference is the wrong way round: f above minus f below.")
def wrong_way(f: F, x: Array, h: float = 1e-5) -> Any:
    return _differences(f, x, lambda g: (g(-h) - g(h)) / (2 * h))


@exercise.mistake("All values are nudged at once: nudge one value at a time, or you get the sum of the gradient.")
def all_at_once(f: F, x: Array, h: float = 1e-5) -> Any:
    return np.full(x.shape, (f(x + h) - f(x - h)) / (2 * h))


@exercise.mistake("x is not set back after each value: store the old value and write it back.")
def not_set_back(f: F, x: Array, h: float = 1e-5) -> Any:
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        x[index] += h
        above = f(x)
        x[index] -= 2 * h
        gradient[index] = (above - f(x)) / (2 * h)
    return gradient


@exercise.mistake("The difference is not divided by 2 * h.")
def not_divided(f: F, x: Array, h: float = 1e-5) -> Any:
    return _differences(f, x, lambda g: g(h) - g(-h))


@exercise.mistake("The argument h is not used: its value is written into the function.")
def fixed_step(f: F, x: Array, h: float = 1e-5) -> Any:
    return _differences(f, x, lambda g: (g(1e-5) - g(-1e-5)) / 2e-5)
