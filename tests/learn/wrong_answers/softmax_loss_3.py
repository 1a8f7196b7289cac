import numpy as np

EXERCISE = "softmax_loss"
WRONG = "The gradient is that of the probabilities: 1 is not subtracted at the right class."
NAMED = "In the gradient the 1 of the right class is not subtracted from the probabilities"
AT_FIRST_SIGHT = True


def softmax_loss(scores, y):
    n = len(y)
    shifted = scores - scores.max(axis=1)[:, None]
    p = np.exp(shifted)
    p /= p.sum(axis=1)[:, None]
    loss = -np.mean(np.log(p[range(n), y]))
    return loss, p / n
