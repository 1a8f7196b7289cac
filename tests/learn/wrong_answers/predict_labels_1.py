import numpy as np

EXERCISE = "predict_labels"
WRONG = "The k farthest vote instead of the k nearest."
NAMED = "The farthest examples vote"
AT_FIRST_SIGHT = True


def predict_labels(self, distances, k):
    labels = []
    for row in distances:
        nearest = np.argsort(row)[::-1][:k]
        labels.append(np.bincount(self.y_[nearest]).argmax())
    return self.classes_[np.array(labels)]
