import numpy as np

EXERCISE = "dropout_forward"
WRONG = "One mask for all images: it is drawn per feature only."
NAMED = "One mask is used for all inputs of the batch"
AT_FIRST_SIGHT = True


def dropout_forward(x, dropout_param):
    p = dropout_param.get("keep_prob", dropout_param.get("p"))
    if dropout_param.get("seed") is not None:
        np.random.seed(dropout_param["seed"])
    if dropout_param["mode"] == "test":
        return x, (x.shape, None)
    mask = np.broadcast_to((np.random.rand(*x.shape[1:]) < p) / p, x.shape)
    return x * mask, (x.shape, mask)
