import numpy as np

EXERCISE = "relu_backward"
WRONG = "The result is the slope alone; it is not multiplied with dout."
NAMED = "dout is not used"
AT_FIRST_SIGHT = True


def relu_backward(dout, cache):
    x = cache
    dx = np.zeros_like(dout)
    dx[x > 0] = 1.0
    return dx
