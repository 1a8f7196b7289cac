EXERCISE = "dropout_backward"
WRONG = "dout is passed on unchanged: the mask is not applied."
NAMED = "dout is passed on as it is"
AT_FIRST_SIGHT = True


def dropout_backward(dout, cache):
    return dout.copy()
