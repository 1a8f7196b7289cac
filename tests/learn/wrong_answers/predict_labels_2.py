EXERCISE = "predict_labels"
WRONG = "k is ignored: the nearest neighbour alone decides."
NAMED = "Only the nearest example decides"
AT_FIRST_SIGHT = True


def predict_labels(self, distances, k):
    return self.classes_[self.y_[distances.argmin(axis=1)]]
