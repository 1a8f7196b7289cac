import numpy as np

EXERCISE = "conv_forward_naive"
WRONG = "Only the first channel of the image is used."
NAMED = "Only the first channel is used"
AT_FIRST_SIGHT = True
ROUND = 2


def conv_forward_naive(x, w, b, conv_param):
    stride, pad = conv_param["stride"], conv_param["pad"]
    n, _, h, wd = x.shape
    f, _, hh, ww = w.shape
    oh, ow = 1 + (h + 2 * pad - hh) // stride, 1 + (wd + 2 * pad - ww) // stride
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    out = np.zeros((n, f, oh, ow))
    for k in range(n):
        for c in range(f):
            for i in range(oh):
                for j in range(ow):
                    patch = xp[k, 0, i * stride : i * stride + hh, j * stride : j * stride + ww]
                    out[k, c, i, j] = (patch * w[c, 0]).sum() + b[c]
    return out, (xp, w, stride, pad)
