import numpy as np

EXERCISE = "eval_numerical_gradient"
WRONG = "The difference is divided by 2 only; h is forgotten."
NAMED = "gradient is multiplied with h once too often"
AT_FIRST_SIGHT = True
ROUND = 2


def eval_numerical_gradient(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        old = x[index]
        x[index] = old + h
        above = f(x)
        x[index] = old - h
        below = f(x)
        x[index] = old
        grad[index] = (above - below) / 2
    return grad
