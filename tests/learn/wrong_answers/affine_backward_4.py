EXERCISE = "affine_backward"
WRONG = "dw is the transposed product, dout.T @ x."
NAMED = "dw is transposed, (M, D)"
AT_FIRST_SIGHT = True
ROUND = 2


def affine_backward(dout, cache):
    x, w = cache
    rows = x.reshape(len(x), -1)
    return (dout @ w.T).reshape(x.shape), dout.T @ rows, dout.sum(0)
