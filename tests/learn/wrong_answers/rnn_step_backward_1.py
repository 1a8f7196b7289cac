EXERCISE = "rnn_step_backward"
WRONG = "The derivative of tanh is 1 - tanh instead of 1 - tanh squared."
NAMED = "The slope of tanh is 1 - next_h**2"
AT_FIRST_SIGHT = True


def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, next_h = cache
    da = dnext_h * (1 - next_h)
    return da @ Wx.T, da @ Wh.T, x.T @ da, prev_h.T @ da, da.sum(axis=0)
