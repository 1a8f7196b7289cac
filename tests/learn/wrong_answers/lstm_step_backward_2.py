import numpy as np

EXERCISE = "lstm_step_backward"
WRONG = "dprev_c is the gradient of the cell itself; it is not multiplied with the forget gate."
NAMED = "dprev_c is not multiplied with the forget gate"
AT_FIRST_SIGHT = True


def lstm_step_backward(dnext_h, dnext_c, cache):
    x, prev_h, Wx, Wh, (i, f, o, g, prev_c, tanh_c) = cache
    dc = dnext_c + dnext_h * o * (1 - tanh_c**2)
    da = np.hstack(
        [dc * g * i * (1 - i), dc * prev_c * f * (1 - f), dnext_h * tanh_c * o * (1 - o), dc * i * (1 - g**2)]
    )
    return da @ Wx.T, da @ Wh.T, dc, x.T @ da, prev_h.T @ da, da.sum(axis=0)
