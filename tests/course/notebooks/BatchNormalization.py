"""Assignment 2, question 2: batch and layer normalisation."""

import numpy as np
from cs231n.classifiers.fc_net import *
from cs231n.data_utils import get_CIFAR10_data
from cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array
from cs231n.solver import Solver


def rel_error(x, y):
    return np.max(np.abs(x - y) / (np.maximum(1e-8, np.abs(x) + np.abs(y))))


data = get_CIFAR10_data(num_training=500, num_validation=100, num_test=100)
np.random.seed(231)
N, D1, D2, D3 = 200, 50, 60, 3
W1, W2 = np.random.randn(D1, D2), np.random.randn(D2, D3)
a = np.maximum(0, np.random.randn(N, D1).dot(W1)).dot(W2)
a_norm, _ = batchnorm_forward(a, np.ones((D3,)), np.zeros((D3,)), {"mode": "train"})
assert np.allclose(a_norm.mean(axis=0), 0) and np.allclose(a_norm.std(axis=0), 1)
gamma, beta = np.asarray([1.0, 2.0, 3.0]), np.asarray([11.0, 12.0, 13.0])
a_norm, _ = batchnorm_forward(a, gamma, beta, {"mode": "train"})
assert np.allclose(a_norm.mean(axis=0), beta) and np.allclose(a_norm.std(axis=0), gamma)
bn_param = {"mode": "train"}
for _ in range(50):
    X = np.random.randn(N, D1)
    batchnorm_forward(np.maximum(0, X.dot(W1)).dot(W2), np.ones(D3), np.zeros(D3), bn_param)
bn_param["mode"] = "test"
a_norm, _ = batchnorm_forward(a, np.ones(D3), np.zeros(D3), bn_param)
assert np.all(np.abs(a_norm.mean(axis=0)) < 0.3) and np.all(np.abs(a_norm.std(axis=0) - 1) < 0.3)

x = 5 * np.random.randn(4, 5) + 12
gamma, beta, dout = np.random.randn(5), np.random.randn(5), np.random.randn(4, 5)
for forward, backward, param in (
    (batchnorm_forward, batchnorm_backward, {"mode": "train"}),
    (batchnorm_forward, batchnorm_backward_alt, {"mode": "train"}),
    (layernorm_forward, layernorm_backward, {}),
):
    fx = lambda x, f=forward, p=param: f(x, gamma, beta, p)[0]
    fg = lambda a, f=forward, p=param: f(x, a, beta, p)[0]
    fb = lambda b, f=forward, p=param: f(x, gamma, b, p)[0]
    dx_num = eval_numerical_gradient_array(fx, x, dout)
    da_num = eval_numerical_gradient_array(fg, gamma.copy(), dout)
    db_num = eval_numerical_gradient_array(fb, beta.copy(), dout)
    _, cache = forward(x, gamma, beta, param)
    dx, dgamma, dbeta = backward(dout, cache)
    print("dx error: ", rel_error(dx_num, dx))
    assert max(rel_error(dx_num, dx), rel_error(da_num, dgamma), rel_error(db_num, dbeta)) < 1e-6

X, y = np.random.randn(2, 15), np.random.randint(10, size=(2,))
for normalization in ("batchnorm", "layernorm"):
    model = FullyConnectedNet(
        [5, 6], input_dim=15, num_classes=10, reg=0, weight_scale=5e-2, dtype=np.float64, normalization=normalization
    )
    loss, grads = model.loss(X, y)
    print("Initial loss: ", loss)
    for name in sorted(grads):
        f = lambda _, model=model: model.loss(X, y)[0]
        grad_num = eval_numerical_gradient(f, model.params[name], verbose=False, h=1e-5)
        print("%s relative error: %.2e" % (name, rel_error(grad_num, grads[name])))

small_data = {
    "X_train": data["X_train"][:200], "y_train": data["y_train"][:200], "X_val": data["X_val"], "y_val": data["y_val"],
}  # fmt: skip
histories = {}
for normalization in ("batchnorm", "layernorm", None):
    model = FullyConnectedNet([50, 50, 50], weight_scale=2e-2, normalization=normalization)
    solver = Solver(
        model, small_data, num_epochs=4, batch_size=50, update_rule="adam", optim_config={"learning_rate": 1e-3},
        verbose=True, print_every=20,
    )  # fmt: skip
    solver.train()
    histories[normalization] = max(solver.train_acc_history)
assert histories["batchnorm"] > 0.8
for weight_scale in np.logspace(-4, 0, num=3):
    model = FullyConnectedNet([50, 50, 50, 50, 50], weight_scale=weight_scale, normalization=None)
    solver = Solver(
        model, small_data, num_epochs=2, batch_size=50, update_rule="adam", optim_config={"learning_rate": 1e-3},
        verbose=False, print_every=200,
    )  # fmt: skip
    solver.train()
    print(weight_scale, max(solver.train_acc_history), max(solver.val_acc_history), np.mean(solver.loss_history[-10:]))
