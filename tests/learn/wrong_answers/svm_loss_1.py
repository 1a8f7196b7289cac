import numpy as np

EXERCISE = "svm_loss"
WRONG = "The right class is counted as well, so that the loss is 1 too large."
NAMED = "The right class is counted too"
AT_FIRST_SIGHT = True


def svm_loss(scores, y):
    n = len(scores)
    right = scores[np.arange(n), y][:, None]
    margins = np.maximum(0, scores - right + 1)
    loss = margins.sum() / n
    d = (margins > 0).astype(scores.dtype)
    d[np.arange(n), y] = 0
    d[np.arange(n), y] = -d.sum(axis=1)
    return loss, d / n
