EXERCISE = "layernorm_forward"
WRONG = "eps is added to the standard deviation instead of the variance."
NAMED = "eps is added to the standard deviation"
AT_FIRST_SIGHT = True


def layernorm_forward(x, gamma, beta, ln_param):
    eps = ln_param.get("eps", 1e-5)
    mean = x.mean(axis=1, keepdims=True)
    inv_std = 1 / (x.std(axis=1, keepdims=True) + eps)
    x_hat = (x - mean) * inv_std
    return gamma * x_hat + beta, (x_hat, inv_std, gamma, True)
