"""The nets of the scratch room once more, in torch, from the same parameters; and how the two are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.scratch.nets.layer_list import (
    Affine,
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Layer,
    MaxPool,
    ReLU,
)

Forward = Callable[[Mapping[str, Tensor], Tensor], Tensor]


def shake(net: Any, seed: int = 0) -> None:
    """Move every parameter away from the zeros and ones it starts with, where mistakes could hide."""
    rng = np.random.default_rng(seed)
    for name, w in net.params.items():
        net.params[name] = (w + 0.3 * rng.normal(size=w.shape)).astype(w.dtype)


def some_images(net: Any, count: int, shape: tuple[int, ...], classes: int, seed: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *shape)).astype(net.dtype), rng.integers(0, classes, count)


def check_against_torch(net: Any, forward: Forward, X: Any, y: Any, atol: float = 1e-10) -> None:
    """Compare loss and all gradients in train mode with torch's, to 1e-10; nothing that goes in may change."""
    before = {name: w.copy() for name, w in net.params.items()}
    X_before, y_before = X.copy(), y.copy()
    loss, grads = net.loss(X, y)
    p = {name: torch.tensor(w, requires_grad=True) for name, w in net.params.items()}
    expected = F.cross_entropy(forward(p, torch.tensor(X)), torch.tensor(y))
    for name, w in p.items():
        if name[0] == "W":
            expected = expected + 0.5 * net.reg * (w**2).sum()
    expected.backward()
    assert abs(float(loss) - float(expected.detach())) < atol
    assert grads.keys() == net.params.keys()
    for name, w in p.items():
        assert grads[name].dtype == net.dtype
        np.testing.assert_allclose(grads[name], w.grad.numpy(), rtol=0, atol=atol, err_msg=name)
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)
    for name, w in net.params.items():
        np.testing.assert_array_equal(w, before[name])


def dropped(x: Tensor, keep_prob: float, seed: int) -> Tensor:
    keep = np.random.RandomState(seed).random_sample(tuple(x.shape)) < keep_prob
    return x * torch.from_numpy(keep) / keep_prob


def normalised(x: Tensor, gamma: Tensor, beta: Tensor, statistics: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """BatchNorm with the batch's own statistics, or with given ones."""
    if statistics is None:
        return F.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5)
    return F.batch_norm(x, *statistics, gamma, beta, training=False, eps=1e-5)


def fully_connected(net: Any, test: bool = False) -> Forward:
    def forward(p: Mapping[str, Tensor], x: Tensor) -> Tensor:
        x = x.flatten(1)
        for i in range(1, net.num_layers):
            x = x @ p[f"W{i}"] + p[f"b{i}"]
            if net.normalization == "batchnorm":
                x = normalised(x, p[f"gamma{i}"], p[f"beta{i}"], _statistics(net, i) if test else None)
            if net.normalization == "layernorm":
                x = F.layer_norm(x, x.shape[1:], p[f"gamma{i}"], p[f"beta{i}"], eps=1e-5)
            x = x.relu()
            if net.keep_prob < 1 and not test:
                x = dropped(x, net.keep_prob, net.seed)
        return x @ p[f"W{net.num_layers}"] + p[f"b{net.num_layers}"]

    return forward


def two_layers(p: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return (x.flatten(1) @ p["W1"] + p["b1"]).relu() @ p["W2"] + p["b2"]


def three_layers(p: Mapping[str, Tensor], x: Tensor) -> Tensor:
    maps = F.max_pool2d(F.conv2d(x, p["W1"], p["b1"], padding="same").relu(), 2)
    return (maps.flatten(1) @ p["W2"] + p["b2"]).relu() @ p["W3"] + p["b3"]


def listed(net: Any, layers: Sequence[Layer], test: bool = False) -> Forward:
    """A ConvNet's layers, with names counted here once more."""

    def forward(p: Mapping[str, Tensor], x: Tensor) -> Tensor:
        weighted, norms = 0, 0
        for layer in [*layers, Affine(10)]:
            match layer:
                case Conv(stride=stride, pad=pad, size=size):
                    weighted += 1
                    padding = size // 2 if pad is None else pad
                    x = F.conv2d(x, p[f"W{weighted}"], p[f"b{weighted}"], stride, padding)
                case Affine():
                    weighted += 1
                    x = x.flatten(1) @ p[f"W{weighted}"] + p[f"b{weighted}"]
                case BatchNorm():
                    norms += 1
                    x = normalised(x, p[f"gamma{norms}"], p[f"beta{norms}"], _statistics(net, norms) if test else None)
                case ReLU():
                    x = x.relu()
                case MaxPool(size=size, stride=stride):
                    x = F.max_pool2d(x, size, stride)
                case AvgPool(size=size, stride=stride):
                    x = F.avg_pool2d(x, size, stride)
                case Dropout(keep_prob=keep_prob):
                    x = x if test else dropped(x, keep_prob, net.seed)
                case _:
                    raise TypeError(layer)
        return x

    return forward


def _statistics(net: Any, i: int) -> tuple[Tensor, Tensor]:
    return torch.tensor(net.buffers[f"running_mean{i}"]), torch.tensor(net.buffers[f"running_var{i}"])


def scores_in_torch(net: Any, forward: Forward, X: Any) -> Any:
    return forward({name: torch.tensor(w) for name, w in net.params.items()}, torch.tensor(X)).numpy()
