import numpy as np

EXERCISE = "compute_distances_no_loop"
WRONG = "The product of the binomial has the wrong sign: + 2ab."
NAMED = "The product has the wrong sign"
AT_FIRST_SIGHT = True


def compute_distances_no_loop(self, X):
    train = self.X_
    squares = (X**2).sum(axis=1)[:, None] + (train**2).sum(axis=1)[None, :] + 2 * X @ train.T
    return np.sqrt(squares)
