import numpy as np

EXERCISE = "word_embedding_backward"
WRONG = "The gradient of a word is averaged over its occurrences."
NAMED = "The gradients of a word are averaged"
AT_FIRST_SIGHT = True
ROUND = 2


def word_embedding_backward(dout, cache):
    x, shape = cache
    dW, count = np.zeros(shape), np.zeros(shape[0])
    np.add.at(dW, x, dout)
    np.add.at(count, x, 1)
    return dW / np.maximum(count, 1)[:, None]
