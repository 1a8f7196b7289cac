import numpy as np

EXERCISE = "eval_numerical_gradient"
WRONG = "A one-sided difference instead of the central one."
NAMED = "The difference is taken on one side, (f(x + h) - f(x)) / h"
AT_FIRST_SIGHT = True


def eval_numerical_gradient(f, x, h=1e-5):
    grad = np.zeros_like(x)
    base = f(x)
    for index in np.ndindex(x.shape):
        old = x[index]
        x[index] = old + h
        grad[index] = (f(x) - base) / h
        x[index] = old
    return grad
