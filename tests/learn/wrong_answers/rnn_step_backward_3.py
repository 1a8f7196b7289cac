EXERCISE = "rnn_step_backward"
WRONG = "db keeps an axis of length 1."
NAMED = "db has the shape (1, 2), expected (2,)"
AT_FIRST_SIGHT = True


def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, next_h = cache
    da = dnext_h * (1 - next_h**2)
    return da @ Wx.T, da @ Wh.T, x.T @ da, prev_h.T @ da, da.sum(axis=0, keepdims=True)
