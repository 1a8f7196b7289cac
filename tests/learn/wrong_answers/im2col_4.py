import numpy as np

EXERCISE = "im2col"
WRONG = "The last position of each line and column is missing: the + 1 of the output's size."
NAMED = "last position in both directions"
AT_FIRST_SIGHT = False
ROUND = 3


def im2col(x, HH, WW, stride=1, pad=0):
    n, c, h, w = x.shape
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    oh, ow = (h + 2 * pad - HH) // stride, (w + 2 * pad - WW) // stride
    cols = np.zeros((n, c, HH, WW, oh, ow))
    for i in range(oh):
        for j in range(ow):
            cols[..., i, j] = xp[:, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
    return cols.reshape(n, c * HH * WW, oh * ow)
