import numpy as np

EXERCISE = "word_embedding_backward"
WRONG = "A word that occurs twice gets only its last gradient: dW[x] += dout."
NAMED = "A word that occurs several times is counted once"
AT_FIRST_SIGHT = True


def word_embedding_backward(dout, cache):
    x, shape = cache
    dW = np.zeros(shape)
    dW[x] += dout
    return dW
