import numpy as np

EXERCISE = "conv_backward_naive"
WRONG = "dx keeps the padding."
NAMED = "dx still has the padding"
AT_FIRST_SIGHT = True


def conv_backward_naive(dout, cache):
    xp, w, stride, _ = cache
    _, _, hh, ww = w.shape
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    n, f, oh, ow = dout.shape
    for k in range(n):
        for c in range(f):
            for i in range(oh):
                for j in range(ow):
                    r, s = i * stride, j * stride
                    dxp[k, :, r : r + hh, s : s + ww] += w[c] * dout[k, c, i, j]
                    dw[c] += xp[k, :, r : r + hh, s : s + ww] * dout[k, c, i, j]
    return dxp, dw, dout.sum(axis=(0, 2, 3))
