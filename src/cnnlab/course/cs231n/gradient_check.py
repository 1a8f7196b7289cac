"""``cs231n.gradient_check``: numerical gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnnlab.course._arrays import Array
from cnnlab.scratch import gradcheck

__all__ = ["eval_numerical_gradient", "eval_numerical_gradient_array", "grad_check_sparse"]


def eval_numerical_gradient(f: Callable[[Array], Any], x: Array, verbose: bool = True, h: float = 1e-5) -> Array:
    """Return the gradient of a function of ``x`` that returns one number, by central differences.

    Args:
        f: the function.
        x: float64 array of any shape; afterwards it holds what it held before.
        verbose: whether every position is printed with its derivative.
        h: half the distance between the two values of ``x``.
    """
    gradient = gradcheck.eval_numerical_gradient(f, x, h)
    if verbose:
        for index in np.ndindex(x.shape):
            print(index, gradient[index])
    return gradient


def eval_numerical_gradient_array(f: Callable[[Array], Any], x: Array, df: Array, h: float = 1e-5) -> Array:
    """Return the gradient of ``sum(f(x) * df)`` by central differences; arguments as in the function above."""
    return gradcheck.eval_numerical_gradient_array(f, x, df, h)


def grad_check_sparse(
    f: Callable[[Array], Any], x: Array, analytic_grad: Array, num_checks: int = 10, h: float = 1e-5
) -> None:
    """Print numerical and analytic derivative of ``f`` at random positions of ``x``, and their relative error.

    Args:
        f: function of ``x`` that returns one number.
        x: array of floats; afterwards it holds what it held before.
        analytic_grad: the gradient to check, of the shape of ``x``.
        num_checks: number of positions, drawn from NumPy's global stream.
        h: half the distance between the two values of ``x``.
    """
    for _ in range(num_checks):
        index = tuple(np.random.randint(size) for size in x.shape)
        original = x[index]
        x[index] = original + h
        above = f(x)
        x[index] = original - h
        below = f(x)
        x[index] = original
        numerical, analytic = (above - below) / (2 * h), analytic_grad[index]
        error = gradcheck.rel_error(analytic, numerical)
        print(f"numerical: {numerical:f} analytic: {analytic:f}, relative error: {error:e}")
