import numpy as np

EXERCISE = "dropout_forward"
WRONG = "Values are dropped in test mode too."
NAMED = "Values are dropped in test mode too"
AT_FIRST_SIGHT = True
ROUND = 2


def dropout_forward(x, dropout_param):
    p = dropout_param["keep_prob"]
    if dropout_param.get("seed") is not None:
        np.random.seed(dropout_param["seed"])
    mask = (np.random.rand(*x.shape) < p) / p
    return x * mask, (x.shape, mask)
