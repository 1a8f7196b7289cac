import numpy as np

EXERCISE = "compute_distances_no_loop"
WRONG = "The squares of the test images are added along the wrong axis, and the shapes do not fit."
NAMED = "make one of them a column"
AT_FIRST_SIGHT = False


def compute_distances_no_loop(self, X):
    train = self.X_
    squares = np.sum(X**2, axis=1) + np.sum(train**2, axis=1) - 2 * X.dot(train.T)
    return np.sqrt(squares)
