EXERCISE = "affine_forward"
WRONG = "The images are flattened with the batch axis last, so that each row mixes the images."
NAMED = "x is reshaped to (D, N) and transposed"
AT_FIRST_SIGHT = True


def affine_forward(x, w, b):
    rows = x.reshape(-1, x.shape[0]).T
    return rows @ w + b, (x, w)
