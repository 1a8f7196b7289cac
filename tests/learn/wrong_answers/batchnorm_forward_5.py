import numpy as np

EXERCISE = "batchnorm_forward"
WRONG = "The running averages are updated in test mode as well."
NAMED = ""
AT_FIRST_SIGHT = False
ROUND = 2


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, m = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    rm, rv = (bn_param.get(key, np.zeros(x.shape[1])) for key in ("running_mean", "running_var"))
    mean, var = x.mean(axis=0), x.var(axis=0)
    bn_param["running_mean"], bn_param["running_var"] = m * rm + (1 - m) * mean, m * rv + (1 - m) * var
    if bn_param["mode"] == "test":
        mean, var = rm, rv
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma * x_hat + beta, None
