EXERCISE = "batchnorm_backward"
WRONG = "dgamma and dbeta are returned in the wrong order."
NAMED = "dgamma and dbeta are returned in each other's place"
AT_FIRST_SIGHT = True


def batchnorm_backward(dout, cache):
    x_hat, inv_std, gamma, train = cache
    g = dout * gamma
    dx = inv_std * g if not train else inv_std * (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0))
    return dx, dout.sum(axis=0), (dout * x_hat).sum(axis=0)
