EXERCISE = "dropout_backward"
WRONG = "The mask is applied without its factor 1 / keep_prob."
NAMED = "The mask is used without its scale"
AT_FIRST_SIGHT = True
ROUND = 2


def dropout_backward(dout, cache):
    _, mask = cache
    return dout if mask is None else dout * (mask > 0)
