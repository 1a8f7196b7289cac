import numpy as np

EXERCISE = "layernorm_forward"
WRONG = "gamma and beta are swapped."
NAMED = ""
AT_FIRST_SIGHT = False
ROUND = 2


def layernorm_forward(x, gamma, beta, ln_param):
    eps = ln_param.get("eps", 1e-5)
    x_hat = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + eps)
    return beta * x_hat + gamma, None
