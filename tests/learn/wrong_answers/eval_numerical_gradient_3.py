import numpy as np

EXERCISE = "eval_numerical_gradient"
WRONG = "The difference is divided by h instead of by 2h."
NAMED = "The distance between x + h and x - h is 2 * h"
AT_FIRST_SIGHT = True


def eval_numerical_gradient(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        old = x[index]
        x[index] = old + h
        above = f(x)
        x[index] = old - h
        below = f(x)
        x[index] = old
        grad[index] = (above - below) / h
    return grad
