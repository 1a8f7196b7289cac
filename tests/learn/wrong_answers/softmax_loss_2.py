import numpy as np

EXERCISE = "softmax_loss"
WRONG = "The exponentials are normalised over the images instead of over the classes."
NAMED = "Softmax runs over the inputs (axis 0)"
AT_FIRST_SIGHT = False


def softmax_loss(scores, y):
    n = scores.shape[0]
    e = np.exp(scores - scores.max())
    p = e / e.sum(axis=0)
    loss = -np.log(p[np.arange(n), y]).mean()
    d = p.copy()
    d[np.arange(n), y] -= 1
    return loss, d / n
