import numpy as np

EXERCISE = "softmax_loss"
WRONG = "The logarithm has base 2."
NAMED = "Is the logarithm of base 2"
AT_FIRST_SIGHT = False


def softmax_loss(scores, y):
    n = len(y)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log2(p[np.arange(n), y]).mean()
    d = p.copy()
    d[np.arange(n), y] -= 1
    return loss, d / n
