import numpy as np

EXERCISE = "spatial_batchnorm_forward"
WRONG = "Statistics per pixel position, over the batch only, instead of per channel."
NAMED = "Each position is normalised by itself (axis 0 alone)"
AT_FIRST_SIGHT = True


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    c = x.shape[1]
    rm, rv = bn_param.get("running_mean", np.zeros(c)), bn_param.get("running_var", np.zeros(c))
    train = bn_param["mode"] == "train"
    if train:
        mean, var = x.mean(axis=0, keepdims=True), x.var(axis=0, keepdims=True)
        bn_param["running_mean"] = momentum * rm + (1 - momentum) * mean.mean(axis=(0, 2, 3))
        bn_param["running_var"] = momentum * rv + (1 - momentum) * var.mean(axis=(0, 2, 3))
    else:
        mean, var = rm.reshape(1, c, 1, 1), rv.reshape(1, c, 1, 1)
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    g = gamma.reshape(1, c, 1, 1)
    return g * x_hat + beta.reshape(1, c, 1, 1), (x_hat, inv_std, g, train)
