"""Assignment 2: the calls of its notebooks, with the numbers that they print."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnnlab.course.cs231n.classifiers.cnn import ThreeLayerConvNet
from cnnlab.course.cs231n.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from cnnlab.course.cs231n.fast_layers import (
    conv_backward_fast,
    conv_forward_fast,
    conv_forward_im2col,
    max_pool_backward_fast,
    max_pool_forward_fast,
)
from cnnlab.course.cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array
from cnnlab.course.cs231n.layer_utils import conv_bn_relu_backward, conv_bn_relu_forward
from cnnlab.course.cs231n.layers import (
    affine_forward,
    conv_backward_naive,
    conv_forward_naive,
    dropout_forward,
    max_pool_backward_naive,
    max_pool_forward_naive,
    relu_forward,
    softmax_loss,
    spatial_groupnorm_backward,
    spatial_groupnorm_forward,
    svm_loss,
)
from cnnlab.course.cs231n.optim import adam, rmsprop, sgd_momentum
from cnnlab.course.cs231n.solver import Solver
from cnnlab.errors import UnknownNameError, UsageError
from cnnlab.scratch import rel_error

Array = npt.NDArray[Any]


def ramp(low: float, high: float, *shape: int) -> Array:
    """Evenly spaced numbers in this shape, of which the notebooks make their inputs."""
    return np.linspace(low, high, num=int(np.prod(shape))).reshape(shape)


class TestLayers:
    def test_affine(self) -> None:
        out, _ = affine_forward(ramp(-0.1, 0.5, 2, 4, 5, 6), ramp(-0.2, 0.3, 120, 3), ramp(-0.3, 0.1, 3))
        expected = [[1.49834967, 1.70660132, 1.91485297], [3.25553199, 3.5141327, 3.77273342]]
        assert rel_error(out, np.array(expected)) == pytest.approx(9.77e-10, rel=0.01)  # as the notebook prints

    def test_relu(self) -> None:
        out, _ = relu_forward(ramp(-0.5, 0.5, 3, 4))
        expected = [[0, 0, 0, 0], [0, 0, 0.04545455, 0.13636364], [0.22727273, 0.31818182, 0.40909091, 0.5]]
        assert rel_error(out, np.array(expected)) == pytest.approx(5e-8, rel=0.01)

    def test_losses_of_small_scores(self) -> None:
        np.random.seed(231)
        x, y = 0.001 * np.random.randn(50, 10), np.random.randint(10, size=50)
        for function, expected in ((svm_loss, 9), (softmax_loss, 2.3)):
            loss, dx = function(x=x, y=y)
            assert loss == pytest.approx(expected, abs=0.01)
            assert rel_error(dx, eval_numerical_gradient(lambda x, f=function: f(x, y)[0], x, verbose=False)) < 1e-6

    def test_naive_convolution(self) -> None:
        out, cache = conv_forward_naive(
            ramp(-0.1, 0.5, 2, 3, 4, 4), ramp(-0.2, 0.3, 3, 3, 4, 4), ramp(-0.1, 0.2, 3), {"stride": 2, "pad": 1}
        )
        expected = [
            [[-0.08759809, -0.10987781], [-0.18387192, -0.2109216]],
            [[0.21027089, 0.21661097], [0.22847626, 0.23004637]],
        ]
        assert out.shape == (2, 3, 2, 2)
        np.testing.assert_allclose(out[0, :2], expected, atol=1e-7)
        assert conv_backward_naive(np.ones_like(out), cache)[1].shape == (3, 3, 4, 4)

    def test_naive_convolution_of_a_photo_with_whole_numbers_as_biases(self) -> None:
        """The notebook makes a picture grey, and an edge detector with 128 added; its biases are integers."""
        w = np.zeros((2, 3, 3, 3))
        w[0, :, 1, 1] = [0.3, 0.6, 0.1]
        w[1, 2] = [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
        x = np.full((1, 3, 5, 5), 50.0)
        out, _ = conv_forward_naive(x, w, np.array([0, 128]), {"stride": 1, "pad": 1})
        assert out[0, 0, 2, 2] == pytest.approx(50)
        assert out[0, 1, 2, 2] == 128
        np.testing.assert_allclose(conv_forward_fast(x, w, np.array([0, 128]), {"stride": 1, "pad": 1})[0], out)

    def test_naive_max_pooling(self) -> None:
        out, cache = max_pool_forward_naive(
            ramp(-0.3, 0.4, 2, 3, 4, 4), {"pool_width": 2, "pool_height": 2, "stride": 2}
        )
        expected = [[-0.26315789, -0.24842105], [-0.20421053, -0.18947368]]
        np.testing.assert_allclose(out[0, 0], expected, atol=1e-8)
        assert max_pool_backward_naive(np.ones_like(out), cache).sum() == out.size

    def test_fast_layers_are_the_naive_ones(self) -> None:
        np.random.seed(231)
        x, w, b = np.random.randn(10, 3, 31, 31), np.random.randn(5, 3, 3, 3), np.random.randn(5)
        dout, conv_param = np.random.randn(10, 5, 16, 16), {"stride": 2, "pad": 1}
        (naive, naive_cache), (fast, fast_cache) = (
            conv_forward_naive(x, w, b, conv_param), conv_forward_fast(x, w, b, conv_param)
        )  # fmt: skip
        np.testing.assert_allclose(fast, naive, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(conv_forward_im2col(x, w, b, conv_param)[0], fast)
        for ours, expected in zip(
            conv_backward_fast(dout, fast_cache), conv_backward_naive(dout, naive_cache), strict=True
        ):
            np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-8)
        x, pool_param = np.random.randn(10, 3, 32, 32), {"pool_height": 2, "pool_width": 2, "stride": 2}
        (naive, naive_cache), (fast, fast_cache) = (
            max_pool_forward_naive(x, pool_param), max_pool_forward_fast(x, pool_param)
        )  # fmt: skip
        np.testing.assert_array_equal(fast, naive)
        dout = np.random.randn(10, 3, 16, 16)
        np.testing.assert_array_equal(
            max_pool_backward_fast(dout, fast_cache), max_pool_backward_naive(dout, naive_cache)
        )

    def test_dropout_keeps_the_share_p(self) -> None:
        np.random.seed(231)
        x = np.random.randn(500, 500) + 10
        for p in (0.25, 0.4, 0.7):
            out, _ = dropout_forward(x, {"mode": "train", "p": p})
            test_out, _ = dropout_forward(x, {"mode": "test", "p": p})
            assert out.mean() == pytest.approx(10, abs=0.1)
            assert (out == 0).mean() == pytest.approx(1 - p, abs=0.01)
            assert (test_out == x).all()

    @pytest.mark.parametrize("shape", [(6,), (1, 6, 1, 1)], ids=["channels", "broadcast"])
    def test_group_normalisation_takes_both_shapes_of_gamma(self, shape: tuple[int, ...]) -> None:
        np.random.seed(231)
        x, gamma, beta = 4 * np.random.randn(2, 6, 4, 5) + 10, np.ones(shape), np.zeros(shape)
        out, cache = spatial_groupnorm_forward(x, gamma, beta, 2, {"mode": "train"})
        rows = out.reshape(4, -1)
        np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-9)
        np.testing.assert_allclose(rows.std(axis=1), 1, atol=1e-5)
        dout = np.random.randn(2, 6, 4, 5)
        dx, dgamma, dbeta = spatial_groupnorm_backward(dout, cache)
        assert dgamma.shape == dbeta.shape == shape
        numeric = eval_numerical_gradient_array(
            lambda x: spatial_groupnorm_forward(x, gamma, beta, 2, {"mode": "train"})[0], x, df=dout
        )
        assert rel_error(dx, numeric) < 1e-6

    def test_conv_bn_relu(self) -> None:
        np.random.seed(0)
        x, w, b = np.random.randn(2, 3, 4, 4), np.random.randn(2, 3, 3, 3), np.random.randn(2)
        param = {"stride": 1, "pad": 1}
        out, cache = conv_bn_relu_forward(x, w, b, np.ones(2), np.zeros(2), param, {"mode": "train"})
        dx, dw, db, dgamma, dbeta = conv_bn_relu_backward(out, cache)
        assert (dx.shape, dw.shape, db.shape, dgamma.shape, dbeta.shape) == (x.shape, w.shape, (2,), (2,), (2,))


class TestUpdateRules:
    """N, D = 4, 5, with the notebook's ramps as weights, gradients and state."""

    w, dw = ramp(-0.4, 0.6, 4, 5), ramp(-0.6, 0.4, 4, 5)

    def test_momentum(self) -> None:
        config = {"learning_rate": 1e-3, "velocity": ramp(0.6, 0.9, 4, 5)}
        next_w, _ = sgd_momentum(self.w, self.dw, config=config)
        np.testing.assert_allclose(next_w[0], [0.1406, 0.20738947, 0.27417895, 0.34096842, 0.40775789], atol=1e-8)
        np.testing.assert_allclose(
            config["velocity"][0], [0.5406, 0.55475789, 0.56891579, 0.58307368, 0.59723158], atol=1e-8
        )

    def test_rmsprop(self) -> None:
        config = {"learning_rate": 1e-2, "cache": ramp(0.6, 0.9, 4, 5)}
        next_w, _ = rmsprop(self.w, self.dw, config=config)
        expected = [-0.39223849, -0.34037513, -0.28849239, -0.23659121, -0.18467247]
        np.testing.assert_allclose(next_w[0], expected, atol=1e-8)
        np.testing.assert_allclose(
            config["cache"][0], [0.5976, 0.6126277, 0.6277108, 0.64284931, 0.65804321], atol=1e-8
        )

    def test_adam(self) -> None:
        config = {"learning_rate": 1e-2, "m": ramp(0.6, 0.9, 4, 5), "v": ramp(0.7, 0.5, 4, 5), "t": 5}
        next_w, _ = adam(self.w, self.dw, config=config)
        expected = [-0.40094747, -0.34836187, -0.29577703, -0.24319299, -0.19060977]
        np.testing.assert_allclose(next_w[0], expected, atol=1e-8)
        np.testing.assert_allclose(config["v"][0], [0.69966, 0.68908382, 0.67851319, 0.66794809, 0.65738853], atol=1e-8)
        np.testing.assert_allclose(config["m"][0], [0.48, 0.49947368, 0.51894737, 0.53842105, 0.55789474], atol=1e-8)


class TestNets:
    def test_two_layer_net(self) -> None:
        np.random.seed(231)
        N, D, H, C = 3, 5, 50, 7
        X, y = np.random.randn(N, D), np.random.randint(C, size=N)
        model = TwoLayerNet(input_dim=D, hidden_dim=H, num_classes=C, weight_scale=1e-3)
        assert model.params["W1"].dtype == np.float64
        assert abs(model.params["W1"].std() - 1e-3) < 1e-4
        assert not model.params["b1"].any()
        model.params["W1"], model.params["b1"] = ramp(-0.7, 0.3, D, H), np.linspace(-0.1, 0.9, num=H)
        model.params["W2"], model.params["b2"] = ramp(-0.3, 0.4, H, C), np.linspace(-0.9, 0.1, num=C)
        X = np.linspace(-5.5, 4.5, num=N * D).reshape(D, N).T
        expected = [11.53165108, 12.2917344, 13.05181771, 13.81190102, 14.57198434, 15.33206765, 16.09215096]
        np.testing.assert_allclose(model.loss(X)[0], expected, atol=1e-7)
        y = np.asarray([0, 5, 1])
        assert model.loss(X, y)[0] == pytest.approx(3.4702243556, abs=1e-9)
        model.reg = 1.0
        assert model.loss(X, y)[0] == pytest.approx(26.5948426952, abs=1e-9)

    @pytest.mark.parametrize(
        "options",
        [{}, {"normalization": "batchnorm"}, {"normalization": "layernorm"}, {"dropout": 0.5, "seed": 123}],
        ids=["plain", "batchnorm", "layernorm", "dropout"],
    )
    def test_gradients_of_a_fully_connected_net(self, options: dict[str, Any]) -> None:
        np.random.seed(231)
        X, y = np.random.randn(4, 15), np.random.randint(10, size=4)
        model = FullyConnectedNet(
            [5, 6], input_dim=15, num_classes=10, reg=3.14, weight_scale=5e-2, dtype=np.float64, **options
        )
        for name in ("b1", "b2"):
            model.params[name] += np.random.randn(*model.params[name].shape)  # away from the kink of ReLU
        loss, grads = model.loss(X, y)
        assert loss > 2
        for name in grads:
            numeric = eval_numerical_gradient(lambda _: model.loss(X, y)[0], model.params[name], verbose=False, h=1e-5)
            np.testing.assert_allclose(grads[name], numeric, rtol=1e-5, atol=1e-6)

    def test_dropout_has_three_names(self) -> None:
        for options in ({"dropout": 0.25}, {"dropout_keep_ratio": 0.25}, {"keep_prob": 0.25}):
            assert FullyConnectedNet([10], 5, **options).keep_prob == 0.25
        assert FullyConnectedNet([10], 5, 10, 1, "layernorm").normalization == "layernorm"
        assert FullyConnectedNet([10], use_batchnorm=True).normalization == "batchnorm"
        with pytest.raises(UsageError, match="two names"):
            FullyConnectedNet([10], dropout=0.5, keep_prob=0.5)
        with pytest.raises(UsageError, match="no argument droput"):
            FullyConnectedNet([10], droput=0.5)

    def test_dropout_zero_is_no_dropout(self) -> None:
        X = np.random.default_rng(0).normal(size=(3, 5))
        np.random.seed(0)
        zero = FullyConnectedNet([10], 5, dropout=0, dtype=np.float64)
        first = zero.loss(X, np.array([0, 1, 2]))[0]
        hidden = np.maximum(0, X @ zero.params["W1"])
        scores = hidden @ zero.params["W2"]
        log_shares = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        assert first == pytest.approx(-log_shares[[0, 1, 2], [0, 1, 2]].mean(), rel=1e-12)

    def test_three_layer_convnet_starts_at_chance(self) -> None:
        np.random.seed(231)
        model = ThreeLayerConvNet()
        X, y = np.random.randn(50, 3, 32, 32), np.random.randint(10, size=50)
        loss, _ = model.loss(X, y)
        assert loss == pytest.approx(2.302586, abs=1e-3)
        model.reg = 0.5
        assert 2.4 < model.loss(X, y)[0] < 2.6  # the notebook prints 2.508


def _data(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    y = np.arange(240) % 3
    X = rng.normal(0, 0.3, (240, 3, 2, 2)) + np.eye(3)[y][:, :, None, None]
    return {"X_train": X[:200], "y_train": y[:200], "X_val": X[200:], "y_val": y[200:]}


class TestSolver:
    def test_prints_the_course_s_lines_and_keeps_the_best(self, capsys: Any) -> None:
        np.random.seed(0)
        model = FullyConnectedNet([10], input_dim=12, num_classes=3, weight_scale=1e-1)
        solver = Solver(
            model, _data(), update_rule="adam", optim_config={"learning_rate": 1e-2}, lr_decay=0.95, num_epochs=3,
            batch_size=50, print_every=4,
        )  # fmt: skip
        solver.train()
        assert solver.epoch == 3
        assert len(solver.loss_history) == 12
        assert len(solver.train_acc_history) == len(solver.val_acc_history) == 4
        assert solver.best_val_acc == max(solver.val_acc_history) > 0.9
        assert solver.best_params.keys() == model.params.keys()
        np.testing.assert_array_equal(solver.best_params["W1"], model.params["W1"])
        assert solver.check_accuracy(_data()["X_val"], _data()["y_val"]) == solver.best_val_acc
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("(Iteration 1 / 12) loss: 1.0")
        assert lines[1].startswith("(Epoch 0 / 3) train acc: 0.")
        assert sum(line.startswith("(Epoch") for line in lines) == 4

    def test_a_diverging_training_ends_with_a_message(self, capsys: Any) -> None:
        """A search for a learning rate goes through such settings, and plots what it got."""
        np.random.seed(0)
        model = FullyConnectedNet([10], input_dim=12, num_classes=3, weight_scale=1e-1)
        solver = Solver(model, _data(), optim_config={"learning_rate": 1e20}, num_epochs=3, verbose=False)
        solver.train()
        assert "The training ends here." in capsys.readouterr().out
        assert np.isnan(solver.loss_history[-1])
        assert solver.val_acc_history

    def test_an_unknown_argument_is_refused(self) -> None:
        with pytest.raises(UnknownNameError, match="num_epochs"):
            Solver(FullyConnectedNet([10], 12, 3), _data(), num_epoch=3)
