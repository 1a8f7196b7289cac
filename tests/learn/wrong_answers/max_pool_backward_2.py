import numpy as np

EXERCISE = "max_pool_backward"
WRONG = "Where windows overlap, the last gradient replaces the others instead of being added."
NAMED = "A pixel that wins in several windows keeps the gradient of the last one only"
AT_FIRST_SIGHT = True


def max_pool_backward(dout, cache):
    x, _, (ph, pw, s, oh, ow) = cache
    n, c = x.shape[:2]
    dx = np.zeros_like(x)
    for a in range(n):
        for k in range(c):
            for i in range(oh):
                for j in range(ow):
                    window = x[a, k, i * s : i * s + ph, j * s : j * s + pw]
                    r, q = np.unravel_index(window.argmax(), window.shape)
                    dx[a, k, i * s + r, j * s + q] = dout[a, k, i, j]
    return dx
