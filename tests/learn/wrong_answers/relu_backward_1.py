EXERCISE = "relu_backward"
WRONG = "The mask is taken from dout instead of from x."
NAMED = "The mask is taken from dout"
AT_FIRST_SIGHT = True


def relu_backward(dout, cache):
    x = cache
    dx = dout * (dout > 0)
    return dx.reshape(x.shape)
