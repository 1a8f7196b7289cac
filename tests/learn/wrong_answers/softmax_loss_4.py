import numpy as np

EXERCISE = "softmax_loss"
WRONG = "The largest score is not subtracted, so that large scores overflow."
NAMED = "The largest score is not subtracted first"
AT_FIRST_SIGHT = True


def softmax_loss(scores, y):
    n = len(y)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(n), y]).mean()
    d = p.copy()
    d[np.arange(n), y] -= 1
    return loss, d / n
