import numpy as np

EXERCISE = "conv_backward_naive"
WRONG = "db is summed over the images only, not over the positions."
NAMED = "db is summed over the images only"
AT_FIRST_SIGHT = True


def conv_backward_naive(dout, cache):
    xp, w, stride, pad = cache
    _, _, hh, ww = w.shape
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            r, s = i * stride, j * stride
            here = dout[:, :, i, j]
            dxp[:, :, r : r + hh, s : s + ww] += np.tensordot(here, w, axes=(1, 0))
            dw += np.tensordot(here, xp[:, :, r : r + hh, s : s + ww], axes=(0, 0))
    h, wd = xp.shape[2:]
    return dxp[:, :, pad : h - pad, pad : wd - pad], dw, dout.sum(axis=0)
