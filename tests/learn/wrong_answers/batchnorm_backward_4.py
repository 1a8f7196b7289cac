EXERCISE = "batchnorm_backward"
WRONG = "In dx the sums over the batch are not divided by N."
NAMED = "the sums over the batch are not divided by N"
AT_FIRST_SIGHT = False


def batchnorm_backward(dout, cache):
    x_hat, inv_std, gamma, train = cache
    g = dout * gamma
    dgamma, dbeta = (dout * x_hat).sum(axis=0), dout.sum(axis=0)
    if not train:
        return g * inv_std, dgamma, dbeta
    dx = inv_std * (g - g.sum(axis=0) - x_hat * (g * x_hat).sum(axis=0))
    return dx, dgamma, dbeta
