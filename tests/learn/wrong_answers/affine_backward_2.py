import numpy as np

EXERCISE = "affine_backward"
WRONG = "dw and db are divided by the number of images, although the gradient already holds that factor."
NAMED = "dw is divided by the number of inputs"
AT_FIRST_SIGHT = True


def affine_backward(dout, cache):
    x, w = cache
    n = x.shape[0]
    rows = x.reshape(n, -1)
    dx = dout.dot(w.T).reshape(x.shape)
    dw = rows.T.dot(dout) / n
    db = np.sum(dout, axis=0) / n
    return dx, dw, db
