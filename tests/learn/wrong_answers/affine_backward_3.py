import numpy as np

EXERCISE = "affine_backward"
WRONG = "The sum for db runs over all values, so that every bias gets the same single number."
NAMED = "the sum of the right numbers"
AT_FIRST_SIGHT = False


def affine_backward(dout, cache):
    x, w = cache
    rows = x.reshape(x.shape[0], -1)
    dx = (dout @ w.T).reshape(x.shape)
    dw = rows.T @ dout
    db = np.full(w.shape[1], dout.sum())
    return dx, dw, db
