import numpy as np

EXERCISE = "batchnorm_forward"
WRONG = "Momentum and 1 - momentum are swapped in the running averages."
NAMED = "The weights of the running averages are swapped"
AT_FIRST_SIGHT = True


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    d = x.shape[1]
    rm, rv = bn_param.get("running_mean", np.zeros(d)), bn_param.get("running_var", np.zeros(d))
    train = bn_param["mode"] == "train"
    if train:
        mean, var = x.mean(axis=0), x.var(axis=0)
        bn_param["running_mean"] = (1 - momentum) * rm + momentum * mean
        bn_param["running_var"] = (1 - momentum) * rv + momentum * var
    else:
        mean, var = rm, rv
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    return gamma * x_hat + beta, (x_hat, inv_std, gamma, train)
