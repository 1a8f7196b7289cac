import numpy as np

EXERCISE = "conv_forward_naive"
WRONG = "The bias is added once per channel of the image, inside the loop over channels."
NAMED = "b is added to out 3, 2, 1 times"
AT_FIRST_SIGHT = False


def conv_forward_naive(x, w, b, conv_param):
    stride, pad = conv_param["stride"], conv_param["pad"]
    n, channels, h, wd = x.shape
    f, _, hh, ww = w.shape
    oh, ow = 1 + (h + 2 * pad - hh) // stride, 1 + (wd + 2 * pad - ww) // stride
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    out = np.zeros((n, f, oh, ow))
    for k in range(f):
        for i in range(oh):
            for j in range(ow):
                for c in range(channels):
                    patch = xp[:, c, i * stride : i * stride + hh, j * stride : j * stride + ww]
                    out[:, k, i, j] += (patch * w[k, c]).sum(axis=(1, 2)) + b[k]
    return out, (xp, w, stride, pad)
