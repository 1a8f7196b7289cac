import numpy as np

EXERCISE = "spatial_groupnorm_forward"
WRONG = "The groups are ignored: statistics of the whole image."
NAMED = "G is not used"
AT_FIRST_SIGHT = True
ROUND = 2


def spatial_groupnorm_forward(x, gamma, beta, G, gn_param):
    eps = gn_param.get("eps", 1e-5)
    mean, var = x.mean(axis=(1, 2, 3), keepdims=True), x.var(axis=(1, 2, 3), keepdims=True)
    x_hat = (x - mean) / np.sqrt(var + eps)
    return x_hat * gamma.reshape(1, -1, 1, 1) + beta.reshape(1, -1, 1, 1), None
