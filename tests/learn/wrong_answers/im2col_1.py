import numpy as np

EXERCISE = "im2col"
WRONG = "The windows' axes come after the positions and are only reshaped, channels first."
NAMED = "a reshape without a transpose"
AT_FIRST_SIGHT = True
ROUND = 3


def im2col(x, HH, WW, stride=1, pad=0):
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    win = np.lib.stride_tricks.sliding_window_view(x, (HH, WW), axis=(2, 3))[:, :, ::stride, ::stride]
    n, c, oh, ow = win.shape[:4]
    return win.reshape(n, c * HH * WW, oh * ow)
