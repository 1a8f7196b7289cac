import numpy as np

EXERCISE = "dropout_forward"
WRONG = "keep_prob is used as the probability to drop."
NAMED = "keep_prob is taken for the probability of dropping"
AT_FIRST_SIGHT = True


def dropout_forward(x, dropout_param):
    p = dropout_param.get("keep_prob", dropout_param.get("p"))
    if dropout_param.get("seed") is not None:
        np.random.seed(dropout_param["seed"])
    if dropout_param["mode"] == "test":
        return x, (x.shape, None)
    mask = (np.random.rand(*x.shape) >= p) / p
    return x * mask, (x.shape, mask)
