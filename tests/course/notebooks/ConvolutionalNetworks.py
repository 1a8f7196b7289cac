"""Assignment 2, question 4: convolutional networks."""

from time import time

import numpy as np
from cs231n.classifiers.cnn import *
from cs231n.data_utils import get_CIFAR10_data
from cs231n.fast_layers import (
    conv_backward_fast,
    conv_forward_fast,
    max_pool_backward_fast,
    max_pool_forward_fast,
)
from cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array
from cs231n.layer_utils import (
    conv_relu_backward,
    conv_relu_forward,
    conv_relu_pool_backward,
    conv_relu_pool_forward,
)
from cs231n.layers import *
from cs231n.solver import Solver
from cs231n.vis_utils import visualize_grid


def rel_error(x, y):
    return np.max(np.abs(x - y) / (np.maximum(1e-8, np.abs(x) + np.abs(y))))


data = get_CIFAR10_data(num_training=500, num_validation=100, num_test=100)
x = np.linspace(-0.1, 0.5, num=96).reshape(2, 3, 4, 4)
w = np.linspace(-0.2, 0.3, num=144).reshape(3, 3, 4, 4)
out, _ = conv_forward_naive(x, w, np.linspace(-0.1, 0.2, num=3), {"stride": 2, "pad": 1})
correct = np.array([[-0.08759809, -0.10987781], [-0.18387192, -0.2109216]])
print("Testing conv_forward_naive: difference: ", rel_error(out[0, 0], correct))
assert rel_error(out[0, 0], correct) < 1e-6

np.random.seed(231)
x, w, b = np.random.randn(2, 3, 5, 5), np.random.randn(2, 3, 3, 3), np.random.randn(2)
dout, conv_param = np.random.randn(2, 2, 5, 5), {"stride": 1, "pad": 1}
_, cache = conv_forward_naive(x, w, b, conv_param)
dx, dw, db = conv_backward_naive(dout, cache)
for ours, array, f in (
    (dx, x, lambda x: conv_forward_naive(x, w, b, conv_param)[0]),
    (dw, w, lambda w: conv_forward_naive(x, w, b, conv_param)[0]),
    (db, b, lambda b: conv_forward_naive(x, w, b, conv_param)[0]),
):
    assert rel_error(ours, eval_numerical_gradient_array(f, array, dout)) < 1e-7

pool_param = {"pool_width": 2, "pool_height": 2, "stride": 2}
out, _ = max_pool_forward_naive(np.linspace(-0.3, 0.4, num=96).reshape(2, 3, 4, 4), pool_param)
assert rel_error(out[0, 0], np.array([[-0.26315789, -0.24842105], [-0.20421053, -0.18947368]])) < 1e-6
x, dout = np.random.randn(3, 2, 8, 8), np.random.randn(3, 2, 4, 4)
_, cache = max_pool_forward_naive(x, pool_param)
dx_num = eval_numerical_gradient_array(lambda x: max_pool_forward_naive(x, pool_param)[0], x, dout)
assert rel_error(max_pool_backward_naive(dout, cache), dx_num) < 1e-7

x, w, b = np.random.randn(10, 3, 31, 31), np.random.randn(5, 3, 3, 3), np.random.randn(5)
dout, conv_param = np.random.randn(10, 5, 16, 16), {"stride": 2, "pad": 1}
t0 = time()
out_naive, cache_naive = conv_forward_naive(x, w, b, conv_param)
t1 = time()
out_fast, cache_fast = conv_forward_fast(x, w, b, conv_param)
t2 = time()
print("Naive: %fs Fast: %fs Speedup: %fx" % (t1 - t0, t2 - t1, (t1 - t0) / (t2 - t1)))
assert rel_error(out_naive, out_fast) < 1e-6
for naive, fast in zip(conv_backward_naive(dout, cache_naive), conv_backward_fast(dout, cache_fast), strict=True):
    assert rel_error(naive, fast) < 1e-6
x, dout = np.random.randn(10, 3, 32, 32), np.random.randn(10, 3, 16, 16)
(out_naive, cache_naive), (out_fast, cache_fast) = (
    max_pool_forward_naive(x, pool_param), max_pool_forward_fast(x, pool_param)
)  # fmt: skip
assert rel_error(out_naive, out_fast) == 0
assert rel_error(max_pool_backward_naive(dout, cache_naive), max_pool_backward_fast(dout, cache_fast)) == 0

x, w, b = np.random.randn(2, 3, 8, 8), np.random.randn(3, 3, 3, 3), np.random.randn(3)
conv_param = {"stride": 1, "pad": 1}
out, cache = conv_relu_pool_forward(x, w, b, conv_param, pool_param)
dout = np.random.randn(*out.shape)
dx, dw, db = conv_relu_pool_backward(dout, cache)
f = lambda x: conv_relu_pool_forward(x, w, b, conv_param, pool_param)[0]
assert rel_error(dx, eval_numerical_gradient_array(f, x, dout)) < 1e-5
out, cache = conv_relu_forward(x, w, b, conv_param)
assert conv_relu_backward(out, cache)[1].shape == w.shape

model = ThreeLayerConvNet()
X, y = np.random.randn(10, 3, 32, 32), np.random.randint(10, size=10)
loss, grads = model.loss(X, y)
print("Initial loss (no regularization): ", loss)
assert abs(loss - np.log(10)) < 0.01
model.reg = 0.5
print("Initial loss (with regularization): ", model.loss(X, y)[0])
np.random.seed(231)
X, y = np.random.randn(2, 3, 16, 16), np.random.randint(10, size=2)
model = ThreeLayerConvNet(num_filters=3, filter_size=3, input_dim=(3, 16, 16), hidden_dim=7, dtype=np.float64)
loss, grads = model.loss(X, y)
for param_name in sorted(grads):
    f = lambda _: model.loss(X, y)[0]
    param_grad_num = eval_numerical_gradient(f, model.params[param_name], verbose=False, h=1e-6)
    e = rel_error(param_grad_num, grads[param_name])
    print("%s max relative error: %e" % (param_name, rel_error(param_grad_num, grads[param_name])))
    assert e < 2e-2

small_data = {
    "X_train": data["X_train"][:100], "y_train": data["y_train"][:100], "X_val": data["X_val"], "y_val": data["y_val"],
}  # fmt: skip
model = ThreeLayerConvNet(weight_scale=1e-2, num_filters=8)
solver = Solver(
    model, small_data, num_epochs=5, batch_size=50, update_rule="adam", optim_config={"learning_rate": 1e-3},
    verbose=True, print_every=1,
)  # fmt: skip
solver.train()
print("Small data training accuracy:", solver.check_accuracy(small_data["X_train"], small_data["y_train"]))
assert solver.train_acc_history[-1] > 0.5
grid = visualize_grid(model.params["W1"].transpose(0, 2, 3, 1))
assert grid.astype("uint8").shape == (3 * 8 - 1, 3 * 8 - 1, 3)

x = 4 * np.random.randn(2, 3, 4, 5) + 10
bn_param = {"mode": "train"}
out, _ = spatial_batchnorm_forward(x, np.ones(3), np.zeros(3), bn_param)
assert np.allclose(out.mean(axis=(0, 2, 3)), 0) and np.allclose(out.std(axis=(0, 2, 3)), 1, atol=1e-4)
gamma, beta, dout = np.random.randn(3), np.random.randn(3), np.random.randn(2, 3, 4, 5)
_, cache = spatial_batchnorm_forward(x, gamma, beta, bn_param)
dx, dgamma, dbeta = spatial_batchnorm_backward(dout, cache)
dx_num = eval_numerical_gradient_array(lambda x: spatial_batchnorm_forward(x, gamma, beta, bn_param)[0], x, dout)
assert rel_error(dx_num, dx) < 1e-4
x = 4 * np.random.randn(2, 6, 4, 5) + 10
gamma, beta, G = np.ones((1, 6, 1, 1)), np.zeros((1, 6, 1, 1)), 2
out, cache = spatial_groupnorm_forward(x, gamma, beta, G, {"mode": "train"})
assert np.allclose(out.reshape(4, -1).mean(axis=1), 0)
dx, dgamma, dbeta = spatial_groupnorm_backward(np.random.randn(2, 6, 4, 5), cache)
assert dgamma.shape == dbeta.shape == (1, 6, 1, 1)
