import numpy as np

EXERCISE = "max_pool_backward"
WRONG = "All pixels that are equal to the maximum get the gradient, not the first alone."
NAMED = "All pixels that are equally large receive the gradient"
AT_FIRST_SIGHT = True
ROUND = 2


def max_pool_backward(dout, cache):
    x, _, (ph, pw, s, oh, ow) = cache
    dx = np.zeros_like(x)
    for i in range(oh):
        for j in range(ow):
            window = x[:, :, i * s : i * s + ph, j * s : j * s + pw]
            mask = window == window.max(axis=(2, 3), keepdims=True)
            dx[:, :, i * s : i * s + ph, j * s : j * s + pw] += mask * dout[:, :, i, j][:, :, None, None]
    return dx
