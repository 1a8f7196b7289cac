import numpy as np

EXERCISE = "softmax_loss"
WRONG = "The logarithms of all probabilities are summed, not only that of the right class."
NAMED = ""
AT_FIRST_SIGHT = False
ROUND = 2


def softmax_loss(scores, y):
    n = len(y)
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(p).sum() / n
    d = p.copy()
    d[np.arange(n), y] -= 1
    return loss, d / n
