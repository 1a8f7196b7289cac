"""Assignment 2, question 3: dropout."""

import numpy as np
from cs231n.classifiers.fc_net import *
from cs231n.data_utils import get_CIFAR10_data
from cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array
from cs231n.solver import Solver


def rel_error(x, y):
    return np.max(np.abs(x - y) / (np.maximum(1e-8, np.abs(x) + np.abs(y))))


data = get_CIFAR10_data(num_training=800, num_validation=100, num_test=100)
np.random.seed(231)
x = np.random.randn(500, 500) + 10
for p in [0.25, 0.4, 0.7]:
    out, _ = dropout_forward(x, {"mode": "train", "p": p})
    out_test, _ = dropout_forward(x, {"mode": "test", "p": p})
    print("Running tests with p = ", p, "mean of train-time output: ", out.mean(), "zeros: ", (out == 0).mean())
    assert abs(out.mean() - 10) < 0.1 and abs(out_test.mean() - x.mean()) < 1e-12

x, dout = np.random.randn(10, 10) + 10, np.random.randn(10, 10)
dropout_param = {"mode": "train", "p": 0.2, "seed": 123}
out, cache = dropout_forward(x, dropout_param)
dx = dropout_backward(dout, cache)
dx_num = eval_numerical_gradient_array(lambda xx: dropout_forward(xx, dropout_param)[0], x, dout)
print("dx relative error: ", rel_error(dx, dx_num))
assert rel_error(dx, dx_num) < 1e-8

X, y = np.random.randn(2, 15), np.random.randint(10, size=(2,))
for dropout in [1, 0.75, 0.5]:
    model = FullyConnectedNet(
        [20, 30], input_dim=15, num_classes=10, weight_scale=5e-2, dtype=np.float64, dropout=dropout, seed=123
    )
    loss, grads = model.loss(X, y)
    print("Initial loss: ", loss)
    assert abs(loss - 2.302) < 0.02
    for name in ("b1", "b3"):
        f = lambda _, model=model: model.loss(X, y)[0]
        grad_num = eval_numerical_gradient(f, model.params[name], verbose=False, h=1e-5)
        print("%s relative error: %.2e" % (name, rel_error(grad_num, grads[name])))

small_data = {
    "X_train": data["X_train"][:200], "y_train": data["y_train"][:200], "X_val": data["X_val"], "y_val": data["y_val"],
}  # fmt: skip
solvers = {}
for dropout in [1, 0.25]:
    model = FullyConnectedNet([100], dropout=dropout)
    solver = Solver(
        model, small_data, num_epochs=5, batch_size=100, update_rule="adam", optim_config={"learning_rate": 5e-4},
        verbose=True, print_every=100,
    )  # fmt: skip
    solver.train()
    solvers[dropout] = solver
assert solvers[1].train_acc_history[-1] >= solvers[0.25].train_acc_history[-1] - 0.1
