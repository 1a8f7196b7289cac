import numpy as np

EXERCISE = "layernorm_forward"
WRONG = "Mean and variance are taken over the images (axis 0), as in BatchNorm."
NAMED = "Mean and variance are over the batch (axis 0), as in BatchNorm"
AT_FIRST_SIGHT = True


def layernorm_forward(x, gamma, beta, ln_param):
    eps = ln_param.get("eps", 1e-5)
    mean, var = x.mean(axis=0), x.var(axis=0)
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    return gamma * x_hat + beta, (x_hat, inv_std, gamma, True)
