import numpy as np

EXERCISE = "relu_forward"
WRONG = "Absolute value instead of zero for negative inputs."
NAMED = "That is the absolute value"
AT_FIRST_SIGHT = True


def relu_forward(x):
    return np.abs(x), x
