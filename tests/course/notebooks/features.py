"""Assignment 1, question 5: image features."""

import numpy as np
from cs231n.classifiers.linear_classifier import LinearSVM
from cs231n.classifiers.neural_net import TwoLayerNet
from cs231n.data_utils import load_CIFAR10
from cs231n.features import *

X_train, y_train, X_test, y_test = load_CIFAR10("cs231n/datasets/cifar-10-batches-py")
X_val, y_val = X_train[400:500], y_train[400:500]
X_train, y_train, X_test, y_test = X_train[:400], y_train[:400], X_test[:100], y_test[:100]

num_color_bins = 10
feature_fns = [hog_feature, lambda img: color_histogram_hsv(img, nbin=num_color_bins)]
X_train_feats = extract_features(X_train, feature_fns, verbose=True)
X_val_feats = extract_features(X_val, feature_fns)
X_test_feats = extract_features(X_test, feature_fns)
mean_feat = np.mean(X_train_feats, axis=0, keepdims=True)
std_feat = np.std(X_train_feats, axis=0, keepdims=True)
X_train_feats, X_val_feats, X_test_feats = (
    np.hstack([(X - mean_feat) / std_feat, np.ones((X.shape[0], 1))])
    for X in (X_train_feats, X_val_feats, X_test_feats)
)
assert X_train_feats.shape == (400, 155)

svm = LinearSVM()
svm.train(X_train_feats, y_train, learning_rate=1e-4, reg=5e-2, num_iters=300, verbose=True)
print("val accuracy", np.mean(svm.predict(X_val_feats) == y_val))
assert np.mean(svm.predict(X_val_feats) == y_val) > 0.3

X_train_feats, X_val_feats, X_test_feats = X_train_feats[:, :-1], X_val_feats[:, :-1], X_test_feats[:, :-1]
net = TwoLayerNet(X_train_feats.shape[1], 50, 10)
net.train(X_train_feats, y_train, X_val_feats, y_val, learning_rate=0.5, num_iters=300, batch_size=100)
test_acc = (net.predict(X_test_feats) == y_test).mean()
print(test_acc)
assert test_acc > 0.3
