"""Assignment 2, question 1: fully connected nets."""

import numpy as np
from cs231n.classifiers.fc_net import *
from cs231n.data_utils import get_CIFAR10_data
from cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array
from cs231n.layer_utils import affine_relu_backward, affine_relu_forward
from cs231n.optim import adam, rmsprop, sgd_momentum
from cs231n.solver import Solver


def rel_error(x, y):
    return np.max(np.abs(x - y) / (np.maximum(1e-8, np.abs(x) + np.abs(y))))


data = get_CIFAR10_data(num_training=800, num_validation=100, num_test=100)
for k, v in list(data.items()):
    print("%s: " % k, v.shape)

np.random.seed(231)
x, w, b, dout = np.random.randn(10, 2, 3), np.random.randn(6, 5), np.random.randn(5), np.random.randn(10, 5)
for forward, backward in ((affine_forward, affine_backward), (affine_relu_forward, affine_relu_backward)):
    dx_num = eval_numerical_gradient_array(lambda x, f=forward: f(x, w, b)[0], x, dout)
    dw_num = eval_numerical_gradient_array(lambda w, f=forward: f(x, w, b)[0], w, dout)
    db_num = eval_numerical_gradient_array(lambda b, f=forward: f(x, w, b)[0], b, dout)
    _, cache = forward(x, w, b)
    for ours, numeric in zip(backward(dout, cache), (dx_num, dw_num, db_num), strict=True):
        assert rel_error(ours, numeric) < 1e-7
x, dout = np.random.randn(10, 10), np.random.randn(10, 10)
_, cache = relu_forward(x)
assert (
    rel_error(relu_backward(dout, cache), eval_numerical_gradient_array(lambda x: relu_forward(x)[0], x, dout)) < 1e-8
)

model = TwoLayerNet(input_dim=5, hidden_dim=50, num_classes=7, weight_scale=1e-3)
model.params["W1"] = np.linspace(-0.7, 0.3, num=5 * 50).reshape(5, 50)
model.params["b1"] = np.linspace(-0.1, 0.9, num=50)
model.params["W2"] = np.linspace(-0.3, 0.4, num=50 * 7).reshape(50, 7)
model.params["b2"] = np.linspace(-0.9, 0.1, num=7)
X, y = np.linspace(-5.5, 4.5, num=3 * 5).reshape(5, 3).T, np.asarray([0, 5, 1])
assert abs(model.loss(X, y)[0] - 3.4702243556) < 1e-10
for reg in [0.0, 0.7]:
    model.reg = reg
    loss, grads = model.loss(X, y)
    for name in sorted(grads):
        grad_num = eval_numerical_gradient(lambda _: model.loss(X, y)[0], model.params[name], verbose=False)
        print("%s relative error: %.2e" % (name, rel_error(grad_num, grads[name])))
        assert rel_error(grad_num, grads[name]) < 1e-6

solver = Solver(
    TwoLayerNet(), data, update_rule="sgd", optim_config={"learning_rate": 1e-3}, lr_decay=0.95, num_epochs=4,
    batch_size=100, print_every=100,
)  # fmt: skip
solver.train()
assert solver.best_val_acc > 0.3
assert (len(solver.loss_history), len(solver.train_acc_history), len(solver.val_acc_history)) == (32, 5, 5)

small_data = {
    "X_train": data["X_train"][:50], "y_train": data["y_train"][:50], "X_val": data["X_val"], "y_val": data["y_val"],
}  # fmt: skip
for hidden in ([100, 100], [100, 100, 100, 100]):
    model = FullyConnectedNet(hidden, weight_scale=5e-2, dtype=np.float64)
    solver = Solver(
        model, small_data, print_every=10, num_epochs=20, batch_size=25, update_rule="sgd",
        optim_config={"learning_rate": 1e-3},
    )  # fmt: skip
    solver.train()
    assert solver.train_acc_history[-1] > 0.8

N, D = 4, 5
w = np.linspace(-0.4, 0.6, num=N * D).reshape(N, D)
dw = np.linspace(-0.6, 0.4, num=N * D).reshape(N, D)
next_w, _ = sgd_momentum(w, dw, config={"learning_rate": 1e-3, "velocity": np.linspace(0.6, 0.9, num=20).reshape(N, D)})
assert abs(next_w[0, 1] - 0.20738947) < 1e-8
next_w, _ = rmsprop(w, dw, config={"learning_rate": 1e-2, "cache": np.linspace(0.6, 0.9, num=20).reshape(N, D)})
assert abs(next_w[0, 0] + 0.39223849) < 1e-8
next_w, _ = adam(w, dw, config=None)
assert next_w.shape == (N, D)

solvers = {}
for update_rule in ["sgd", "sgd_momentum", "rmsprop", "adam"]:
    rate = {"rmsprop": 1e-4, "adam": 1e-3}.get(update_rule, 5e-3)
    solver = Solver(
        FullyConnectedNet([100, 100], weight_scale=5e-2), data, num_epochs=2, batch_size=100, update_rule=update_rule,
        optim_config={"learning_rate": rate}, verbose=False,
    )  # fmt: skip
    solvers[update_rule] = solver
    solver.train()
best_model = solvers["adam"].model
y_val_pred = np.argmax(best_model.loss(data["X_val"]), axis=1)
print("Validation set accuracy: ", (y_val_pred == data["y_val"]).mean())
assert solvers["adam"].best_params.keys() == best_model.params.keys()
