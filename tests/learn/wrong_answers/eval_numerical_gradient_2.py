import numpy as np

EXERCISE = "eval_numerical_gradient"
WRONG = "x is not restored after it was nudged."
NAMED = "x is not set back after each value"
AT_FIRST_SIGHT = True


def eval_numerical_gradient(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        x[index] += h
        above = f(x)
        x[index] -= 2 * h
        below = f(x)
        grad[index] = (above - below) / (2 * h)
    return grad
