EXERCISE = "batchnorm_backward"
WRONG = "The path through the variance is forgotten, that through the mean is there."
NAMED = "The way through the variance is missing"
AT_FIRST_SIGHT = False


def batchnorm_backward(dout, cache):
    x_hat, inv_std, gamma, _ = cache
    g = dout * gamma
    dx = inv_std * (g - g.mean(axis=0))
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)
