import numpy as np

EXERCISE = "lstm_step_backward"
WRONG = "The slope of the tanh of g is forgotten."
NAMED = ""
AT_FIRST_SIGHT = False
ROUND = 2


def lstm_step_backward(dnext_h, dnext_c, cache):
    x, prev_h, Wx, Wh, (i, f, o, g, prev_c, tanh_c) = cache
    dc = dnext_c + dnext_h * o * (1 - tanh_c**2)
    da = np.hstack([dc * g * i * (1 - i), dc * prev_c * f * (1 - f), dnext_h * tanh_c * o * (1 - o), dc * i])
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, prev_h.T @ da, da.sum(axis=0)
