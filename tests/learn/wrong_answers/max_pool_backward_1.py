import numpy as np

EXERCISE = "max_pool_backward"
WRONG = "The gradient is spread evenly over the window, as for average pooling."
NAMED = "The gradient is spread over the whole window, as for the mean"
AT_FIRST_SIGHT = True


def max_pool_backward(dout, cache):
    x, _, (ph, pw, s, oh, ow) = cache
    dx = np.zeros_like(x)
    for i in range(oh):
        for j in range(ow):
            dx[:, :, i * s : i * s + ph, j * s : j * s + pw] += dout[:, :, i, j][:, :, None, None] / (ph * pw)
    return dx
