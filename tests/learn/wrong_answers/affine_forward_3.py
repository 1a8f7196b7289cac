EXERCISE = "affine_forward"
WRONG = "b is added as a column, so that the result has another value in every column."
NAMED = ""
AT_FIRST_SIGHT = False


def affine_forward(x, w, b):
    out = x.reshape(len(x), -1) @ w
    for i in range(out.shape[0]):
        out[i] += b[i % len(b)]
    return out, (x, w)
