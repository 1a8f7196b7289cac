import numpy as np

EXERCISE = "max_pool_forward"
WRONG = "Height and width of the window are swapped when it is cut out."
NAMED = "pool_height and pool_width are swapped"
AT_FIRST_SIGHT = True


def max_pool_forward(x, pool_param):
    ph, pw, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    n, c, h, w = x.shape
    oh, ow = (h - ph) // s + 1, (w - pw) // s + 1
    out = np.zeros((n, c, oh, ow))
    for i in range(oh):
        for j in range(ow):
            out[:, :, i, j] = x[:, :, i * s : i * s + pw, j * s : j * s + ph].max(axis=(2, 3))
    return out, (x, out, (ph, pw, s, oh, ow))
