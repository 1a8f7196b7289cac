"""Nets against the same nets in torch, against numerical gradients, and how their parameters are drawn and kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnlab.errors import LabelError, ShapeError, UnknownNameError, UsageError
from cnnlab.scratch.gradcheck import eval_numerical_gradient
from cnnlab.scratch.nets.convnet import ThreeLayerConvNet
from cnnlab.scratch.nets.deep import ConvNet
from cnnlab.scratch.nets.fully_connected import FullyConnectedNet
from cnnlab.scratch.nets.layer_list import Affine, AvgPool, BatchNorm, Conv, Dropout, LayerNorm, MaxPool, ReLU
from cnnlab.scratch.nets.two_layer import TwoLayerNet
from tests.scratch.helpers_nets import (
    check_against_torch,
    fully_connected,
    listed,
    scores_in_torch,
    shake,
    some_images,
    three_layers,
    two_layers,
)

DEEP = [
    [Conv(4), BatchNorm(), ReLU(), MaxPool(2), Conv(5, size=1), ReLU(), AvgPool(4)],
    [BatchNorm(), Conv(3, size=4, stride=2, pad=1), ReLU(), Conv(4, size=3, pad=0), BatchNorm(), MaxPool(2, stride=1)],
    [Conv(3, size=5), ReLU(), Dropout(0.7), Affine(6), BatchNorm(), ReLU(), Dropout(0.5)],
    [],
]

NETS: dict[str, Any] = {
    "two layers": lambda **o: TwoLayerNet(input_dim=3 * 6 * 6, hidden_dim=8, **o),
    "fully connected": lambda **o: FullyConnectedNet([9, 8], input_dim=3 * 6 * 6, **o),
    "batchnorm": lambda **o: FullyConnectedNet([9, 8], input_dim=3 * 6 * 6, normalization="batchnorm", **o),
    "layernorm": lambda **o: FullyConnectedNet([9, 8], input_dim=3 * 6 * 6, normalization="layernorm", **o),
    "dropout": lambda **o: FullyConnectedNet([9, 8], input_dim=3 * 6 * 6, keep_prob=0.6, seed=7, **o),
    "three layers": lambda **o: ThreeLayerConvNet((3, 6, 6), num_filters=4, filter_size=3, hidden_dim=8, **o),
    "deep": lambda **o: ConvNet([Conv(4), BatchNorm(), ReLU(), MaxPool(2), Affine(8), ReLU()], (3, 6, 6), **o),
}


@pytest.fixture(params=list(NETS))
def make(request: pytest.FixtureRequest) -> Any:
    np.random.seed(3)
    return NETS[request.param]


class TestAgainstTorch:
    @pytest.mark.parametrize("reg", [0.0, 0.7])
    def test_two_layers(self, reg: float) -> None:
        net = TwoLayerNet(input_dim=12, hidden_dim=9, num_classes=4, reg=reg)
        shake(net)
        X, y = some_images(net, 5, (3, 2, 2), 4)
        check_against_torch(net, two_layers, X, y)
        np.testing.assert_allclose(net.loss(X), scores_in_torch(net, two_layers, X), rtol=0, atol=1e-10)

    @settings(max_examples=40, deadline=None)
    @given(
        hidden=st.lists(st.integers(1, 7), min_size=1, max_size=4),
        normalization=st.sampled_from([None, "batchnorm", "layernorm"]),
        keep_prob=st.sampled_from([1.0, 0.6]),
        reg=st.sampled_from([0.0, 0.3]),
        count=st.integers(2, 6),
        seed=st.integers(0, 100),
    )
    def test_fully_connected(
        self, hidden: list[int], normalization: Any, keep_prob: float, reg: float, count: int, seed: int
    ) -> None:
        if normalization == "layernorm":
            hidden = [units + 1 for units in hidden]  # torch refuses to normalise one value
        net = FullyConnectedNet(
            hidden, 6, 3, keep_prob=keep_prob, normalization=normalization, reg=reg, dtype=np.float64, seed=seed
        )
        shake(net, seed)
        X, y = some_images(net, count, (3, 2), 3, seed)
        # Two inputs that BatchNorm makes +1 and -1 have gradients that vanish: the difference of large numbers.
        check_against_torch(net, fully_connected(net), X, y, atol=1e-9 if count == 2 else 1e-10)
        expected = scores_in_torch(net, fully_connected(net, test=True), X)
        np.testing.assert_allclose(net.loss(X), expected, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("filter_size", [1, 3, 7])
    @pytest.mark.parametrize("reg", [0.0, 0.5])
    def test_three_layers(self, filter_size: int, reg: float) -> None:
        net = ThreeLayerConvNet((2, 8, 6), 3, filter_size, hidden_dim=7, num_classes=4, reg=reg, dtype=np.float64)
        shake(net)
        X, y = some_images(net, 5, (2, 8, 6), 4)
        check_against_torch(net, three_layers, X, y)
        np.testing.assert_allclose(net.loss(X), scores_in_torch(net, three_layers, X), rtol=0, atol=1e-10)

    @pytest.mark.parametrize("layers", DEEP, ids=range(len(DEEP)))
    @pytest.mark.parametrize("reg", [0.0, 0.5])
    def test_deep(self, layers: list[Any], reg: float) -> None:
        net = ConvNet(layers, (2, 8, 8), reg=reg, dtype=np.float64, seed=5)
        shake(net)
        X, y = some_images(net, 6, (2, 8, 8), 10)
        check_against_torch(net, listed(net, layers), X, y)
        expected = scores_in_torch(net, listed(net, layers, test=True), X)
        np.testing.assert_allclose(net.loss(X), expected, rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("name", ["batchnorm", "deep"])
    def test_running_statistics(self, name: str) -> None:
        """Means and variances of three batches, weighted by hand; test mode leaves them alone."""
        net = NETS[name](dtype=np.float64)
        p, mean, var = net.params, np.zeros(9), np.zeros(9)
        for step in range(3):
            X, y = some_images(net, 5, (3, 6, 6), 10, seed=step)
            if name == "deep":
                values = ConvNet([Conv(4)], (3, 6, 6), dtype=np.float64).layers[0].forward(X, _own(p), "train")[0]
                batch = values.mean((0, 2, 3)), values.var((0, 2, 3))
            else:
                values = X.reshape(5, -1) @ p["W1"] + p["b1"]
                batch = values.mean(0), values.var(0)
            mean, var = 0.9 * mean[: len(batch[0])] + 0.1 * batch[0], 0.9 * var[: len(batch[0])] + 0.1 * batch[1]
            net.loss(X, y)
            net.loss(X + 100)
        np.testing.assert_allclose(net.buffers["running_mean1"], mean)
        np.testing.assert_allclose(net.buffers["running_var1"], var)


def _own(params: dict[str, Any]) -> dict[str, Any]:
    return {"W": params["W1"], "b": params["b1"]}


def test_numerical_gradients(make: Any) -> None:
    net = make(reg=0.2, dtype=np.float64)
    shake(net, 2)
    X, y = some_images(net, 4, (3, 6, 6), 10, seed=2)
    _, grads = net.loss(X, y)
    rng = np.random.default_rng(0)
    for name, w in net.params.items():
        places = [tuple(rng.integers(0, side) for side in w.shape) for _ in range(12)]
        for place in places:
            numeric = eval_numerical_gradient(
                lambda x, w=w, place=place: _loss_at(net, w, place, x, X, y), np.array(w[place])
            )
            assert abs(numeric - grads[name][place]) < 1e-6 * max(1, abs(numeric)), (name, place)


def _loss_at(net: Any, w: Any, place: tuple[int, ...], value: Any, X: Any, y: Any) -> float:
    before = w[place]
    w[place] = value
    loss, _ = net.loss(X, y)
    w[place] = before
    return float(loss)


class TestCommon:
    def test_first_loss_is_that_of_guessing(self, make: Any) -> None:
        net = make(weight_scale=1e-4)
        X, y = some_images(net, 50, (3, 6, 6), 10)
        loss, _ = net.loss(X, y)
        assert abs(float(loss) - math.log(10)) < 0.02

    def test_penalty_counts_weights_alone(self, make: Any) -> None:
        net = make(dtype=np.float64)
        shake(net)
        X, y = some_images(net, 6, (3, 6, 6), 10)
        free, _ = net.loss(X, y)
        net.reg = 0.8
        charged, _ = net.loss(X, y)
        expected = 0.4 * sum((w**2).sum() for name, w in net.params.items() if w.ndim > 1)
        assert charged - free == pytest.approx(expected)
        assert expected > 0.1

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("image_dtype", [np.float32, np.float64, np.uint8])
    def test_dtype_is_kept(self, make: Any, dtype: Any, image_dtype: Any) -> None:
        net = make(dtype=dtype, reg=np.float64(0.1), weight_scale=np.float64(1e-2))
        X = np.random.default_rng(0).integers(0, 9, (4, 3, 6, 6)).astype(image_dtype)
        loss, grads = net.loss(X, np.zeros(4, dtype=np.int32))
        assert np.asarray(loss).dtype == dtype
        arrays = [*net.params.values(), *getattr(net, "buffers", {}).values(), *grads.values(), net.loss(X)]
        assert {array.dtype for array in arrays} == {np.dtype(dtype)}

    def test_same_seed_same_parameters(self, make: Any) -> None:
        np.random.seed(11)
        first = make()
        np.random.seed(11)
        again, other = make(), make()
        for name, w in first.params.items():
            np.testing.assert_array_equal(w, again.params[name])
        assert any(not np.array_equal(w, other.params[name]) for name, w in first.params.items())

    def test_training_and_test_mode_give_scores_for_one_image(self, make: Any) -> None:
        net = make()
        X, y = some_images(net, 1, (3, 6, 6), 10)
        assert np.isfinite(net.loss(X, y)[0])
        assert net.loss(X).shape == (1, 10)

    def test_labels_out_of_range(self, make: Any) -> None:
        net = make()
        X, y = some_images(net, 3, (3, 6, 6), 10)
        with pytest.raises(LabelError, match=r"y\[1\] is 10"):
            net.loss(X, np.array([0, 10, 2]))
        with pytest.raises(ShapeError, match=r"y must be of shape \(3,\)"):
            net.loss(X, y[:2])

    def test_images_that_do_not_fit(self, make: Any) -> None:
        with pytest.raises(ShapeError, match=r"\(2, 3, 6, 5\)"):
            make().loss(np.zeros((2, 3, 6, 5)))

    def test_reg_below_zero(self, make: Any) -> None:
        with pytest.raises(UsageError, match=r"reg.*got -1"):
            make(reg=-1)


class TestDrawing:
    """Weights drawn by hand in the order of their names are those of the net; the rest is zeros and ones."""

    def check(self, make: Any, expected: dict[str, Any], dtype: Any) -> None:
        np.random.seed(5)
        net = make()
        assert list(net.params) == list(expected)
        np.random.seed(5)
        for name, (scale, *shape) in expected.items():
            w = scale * np.random.randn(*shape) if name[0] == "W" else np.full(shape, scale)
            assert net.params[name].dtype == dtype
            np.testing.assert_array_equal(net.params[name], w.astype(dtype), err_msg=name)

    def test_two_layers(self) -> None:
        expected = {"W1": (1e-3, 3072, 100), "b1": (0, 100), "W2": (1e-3, 100, 10), "b2": (0, 10)}
        self.check(TwoLayerNet, expected, np.float64)

    @pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
    def test_fully_connected(self, normalization: Any) -> None:
        norm1 = {"gamma1": (1, 20), "beta1": (0, 20)} if normalization else {}
        norm2 = {"gamma2": (1, 30), "beta2": (0, 30)} if normalization else {}
        expected = {"W1": (1e-2, 3072, 20), "b1": (0, 20), **norm1, "W2": (1e-2, 20, 30), "b2": (0, 30), **norm2}
        expected |= {"W3": (1e-2, 30, 10), "b3": (0, 10)}
        self.check(lambda: FullyConnectedNet([20, 30], normalization=normalization), expected, np.float32)

    def test_three_layers(self) -> None:
        expected = {"W1": (1e-3, 32, 3, 7, 7), "b1": (0, 32), "W2": (1e-3, 32 * 16 * 16, 100), "b2": (0, 100)}
        expected |= {"W3": (1e-3, 100, 10), "b3": (0, 10)}
        self.check(ThreeLayerConvNet, expected, np.float32)

    @pytest.mark.parametrize("scale", ["he", 0.02])
    def test_deep(self, scale: Any) -> None:
        layers = [Conv(4, size=5), BatchNorm(), ReLU(), MaxPool(4), Affine(7), BatchNorm(), ReLU()]
        he = [math.sqrt(2 / fan_in) if scale == "he" else scale for fan_in in (3 * 25, 4 * 64, 7)]
        expected = {"W1": (he[0], 4, 3, 5, 5), "b1": (0, 4), "gamma1": (1, 4), "beta1": (0, 4)}
        expected |= {"W2": (he[1], 256, 7), "b2": (0, 7), "gamma2": (1, 7), "beta2": (0, 7)}
        expected |= {"W3": (he[2], 7, 10), "b3": (0, 10)}
        self.check(lambda: ConvNet(layers, weight_scale=scale), expected, np.float32)


class TestDropout:
    @pytest.mark.parametrize("deep", [False, True])
    def test_a_seed_gives_the_same_mask_and_leaves_the_stream(self, deep: bool) -> None:
        net: Any
        if deep:
            net = ConvNet([Dropout(0.5)], (3, 6, 6), seed=1)
        else:
            net = FullyConnectedNet([50], input_dim=108, keep_prob=0.5, seed=1)
        X, y = some_images(net, 4, (3, 6, 6), 10)
        np.random.seed(0)
        first, again = net.loss(X, y)[0], net.loss(X, y)[0]
        assert first == again
        after = np.random.rand()
        np.random.seed(0)
        assert after == np.random.rand()

    @pytest.mark.parametrize("deep", [False, True])
    def test_without_a_seed_masks_come_from_the_stream(self, deep: bool) -> None:
        net: Any = ConvNet([Dropout(0.5)], (3, 6, 6)) if deep else FullyConnectedNet([50], 108, keep_prob=0.5)
        shake(net)
        X, y = some_images(net, 4, (3, 6, 6), 10)
        np.random.seed(0)
        first, second = net.loss(X, y)[0], net.loss(X, y)[0]
        np.random.seed(0)
        assert net.loss(X, y)[0] == first != second
        assert np.array_equal(net.loss(X), net.loss(X))


class TestWhatIsRefused:
    def test_fully_connected(self) -> None:
        with pytest.raises(UnknownNameError, match='Did you mean "batchnorm"'):
            FullyConnectedNet([10], normalization="batch_norm")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="keep_prob must be above 0"):
            FullyConnectedNet([10], keep_prob=0)
        with pytest.raises(UsageError, match="hidden_dims is empty"):
            FullyConnectedNet([])

    def test_three_layers(self) -> None:
        with pytest.raises(ShapeError, match=r"Layer 1, Conv\(filters=32, size=4.*Make size odd, 3 or 5, or give pad"):
            ThreeLayerConvNet(filter_size=4)
        with pytest.raises(ShapeError, match=r"Layer 3, MaxPool.*\(32, 32, 31\): Stride 2 does not divide"):
            ThreeLayerConvNet((3, 32, 31))

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ([Conv(4), MaxPool(3)], r"Layer 2, MaxPool\(size=3.*does not fit the shape \(4, 8, 8\): Stride 3"),
            ([AvgPool(9)], r"Layer 1, AvgPool.*\(2, 8, 8\).*does not fit into"),
            ([Conv(4, size=2)], r"Layer 1, Conv\(filters=4, size=2.*Make size odd, 1 or 3, or give pad"),
            ([ReLU(), Conv(4, stride=2)], r"Layer 2, Conv.*Stride 2 does not divide"),
            ([Affine(5), ReLU(), Conv(4)], r"Layer 3, Conv.*\(5,\): it needs images"),
            ([Conv(4), LayerNorm()], r"Layer 2, LayerNorm.*\(4, 8, 8\): it needs rows"),
            ([Affine(5), MaxPool(2)], r"Layer 2, MaxPool.*it needs images"),
        ],
    )
    def test_the_layer_that_does_not_fit_is_named(self, layers: list[Any], message: str) -> None:
        with pytest.raises(ShapeError, match=message):
            ConvNet(layers, (2, 8, 8))

    def test_no_layer(self) -> None:
        with pytest.raises(UsageError, match=r"Layer 2 is <class.*ReLU"):
            ConvNet([Conv(3), ReLU])  # type: ignore[list-item]
        with pytest.raises(UsageError, match=r"keep_prob must be above 0 and at most 1, got 1\.5"):
            Dropout(1.5)

    def test_weight_scale(self) -> None:
        with pytest.raises(UnknownNameError, match=r'weight_scale "xavier".*Known: he\. Or pass a number'):
            ConvNet([], weight_scale="xavier")  # type: ignore[arg-type]

    def test_images_of_any_shape_become_rows(self) -> None:
        net = ConvNet([Affine(5), LayerNorm()], (12,), dtype=np.float64)
        X = np.arange(24.0).reshape(2, 3, 4)
        np.testing.assert_array_equal(net.loss(X), net.loss(X.reshape(2, 12)))
        with pytest.raises(ShapeError, match=r"X must be \(N, 12\).*got \(2, 3, 3\)"):
            net.loss(X[:, :, :3])

    def test_shapes_are_told(self) -> None:
        net = ConvNet([Conv(4), MaxPool(2), Affine(5)], (3, 8, 8))
        assert net.shapes == [(3, 8, 8), (4, 8, 8), (4, 4, 4), (5,), (10,)]
