EXERCISE = "batchnorm_backward"
WRONG = "Mean and variance are treated as constants: dx is only dout * gamma / std."
NAMED = "Mean and variance are taken for constants in train mode"
AT_FIRST_SIGHT = True


def batchnorm_backward(dout, cache):
    x_hat, inv_std, gamma, _ = cache
    return dout * gamma * inv_std, (dout * x_hat).sum(axis=0), dout.sum(axis=0)
