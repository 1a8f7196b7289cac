import numpy as np

EXERCISE = "im2col"
WRONG = "np.pad pads all four axes, so that there are more images and more channels."
NAMED = ""
AT_FIRST_SIGHT = False
ROUND = 3


def im2col(x, HH, WW, stride=1, pad=0):
    x = np.pad(x, pad)
    n, _, h, w = x.shape
    oh, ow = (h - HH) // stride + 1, (w - WW) // stride + 1
    cols = np.zeros((n, x.shape[1] * HH * WW, oh * ow))
    for i in range(oh):
        for j in range(ow):
            window = x[:, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
            cols[:, :, i * ow + j] = window.reshape(n, -1)
    return cols
