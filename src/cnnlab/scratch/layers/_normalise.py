"""What all normalisations share; ``axes`` are the axes that are averaged over."""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from typing import Any, NamedTuple

import numpy as np

from cnnlab.errors import ShapeError
from cnnlab.scratch._checks import Array, expect_floats, expect_keys, expect_shape, is_training


class NormCache(NamedTuple):
    """The arrays that the backward passes need."""

    x_hat: Array  # the normalised input
    inv_std: Array  # 1 / sqrt(variance + eps), broadcasts against x_hat
    gamma: Array  # broadcasts against x_hat
    training: bool  # whether mean and variance were those of the input, so that a gradient flows through them


def total(axes: tuple[int, ...], *arrays: Array) -> Array:
    """Return the sum over ``axes`` of the product of ``arrays``; the axes stay, of length 1.

    ``einsum`` adds products up without writing them down first, and is quicker than ``sum`` on small images.
    """
    shape = arrays[0].shape
    everything = list(range(len(shape)))
    operands: list[Any] = []
    for array in arrays:
        operands += [array, everything]
    remaining = [axis for axis in everything if axis not in axes]
    summed: Array = np.einsum(*operands, remaining)
    return summed.reshape([1 if axis in axes else length for axis, length in enumerate(shape)])


def count_over(axes: tuple[int, ...], x: Array) -> int:
    """Return how many values are averaged."""
    return math.prod(x.shape[axis] for axis in axes)


def standardise(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array, Array, Array]:
    """Return x with mean 0 and variance 1, its mean, its (biased) variance, and ``1 / sqrt(variance + eps)``.

    Raises:
        ShapeError: there is nothing to average.
    """
    count = count_over(axes, x)
    if count == 0:
        raise ShapeError(f"x of shape {x.shape} has no values to take a mean of: pass at least one.")
    mean = total(axes, x) / count
    x_hat = x - mean
    var = total(axes, x_hat, x_hat) / count
    inv_std = 1 / np.sqrt(var + eps)
    x_hat *= inv_std
    return x_hat, mean, var, inv_std


def standardise_backward(dx_hat: Array, x_hat: Array, inv_std: Array, axes: tuple[int, ...]) -> Array:
    """Return dx: ``dx_hat`` without its parts that only shift or stretch x, divided by the standard deviation."""
    count = count_over(axes, x_hat)
    dx = x_hat * (total(axes, dx_hat, x_hat) / -count)
    dx += dx_hat
    dx -= total(axes, dx_hat) / count
    dx *= inv_std
    return dx


def scale_and_shift(x_hat: Array, gamma: Array, beta: Array) -> Array:
    """Return ``gamma * x_hat + beta``."""
    out = gamma * x_hat
    out += beta
    return out


def normalise_batch(
    x: Array, gamma: Array, beta: Array, bn_param: MutableMapping[str, Any], axes: tuple[int, ...]
) -> tuple[Array, NormCache]:
    """BatchNorm over all axes of x but axis 1, whose features gamma and beta (D,) belong to."""
    expect_floats(x=x, gamma=gamma, beta=beta)
    expect_keys("bn_param", bn_param, ("mode", "eps", "momentum", "running_mean", "running_var"))
    training = is_training("bn_param", bn_param)
    eps, momentum = float(bn_param.get("eps", 1e-5)), float(bn_param.get("momentum", 0.9))
    features = x.shape[1:2]
    running = {name: bn_param.get(name, np.zeros(features)) for name in ("running_mean", "running_var")}
    for name, array in {"gamma": gamma, "beta": beta, **running}.items():
        expect_shape(name, array, features, f"x of shape {x.shape}")
    running_mean, running_var = (np.asarray(array, x.dtype) for array in running.values())
    per_feature = [1 if axis in axes else -1 for axis in range(x.ndim)]

    if training:
        x_hat, mean, var, inv_std = standardise(x, axes, eps)
        bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mean.ravel()
        bn_param["running_var"] = momentum * running_var + (1 - momentum) * var.ravel()
    else:
        inv_std = 1 / np.sqrt(running_var.reshape(per_feature) + eps)
        x_hat = x - running_mean.reshape(per_feature)
        x_hat *= inv_std
    gamma = gamma.reshape(per_feature)
    return scale_and_shift(x_hat, gamma, beta.reshape(per_feature)), NormCache(x_hat, inv_std, gamma, training)


def normalise_batch_backward(dout: Array, cache: NormCache, axes: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """The closed form of BatchNorm's backward pass.

    It is :func:`standardise_backward` of ``gamma * dout``, except that gamma, the same all over ``axes``, comes out of
    the sums, which leaves those that dgamma and dbeta are anyway.
    """
    x_hat, inv_std, gamma, training = cache
    expect_shape("dout", dout, x_hat.shape, f"x of shape {x_hat.shape}")
    dgamma, dbeta = total(axes, dout, x_hat), total(axes, dout)
    if training:
        count = count_over(axes, x_hat)
        dx = x_hat * (dgamma / -count)
        dx += dout
        dx -= dbeta / count
        dx *= gamma * inv_std
    else:
        dx = dout * (gamma * inv_std)
    return dx, dgamma.ravel(), dbeta.ravel()
