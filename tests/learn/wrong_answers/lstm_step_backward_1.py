import numpy as np

EXERCISE = "lstm_step_backward"
WRONG = "The gradient of the cell that comes through the state is forgotten."
NAMED = "The gradient of the cell that comes through next_h is missing"
AT_FIRST_SIGHT = True


def lstm_step_backward(dnext_h, dnext_c, cache):
    x, prev_h, Wx, Wh, (i, f, o, g, prev_c, tanh_c) = cache
    dc = dnext_c
    di, df, do, dg = dc * g, dc * prev_c, dnext_h * tanh_c, dc * i
    da = np.hstack([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)])
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, prev_h.T @ da, da.sum(axis=0)
