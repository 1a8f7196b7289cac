import numpy as np

EXERCISE = "svm_loss"
WRONG = "The margins are squared."
NAMED = "The margins are squared"
AT_FIRST_SIGHT = True
ROUND = 2


def svm_loss(scores, y):
    n = len(y)
    margins = np.maximum(0, scores - scores[np.arange(n), y][:, None] + 1)
    margins[np.arange(n), y] = 0
    d = 2 * margins
    d[np.arange(n), y] = -d.sum(axis=1)
    return (margins**2).sum() / n, d / n
