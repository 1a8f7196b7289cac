"""Normalisation: every feature over the batch (BatchNorm), or every input over its features (LayerNorm).

Both subtract a mean, divide by a standard deviation, and let the net undo it: ``gamma * x_hat + beta``. They differ in
what is averaged. ``spatial_norm.py`` does the same for images.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from cnnlab.scratch._checks import Array, expect_floats, expect_keys, expect_ndim, expect_shape, is_training
from cnnlab.scratch.layers._normalise import (
    NormCache,
    normalise_batch,
    normalise_batch_backward,
    scale_and_shift,
    standardise,
    standardise_backward,
    total,
)


def batchnorm_forward(
    x: Array, gamma: Array, beta: Array, bn_param: MutableMapping[str, Any]
) -> tuple[Array, NormCache]:
    """Normalise every feature over the batch.

    In train mode mean and (biased) variance are those of the batch, and ``bn_param`` receives the running averages
    ``r = momentum * r + (1 - momentum) * batch``, which start at zero. In test mode these take their place.

    Args:
        x: (N, D).
        gamma: scale (D,).
        beta: shift (D,).
        bn_param: ``mode`` "train" or "test"; ``eps`` added to the variance (1e-5); ``momentum`` (0.9); and
            ``running_mean``, ``running_var`` (D,), which train mode writes.

    Returns:
        out (N, D), and the cache for :func:`batchnorm_backward` and :func:`batchnorm_backward_alt`.

    Raises:
        ShapeError: shapes that do not fit each other, integers, or an empty batch in train mode.
        UnknownNameError: an unknown mode or key.

    Source: Ioffe & Szegedy 2015, algorithm 1.
    """
    expect_ndim("x", x, 2, "(N, D)")
    return normalise_batch(x, gamma, beta, bn_param, axes=(0,))


def batchnorm_backward(dout: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """Return dx, dgamma, dbeta, going back through the graph of the forward pass one node at a time.

    Each pair of lines undoes the line of the forward pass in the comment above it. The two paths by which x reaches
    ``centred`` and the variance are added where they meet.

    Raises:
        ShapeError: ``dout`` is not of the shape of the output.
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


def batchnorm_backward_alt(dout: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """Return dx, dgamma, dbeta in closed form: the same values as :func:`batchnorm_backward`, faster.

    On paper the whole graph shrinks to ``dx = gamma / std * (dout - mean(dout) - x_hat * mean(dout * x_hat))``: what
    would only shift or stretch the batch is taken out of ``dout``, because BatchNorm takes it out of x. Both means are
    dbeta and dgamma divided by N.

    Raises:
        ShapeError: ``dout`` is not of the shape of the output.
    """
    return normalise_batch_backward(dout, cache, axes=(0,))


def layernorm_forward(x: Array, gamma: Array, beta: Array, ln_param: Mapping[str, Any]) -> tuple[Array, NormCache]:
    """Normalise every input over its features: the same in training and test, and for any size of batch.

    Args:
        x: (N, D).
        gamma: scale (D,).
        beta: shift (D,).
        ln_param: ``eps`` added to the variance (1e-5). A ``mode``, "train" or "test", changes nothing.

    Returns:
        out (N, D), and the cache for :func:`layernorm_backward`.

    Raises:
        ShapeError: shapes that do not fit each other, integers, or no features.
        UnknownNameError: an unknown mode or key.

    Source: Ba, Kiros & Hinton 2016.
    """
    expect_floats(x=x, gamma=gamma, beta=beta)
    expect_ndim("x", x, 2, "(N, D)")
    for name, array in (("gamma", gamma), ("beta", beta)):
        expect_shape(name, array, x.shape[1:], f"x of shape {x.shape}")
    expect_keys("ln_param", ln_param, ("eps", "mode"))
    if "mode" in ln_param:
        is_training("ln_param", ln_param)  # refuses another mode
    x_hat, _, _, inv_std = standardise(x, (1,), float(ln_param.get("eps", 1e-5)))
    return scale_and_shift(x_hat, gamma, beta), NormCache(x_hat, inv_std, gamma, True)


def layernorm_backward(dout: Array, cache: NormCache) -> tuple[Array, Array, Array]:
    """Return dx, dgamma, dbeta, in closed form.

    Raises:
        ShapeError: ``dout`` is not of the shape of the output.
    """
    x_hat, inv_std, gamma, _ = cache
    expect_shape("dout", dout, x_hat.shape, f"x of shape {x_hat.shape}")
    dx = standardise_backward(dout * gamma, x_hat, inv_std, (1,))
    return dx, total((0,), dout, x_hat).ravel(), total((0,), dout).ravel()
