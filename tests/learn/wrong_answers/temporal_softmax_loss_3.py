import numpy as np

EXERCISE = "temporal_softmax_loss"
WRONG = "The mask is ignored."
NAMED = "The mask is not used"
AT_FIRST_SIGHT = True
ROUND = 2


def temporal_softmax_loss(x, y, mask):
    n, t, v = x.shape
    rows, labels = x.reshape(n * t, v), np.clip(y.reshape(-1), 0, v - 1)
    p = np.exp(rows - rows.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(n * t), labels]).sum() / n
    p[np.arange(n * t), labels] -= 1
    return loss, p.reshape(n, t, v) / n
