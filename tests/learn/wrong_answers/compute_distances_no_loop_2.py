EXERCISE = "compute_distances_no_loop"
WRONG = "The root is forgotten: squared distances."
NAMED = "The root is missing"
AT_FIRST_SIGHT = True


def compute_distances_no_loop(self, X):
    train = self.X_
    return (X**2).sum(axis=1)[:, None] + (train**2).sum(axis=1) - 2 * X @ train.T
