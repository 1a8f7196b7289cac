import numpy as np

EXERCISE = "relu_backward"
WRONG = "Zero counts as positive: x >= 0."
NAMED = "At x = 0 the gradient must be 0"
AT_FIRST_SIGHT = True


def relu_backward(dout, cache):
    return np.where(cache >= 0, dout, 0)
