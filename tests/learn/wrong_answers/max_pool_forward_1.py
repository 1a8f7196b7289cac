import numpy as np

EXERCISE = "max_pool_forward"
WRONG = "The mean of the window instead of its maximum."
NAMED = "That is the mean of every window"
AT_FIRST_SIGHT = True


def max_pool_forward(x, pool_param):
    ph, pw, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    n, c, h, w = x.shape
    oh, ow = (h - ph) // s + 1, (w - pw) // s + 1
    out = np.zeros((n, c, oh, ow))
    for i in range(oh):
        for j in range(ow):
            out[:, :, i, j] = x[:, :, i * s : i * s + ph, j * s : j * s + pw].mean(axis=(2, 3))
    return out, (x, out, (ph, pw, s, oh, ow))
