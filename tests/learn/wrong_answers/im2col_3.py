import numpy as np

EXERCISE = "im2col"
WRONG = "One matrix for all images, the images of a position next to each other."
NAMED = "side by side in one matrix"
AT_FIRST_SIGHT = False
ROUND = 3


def im2col(x, HH, WW, stride=1, pad=0):
    n, c, h, w = x.shape
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    oh, ow = (h + 2 * pad - HH) // stride + 1, (w + 2 * pad - WW) // stride + 1
    cols = np.zeros((c * HH * WW, oh * ow * n))
    k = 0
    for i in range(oh):
        for j in range(ow):
            for b in range(n):
                cols[:, k] = xp[b, :, i * stride : i * stride + HH, j * stride : j * stride + WW].ravel()
                k += 1
    return cols
