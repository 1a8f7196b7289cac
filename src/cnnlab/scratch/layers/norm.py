"""Normalisation: every feature over the batch (BatchNorm), or every input over its features (LayerNorm).

Both subtract a mean, divide by a standard deviation, and let the net undo it: ``gamma * x_hat + beta``. They differ in
the axes that are averaged over. ``spatial_norm.py`` does the same for images, with the functions at the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

import numpy as np

from cnnlab.errors import ShapeError
from cnnlab.scratch._checks import Array, expect_floats, expect_keys, expect_ndim, expect_shape, is_training

Gradients = tuple[Array, Array, Array]


class NormCache(NamedTuple):
    """The arrays that the backward passes need."""

    x_hat: Array  # the normalised input
    inv_std: Array  # 1 / sqrt(variance + eps), broadcasts against x_hat
    gamma: Array  # broadcasts against x_hat
    training: bool  # whether mean and variance were those of the input, so that a gradient flows through them


def batchnorm_forward(
    x: Array, gamma: Array, beta: Array, bn_param: MutableMapping[str, Any]
) -> tuple[Array, NormCache]:
    """Normalise every feature over the batch.

    In train mode mean and (biased) variance are those of the batch, and ``bn_param`` receives the running averages
    ``r = momentum * r + (1 - momentum) * batch``, which start at zero. In test mode these take their place.

    Args:
        x: inputs (N, D).
        gamma: scale (D,).
        beta: shift (D,).
        bn_param: ``mode`` "train" or "test"; ``eps`` added to the variance (1e-5); ``momentum`` (0.9); and
            ``running_mean``, ``running_var`` (D,), which train mode writes.

    Returns:
        The outputs (N, D), and the cache for :func:`batchnorm_backward` and :func:`batchnorm_backward_alt`.

    Raises:
        ShapeError: the shapes do not fit each other, an array is not of floats, or a batch in train mode is empty.
        UnknownNameError: a mode or key is unknown.

    Source: Ioffe & Szegedy 2015, algorithm 1.
    """
    expect_ndim("x", x, 2, "(N, D)")
    return normalise_batch(x, gamma, beta, bn_param)


def batchnorm_backward(dout: Array, cache: NormCache) -> Gradients:
    """Return dx, dgamma, dbeta, going back through the graph of the forward pass one node at a time.

    Each pair of lines undoes the line of the forward pass in the comment above it. The two paths by which x reaches
    ``centred`` and the variance are added where they meet.

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    x_hat, inv_std, gamma, training = cache
    expect_shape("dout", dout, x_hat.shape, f"x of shape {x_hat.shape}")
    count = len(x_hat)
    # out = gamma * x_hat + beta
    dbeta = dout.sum(axis=0)
    dgamma = (dout * x_hat).sum(axis=0)
    dx_hat = dout * gamma
    # x_hat = centred * inv_std
    centred = x_hat / inv_std
    dcentred = dx_hat * inv_std
    if not training:  # mean and variance were constants: centred = x - running_mean
        return dcentred, dgamma, dbeta
    dinv_std = (dx_hat * centred).sum(axis=0)
    # inv_std = 1 / std
    dstd = dinv_std * -(inv_std**2)
    # std = sqrt(var + eps)
    dvar = dstd * 0.5 * inv_std
    # var = squares.sum(axis=0) / N
    dsquares = np.broadcast_to(dvar / count, x_hat.shape)
    # squares = centred**2
    dcentred = dcentred + dsquares * 2 * centred
    # centred = x - mean
    dmean = -dcentred.sum(axis=0)
    # mean = x.sum(axis=0) / N
    dx = dcentred + dmean / count
    return dx, dgamma, dbeta


def batchnorm_backward_alt(dout: Array, cache: NormCache) -> Gradients:
    """Return dx, dgamma, dbeta in closed form: the same values as :func:`batchnorm_backward`, faster.

    On paper the whole graph shrinks to ``dx = gamma / std * (dout - mean(dout) - x_hat * mean(dout * x_hat))``: what
    would only shift or stretch the batch is taken out of ``dout``, because BatchNorm takes it out of x. Both means are
    dbeta and dgamma divided by the number of values that are averaged. Images (N, C, H, W) are averaged over N, H, W.

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    x_hat, inv_std, gamma, training = cache
    expect_shape("dout", dout, x_hat.shape, f"x of shape {x_hat.shape}")
    axes = batch_axes(x_hat)
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


def layernorm_forward(x: Array, gamma: Array, beta: Array, ln_param: Mapping[str, Any]) -> tuple[Array, NormCache]:
    """Normalise every input over its features: the same in training and test, and for any size of batch.

    Args:
        x: inputs (N, D).
        gamma: scale (D,).
        beta: shift (D,).
        ln_param: ``eps`` added to the variance (1e-5). A ``mode``, "train" or "test", changes nothing.

    Returns:
        The outputs (N, D), and the cache for :func:`layernorm_backward`.

    Raises:
        ShapeError: the shapes do not fit each other, an array is not of floats, or there are no features.
        UnknownNameError: a mode or key is unknown.

    Source: Ba, Kiros & Hinton 2016.
    """
    expect_floats(x=x, gamma=gamma, beta=beta)
    expect_ndim("x", x, 2, "(N, D)")
    for name, array in (("gamma", gamma), ("beta", beta)):
        expect_shape(name, array, x.shape[1:], f"x of shape {x.shape}")
    x_hat, _, _, inv_std = standardise(x, (1,), checked_eps("ln_param", ln_param))
    return scale_and_shift(x_hat, gamma, beta), NormCache(x_hat, inv_std, gamma, True)


def layernorm_backward(dout: Array, cache: NormCache) -> Gradients:
    """Return dx, dgamma, dbeta, in closed form.

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    x_hat, inv_std, gamma, _ = cache
    expect_shape("dout", dout, x_hat.shape, f"x of shape {x_hat.shape}")
    dx = standardise_backward(dout * gamma, x_hat, inv_std, (1,))
    return dx, total((0,), dout, x_hat).ravel(), total((0,), dout).ravel()


def batch_axes(x: Array) -> tuple[int, ...]:
    """Return the axes that BatchNorm averages over: all but axis 1, that of features or channels."""
    return 0, *range(2, x.ndim)


def normalise_batch(x: Array, gamma: Array, beta: Array, bn_param: MutableMapping[str, Any]) -> tuple[Array, NormCache]:
    """Apply BatchNorm to ``x``, features (N, D) or images (N, D, H, W)."""
    expect_floats(x=x, gamma=gamma, beta=beta)
    expect_keys("bn_param", bn_param, ("mode", "eps", "momentum", "running_mean", "running_var"))
    training = is_training("bn_param", bn_param)
    eps, momentum = float(bn_param.get("eps", 1e-5)), float(bn_param.get("momentum", 0.9))
    features = x.shape[1:2]
    running = {name: bn_param.get(name, np.zeros(features)) for name in ("running_mean", "running_var")}
    for name, array in {"gamma": gamma, "beta": beta, **running}.items():
        expect_shape(name, array, features, f"x of shape {x.shape}")
    running_mean, running_var = (np.asarray(array, x.dtype) for array in running.values())
    per_feature = (1, -1, *[1] * (x.ndim - 2))

    if training:
        x_hat, mean, var, inv_std = standardise(x, batch_axes(x), eps)
        bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mean.ravel()
        bn_param["running_var"] = momentum * running_var + (1 - momentum) * var.ravel()
    else:
        inv_std = 1 / np.sqrt(running_var.reshape(per_feature) + eps)
        x_hat = x - running_mean.reshape(per_feature)
        x_hat *= inv_std
    gamma = gamma.reshape(per_feature)
    return scale_and_shift(x_hat, gamma, beta.reshape(per_feature)), NormCache(x_hat, inv_std, gamma, training)


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
    """Return ``gamma * x_hat + beta``, in one new array."""
    out = gamma * x_hat
    out += beta
    return out


def checked_eps(name: str, param: Mapping[str, Any]) -> float:
    """Return ``eps`` (1e-5) of a normalisation that does the same in both modes.

    Raises:
        UnknownNameError: a key other than ``eps`` and ``mode``, or a mode other than "train" and "test".
    """
    expect_keys(name, param, ("eps", "mode"))
    if "mode" in param:
        is_training(name, param)
    return float(param.get("eps", 1e-5))


def total(axes: tuple[int, ...], *arrays: Array) -> Array:
    """Return the sum over ``axes`` of the product of ``arrays``; the axes stay, of length 1.

    ``einsum`` adds products up without writing them down first, and is quicker than ``sum`` on small images.
    """
    every_axis = list(range(arrays[0].ndim))
    operands: list[Any] = []
    for array in arrays:
        operands += [array, every_axis]
    remaining = [axis for axis in every_axis if axis not in axes]
    return np.expand_dims(np.einsum(*operands, remaining), axes)


def count_over(axes: tuple[int, ...], x: Array) -> int:
    """Return the number of values that are averaged."""
    return math.prod(x.shape[axis] for axis in axes)
