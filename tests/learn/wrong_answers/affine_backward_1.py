EXERCISE = "affine_backward"
WRONG = "dx has the flattened shape instead of the shape of x."
NAMED = "dx stays (N, D)"
AT_FIRST_SIGHT = True


def affine_backward(dout, cache):
    x, w = cache
    rows = x.reshape(x.shape[0], -1)
    dx = dout @ w.T
    dw = rows.T @ dout
    db = dout.sum(axis=0)
    return dx, dw, db
