import numpy as np

EXERCISE = "temporal_softmax_loss"
WRONG = "The mask is applied to the loss, but not to the gradient."
NAMED = "is a mask missing?"
AT_FIRST_SIGHT = False


def temporal_softmax_loss(x, y, mask):
    n, t, v = x.shape
    rows, labels, m = x.reshape(n * t, v), y.reshape(-1), mask.reshape(-1)
    labels = np.where(m, labels, 0)
    p = np.exp(rows - rows.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.sum(m * np.log(p[np.arange(n * t), labels])) / n
    d = p.copy()
    d[np.arange(n * t), labels] -= 1
    return loss, d.reshape(n, t, v) / n
