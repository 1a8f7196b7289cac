import numpy as np

EXERCISE = "svm_loss"
WRONG = "The margin of 1 is forgotten."
NAMED = "The margin of 1 is missing"
AT_FIRST_SIGHT = True
ROUND = 2


def svm_loss(scores, y):
    n = len(y)
    margins = np.maximum(0, scores - scores[np.arange(n), y][:, None])
    margins[np.arange(n), y] = 0
    d = (margins > 0).astype(float)
    d[np.arange(n), y] -= d.sum(axis=1)
    return margins.sum() / n, d / n
