import numpy as np

EXERCISE = "svm_loss"
WRONG = "The gradient of the right class is -1, whatever the number of violated margins."
NAMED = "The gradient of the right class is -1"
AT_FIRST_SIGHT = True


def svm_loss(scores, y):
    n = len(scores)
    right = scores[np.arange(n), y][:, None]
    margins = np.maximum(0, scores - right + 1)
    margins[np.arange(n), y] = 0
    d = np.zeros_like(scores)
    d[margins > 0] = 1
    d[np.arange(n), y] = -1
    return margins.sum() / n, d / n
