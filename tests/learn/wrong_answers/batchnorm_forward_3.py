import numpy as np

EXERCISE = "batchnorm_forward"
WRONG = "The test mode still uses the statistics of the batch."
NAMED = "In test mode the statistics of the batch are used"
AT_FIRST_SIGHT = True


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    d = x.shape[1]
    rm, rv = bn_param.get("running_mean", np.zeros(d)), bn_param.get("running_var", np.zeros(d))
    mean, var = x.mean(axis=0), x.var(axis=0)
    train = bn_param["mode"] == "train"
    if train:
        bn_param["running_mean"] = momentum * rm + (1 - momentum) * mean
        bn_param["running_var"] = momentum * rv + (1 - momentum) * var
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    return gamma * x_hat + beta, (x_hat, inv_std, gamma, train)
