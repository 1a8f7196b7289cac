"""Assignment 1, question 3: the softmax classifier."""

import numpy as np
from cs231n.classifiers import Softmax
from cs231n.classifiers.softmax import softmax_loss_naive, softmax_loss_vectorized
from cs231n.data_utils import load_CIFAR10
from cs231n.gradient_check import grad_check_sparse


def get_CIFAR10_data(num_training=800, num_validation=100, num_dev=100):
    X_train, y_train, _, _ = load_CIFAR10("cs231n/datasets/cifar-10-batches-py")
    X_val, y_val = X_train[num_training:][:num_validation], y_train[num_training:][:num_validation]
    X_train, y_train = X_train[:num_training], y_train[:num_training]
    mask = np.random.choice(num_training, num_dev, replace=False)
    sets = [np.reshape(X, (X.shape[0], -1)) for X in (X_train, X_val, X_train[mask])]
    mean_image = np.mean(sets[0], axis=0)
    sets = [np.hstack([X - mean_image, np.ones((X.shape[0], 1))]) for X in sets]
    return sets[0], y_train, sets[1], y_val, sets[2], y_train[mask]


X_train, y_train, X_val, y_val, X_dev, y_dev = get_CIFAR10_data()
W = np.random.randn(3073, 10) * 0.0001
loss, grad = softmax_loss_naive(W, X_dev, y_dev, 0.0)
print("loss: %f" % loss)
print("sanity check: %f" % (-np.log(0.1)))
assert abs(loss + np.log(0.1)) < 0.5
grad_check_sparse(lambda w: softmax_loss_naive(w, X_dev, y_dev, 0.0)[0], W, grad, 10)
loss, grad = softmax_loss_naive(W, X_dev, y_dev, 5e1)
grad_check_sparse(lambda w: softmax_loss_naive(w, X_dev, y_dev, 5e1)[0], W, grad, 10)
loss_naive, grad_naive = softmax_loss_naive(W, X_dev, y_dev, 0.000005)
loss_vectorized, grad_vectorized = softmax_loss_vectorized(W, X_dev, y_dev, 0.000005)
assert abs(loss_naive - loss_vectorized) < 1e-9
assert np.linalg.norm(grad_naive - grad_vectorized, ord="fro") < 1e-6

results, best_val, best_softmax = {}, -1, None
for lr in [1e-7, 5e-7]:
    for reg in [2.5e4, 5e4]:
        softmax = Softmax()
        softmax.train(X_train, y_train, learning_rate=lr, reg=reg, num_iters=100, batch_size=200)
        results[(lr, reg)] = np.mean(softmax.predict(X_train) == y_train), np.mean(softmax.predict(X_val) == y_val)
        if results[(lr, reg)][1] > best_val:
            best_val, best_softmax = results[(lr, reg)][1], softmax
print("best validation accuracy achieved during cross-validation: %f" % best_val)
assert best_val > 0.5
assert best_softmax.W[:-1, :].reshape(32, 32, 3, 10).shape == (32, 32, 3, 10)
