import numpy as np

EXERCISE = "softmax_loss"
WRONG = "The loss is summed over the images, not averaged; the gradient is right."
NAMED = "The loss is a sum over the inputs"
AT_FIRST_SIGHT = False


def softmax_loss(scores, y):
    n = scores.shape[0]
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(n), y]).sum()
    d = p.copy()
    d[np.arange(n), y] -= 1
    return loss, d / n
