import numpy as np

EXERCISE = "predict_labels"
WRONG = "The mean of the labels is rounded instead of taking a vote."
NAMED = ""
AT_FIRST_SIGHT = False


def predict_labels(self, distances, k):
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return self.classes_[np.round(self.y_[nearest].mean(axis=1)).astype(int)]
