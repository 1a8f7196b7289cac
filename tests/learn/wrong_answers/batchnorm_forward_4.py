import numpy as np

EXERCISE = "batchnorm_forward"
WRONG = "Divided by the variance instead of the standard deviation."
NAMED = "x is divided by the variance"
AT_FIRST_SIGHT = True
ROUND = 2


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, m = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    rm, rv = (bn_param.get(key, np.zeros(x.shape[1])) for key in ("running_mean", "running_var"))
    if bn_param["mode"] == "train":
        mean, var = x.mean(axis=0), x.var(axis=0)
        bn_param["running_mean"], bn_param["running_var"] = m * rm + (1 - m) * mean, m * rv + (1 - m) * var
    else:
        mean, var = rm, rv
    x_hat = (x - mean) / (var + eps)
    return gamma * x_hat + beta, None
