import numpy as np

EXERCISE = "spatial_groupnorm_forward"
WRONG = "The groups are made of every G-th channel instead of neighbouring ones."
NAMED = "The groups are made of every G-th channel"
AT_FIRST_SIGHT = True


def spatial_groupnorm_forward(x, gamma, beta, G, gn_param):
    eps = gn_param.get("eps", 1e-5)
    n, c, h, w = x.shape
    groups = x.reshape(n, c // G, G, h, w)
    mean, var = groups.mean(axis=(1, 3, 4), keepdims=True), groups.var(axis=(1, 3, 4), keepdims=True)
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = ((groups - mean) * inv_std).reshape(n, c, h, w)
    out = x_hat * gamma.reshape(1, c, 1, 1) + beta.reshape(1, c, 1, 1)
    return out, ((x_hat, inv_std, gamma, True), G)
