"""Assignment 1, question 2: the support vector machine."""

import sys

import numpy as np
from cs231n.classifiers import LinearSVM
from cs231n.classifiers.linear_svm import svm_loss_naive, svm_loss_vectorized
from cs231n.data_utils import load_CIFAR10
from cs231n.gradient_check import grad_check_sparse

FULL = "--full" in sys.argv
X_train, y_train, X_test, y_test = load_CIFAR10("cs231n/datasets/cifar-10-batches-py")
num_training, num_validation, num_test = (49000, 1000, 1000) if FULL else (800, 100, 100)
X_val, y_val = X_train[num_training : num_training + num_validation], y_train[num_training:][:num_validation]
X_train, y_train = X_train[:num_training], y_train[:num_training]
X_test, y_test = X_test[:num_test], y_test[:num_test]
chosen = np.random.choice(num_training, 100, replace=False)
X_dev, y_dev = X_train[chosen], y_train[chosen]
X_train, X_val, X_test, X_dev = (np.reshape(X, (X.shape[0], -1)) for X in (X_train, X_val, X_test, X_dev))
mean_image = np.mean(X_train, axis=0)
for X in (X_train, X_val, X_test, X_dev):
    X -= mean_image
X_train, X_val, X_test, X_dev = (np.hstack([X, np.ones((X.shape[0], 1))]) for X in (X_train, X_val, X_test, X_dev))
print(X_train.shape, X_val.shape, X_test.shape, X_dev.shape)

W = np.random.randn(3073, 10) * 0.0001
loss, grad = svm_loss_naive(W, X_dev, y_dev, 0.000005)
print("loss: %f" % (loss,))
assert 5 < loss < 15
for reg in (0.0, 5e1):
    loss, grad = svm_loss_naive(W, X_dev, y_dev, reg)
    grad_check_sparse(lambda w, reg=reg: svm_loss_naive(w, X_dev, y_dev, reg)[0], W, grad)
loss_naive, grad_naive = svm_loss_naive(W, X_dev, y_dev, 0.000005)
loss_vectorized, grad_vectorized = svm_loss_vectorized(W, X_dev, y_dev, 0.000005)
print("difference: %f" % (loss_naive - loss_vectorized))
assert np.linalg.norm(grad_naive - grad_vectorized, ord="fro") < 1e-6

svm = LinearSVM()
num_iters = 1500 if FULL else 200
loss_hist = svm.train(X_train, y_train, learning_rate=1e-7, reg=2.5e4, num_iters=num_iters, verbose=True)
assert len(loss_hist) == num_iters
y_train_pred, y_val_pred = svm.predict(X_train), svm.predict(X_val)
print("training accuracy: %f" % (np.mean(y_train == y_train_pred),))
print("validation accuracy: %f" % (np.mean(y_val == y_val_pred),))
assert np.mean(y_val == y_val_pred) > (0.35 if FULL else 0.5)

best_val, best_svm = -1, None
for lr in [1e-7, 5e-5]:
    for reg in [2.5e4, 5e4]:
        svm = LinearSVM()
        svm.train(X_train, y_train, learning_rate=lr, reg=reg, num_iters=150)
        val = np.mean(svm.predict(X_val) == y_val)
        print("lr %e reg %e val accuracy: %f" % (lr, reg, val))
        if val > best_val:
            best_val, best_svm = val, svm
print("test accuracy: %f" % np.mean(y_test == best_svm.predict(X_test)))
w = best_svm.W[:-1, :].reshape(32, 32, 3, 10)
w_min, w_max = np.min(w), np.max(w)
wimg = 255.0 * (w[:, :, :, 0].squeeze() - w_min) / (w_max - w_min)
assert wimg.shape == (32, 32, 3)
