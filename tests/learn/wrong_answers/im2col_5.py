import numpy as np

EXERCISE = "im2col"
WRONG = "Height and width of the filter are exchanged."
NAMED = ""
AT_FIRST_SIGHT = False
ROUND = 3


def im2col(x, HH, WW, stride=1, pad=0):
    n, _, h, w = x.shape
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows = range(0, h + 2 * pad - WW + 1, stride)
    columns = range(0, w + 2 * pad - HH + 1, stride)
    return np.stack([xp[:, :, i : i + WW, j : j + HH].reshape(n, -1) for i in rows for j in columns], axis=-1)
