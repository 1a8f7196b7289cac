import numpy as np

EXERCISE = "temporal_softmax_loss"
WRONG = "Divided by the number of words that count, instead of by the number of sequences."
NAMED = "The loss is the mean over the words that count"
AT_FIRST_SIGHT = True


def temporal_softmax_loss(x, y, mask):
    n, t, v = x.shape
    rows, labels, m = x.reshape(n * t, v), y.reshape(-1), mask.reshape(-1)
    labels = np.where(m, labels, 0)
    p = np.exp(rows - rows.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    count = m.sum()
    loss = -np.sum(m * np.log(p[np.arange(n * t), labels])) / count
    d = p.copy()
    d[np.arange(n * t), labels] -= 1
    return loss, (d * m[:, None] / count).reshape(n, t, v)
