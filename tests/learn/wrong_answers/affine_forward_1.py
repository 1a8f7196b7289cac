EXERCISE = "affine_forward"
WRONG = "The bias is forgotten."
NAMED = "The biases are not added"
AT_FIRST_SIGHT = True


def affine_forward(x, w, b):
    out = x.reshape(x.shape[0], -1) @ w
    return out, (x, w)
