"""Assignment 1, question 1: nearest neighbours."""

import sys

import matplotlib.pyplot as plt
import numpy as np
from cs231n.classifiers import KNearestNeighbor
from cs231n.data_utils import load_CIFAR10

FULL = "--full" in sys.argv

X_train, y_train, X_test, y_test = load_CIFAR10("cs231n/datasets/cifar-10-batches-py")
print("Training data shape: ", X_train.shape, "Test labels shape: ", y_test.shape)
plt.imshow(X_train[0].astype("uint8"))

num_training, num_test = (5000, 500) if FULL else (500, 50)
mask = list(range(num_training))
X_train, y_train = X_train[mask], y_train[mask]
X_test, y_test = X_test[:num_test], y_test[:num_test]
X_train = np.reshape(X_train, (X_train.shape[0], -1))
X_test = np.reshape(X_test, (X_test.shape[0], -1))

classifier = KNearestNeighbor()
classifier.train(X_train, y_train)
dists_two = classifier.compute_distances_no_loops(X_test)
assert dists_two.shape == (num_test, num_training)
if not FULL:
    dists = classifier.compute_distances_two_loops(X_test)
    assert np.linalg.norm(dists - dists_two, ord="fro") < 0.001
    dists_one = classifier.compute_distances_one_loop(X_test)
    assert np.linalg.norm(dists_one - dists_two, ord="fro") < 0.001

for k, published in ((1, 0.274), (5, 0.278)):
    y_test_pred = classifier.predict_labels(dists_two, k=k)
    accuracy = float(np.sum(y_test_pred == y_test)) / num_test
    print("k = %d: got %d / %d correct => accuracy: %f" % (k, np.sum(y_test_pred == y_test), num_test, accuracy))
    assert abs(accuracy - published) < 0.005 if FULL else accuracy > 0.5

num_folds, k_choices = 5, [1, 3, 10]
X_folds, y_folds = np.array_split(X_train, num_folds), np.array_split(y_train, num_folds)
k_to_accuracies = {}
for k in k_choices:
    k_to_accuracies[k] = []
    for fold in range(num_folds):
        model = KNearestNeighbor()
        model.train(
            np.concatenate([part for i, part in enumerate(X_folds) if i != fold]),
            np.concatenate([part for i, part in enumerate(y_folds) if i != fold]),
        )
        k_to_accuracies[k].append(np.mean(model.predict(X_folds[fold], k=k, num_loops=0) == y_folds[fold]))
best_k = max(k_choices, key=lambda k: np.mean(k_to_accuracies[k]))
classifier = KNearestNeighbor()
classifier.train(X_train, y_train)
accuracy = np.mean(classifier.predict(X_test, k=best_k) == y_test)
print("best k = %d => accuracy: %f" % (best_k, accuracy))
assert not FULL or (best_k == 10 and abs(accuracy - 0.282) < 0.005)
