EXERCISE = "batchnorm_backward"
WRONG = "The gradient is not multiplied with gamma on its way to x."
NAMED = "gamma is missing in dx"
AT_FIRST_SIGHT = True


def batchnorm_backward(dout, cache):
    x_hat, inv_std, _, train = cache
    dgamma, dbeta = (dout * x_hat).sum(axis=0), dout.sum(axis=0)
    if not train:
        return dout * inv_std, dgamma, dbeta
    return inv_std * (dout - dout.mean(axis=0) - x_hat * (dout * x_hat).mean(axis=0)), dgamma, dbeta
