import numpy as np

EXERCISE = "dropout_forward"
WRONG = "No division by keep_prob in training; the test mode multiplies instead (not inverted)."
NAMED = "That is not inverted dropout"
AT_FIRST_SIGHT = True


def dropout_forward(x, dropout_param):
    p = dropout_param.get("keep_prob", dropout_param.get("p"))
    if dropout_param.get("seed") is not None:
        np.random.seed(dropout_param["seed"])
    if dropout_param["mode"] == "test":
        return x * p, (x.shape, None)
    mask = (np.random.rand(*x.shape) < p).astype(x.dtype)
    return x * mask, (x.shape, mask)
