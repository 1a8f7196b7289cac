import numpy as np

EXERCISE = "conv_backward_naive"
WRONG = "dw holds only the last image and position: = instead of +=."
NAMED = "The gradients of the filters are overwritten"
AT_FIRST_SIGHT = True
ROUND = 2


def conv_backward_naive(dout, cache):
    xp, w, stride, pad = cache
    _, _, hh, ww = w.shape
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    n, f, oh, ow = dout.shape
    for k in range(n):
        for c in range(f):
            for i in range(oh):
                for j in range(ow):
                    r, s = i * stride, j * stride
                    dxp[k, :, r : r + hh, s : s + ww] += w[c] * dout[k, c, i, j]
                    dw[c] = xp[k, :, r : r + hh, s : s + ww] * dout[k, c, i, j]
    h, wd = xp.shape[2:]
    return dxp[:, :, pad : h - pad, pad : wd - pad], dw, dout.sum(axis=(0, 2, 3))
