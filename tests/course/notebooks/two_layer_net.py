"""Assignment 1, question 4: the two-layer net."""

import numpy as np
from cs231n.classifiers.neural_net import TwoLayerNet
from cs231n.data_utils import get_CIFAR10_data
from cs231n.gradient_check import eval_numerical_gradient
from cs231n.vis_utils import visualize_grid


def rel_error(x, y):
    return np.max(np.abs(x - y) / (np.maximum(1e-8, np.abs(x) + np.abs(y))))


np.random.seed(0)
net = TwoLayerNet(4, 10, 3, std=1e-1)
np.random.seed(1)
X, y = 10 * np.random.randn(5, 4), np.array([0, 1, 2, 2, 1])
scores = net.loss(X)
correct_scores = np.asarray([
    [-0.81233741, -1.27654624, -0.70335995], [-0.17129677, -1.18803311, -0.47310444],
    [-0.51590475, -1.01354314, -0.8504215], [-0.15419291, -0.48629638, -0.52901952],
    [-0.00618733, -0.12435261, -0.15226949],
])  # fmt: skip
assert np.sum(np.abs(scores - correct_scores)) < 1e-7
loss, _ = net.loss(X, y, reg=0.05)
assert np.sum(np.abs(loss - 1.30378789133)) < 1e-11
loss, grads = net.loss(X, y, reg=0.05)
for param_name in grads:
    f = lambda W: net.loss(X, y, reg=0.05)[0]
    param_grad_num = eval_numerical_gradient(f, net.params[param_name], verbose=False)
    print("%s max relative error: %e" % (param_name, rel_error(param_grad_num, grads[param_name])))
    assert rel_error(param_grad_num, grads[param_name]) < 1e-8
stats = net.train(X, y, X, y, learning_rate=1e-1, reg=5e-6, num_iters=100, verbose=False)
print("Final training loss: ", stats["loss_history"][-1])
assert stats["loss_history"][-1] < 0.02

data = get_CIFAR10_data(num_training=800, num_validation=100, num_test=100)
X_train, X_val, X_test = (
    data[name].transpose(0, 2, 3, 1).reshape(len(data[name]), -1) for name in ("X_train", "X_val", "X_test")
)
y_train, y_val, y_test = data["y_train"], data["y_val"], data["y_test"]
net = TwoLayerNet(32 * 32 * 3, 50, 10)
stats = net.train(
    X_train, y_train, X_val, y_val, num_iters=200, batch_size=200, learning_rate=1e-3, learning_rate_decay=0.95,
    reg=0.25, verbose=True,
)  # fmt: skip
val_acc = (net.predict(X_val) == y_val).mean()
print("Validation accuracy: ", val_acc, "Test accuracy: ", (net.predict(X_test) == y_test).mean())
assert val_acc > 0.5
assert len(stats["loss_history"]) == 200
assert len(stats["train_acc_history"]) == len(stats["val_acc_history"]) == 50
grid = visualize_grid(net.params["W1"].reshape(32, 32, 3, -1).transpose(3, 0, 1, 2), padding=3).astype("uint8")
assert grid.shape == (8 * 35 - 3, 8 * 35 - 3, 3)
