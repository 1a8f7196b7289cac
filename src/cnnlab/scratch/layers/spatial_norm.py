"""Normalisation of images: every channel over batch and positions (BatchNorm), or groups of channels of each image."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from typing import Any

from cnnlab.errors import ShapeError
from cnnlab.scratch._checks import Array, expect_floats, expect_ndim, expect_shape
from cnnlab.scratch.layers.norm import (
    Gradients,
    NormCache,
    batch_axes,
    batchnorm_backward_alt,
    checked_eps,
    normalise_batch,
    scale_and_shift,
    standardise,
    standardise_backward,
    total,
)


def spatial_batchnorm_forward(
    x: Array, gamma: Array, beta: Array, bn_param: MutableMapping[str, Any]
) -> tuple[Array, NormCache]:
    """Normalise every channel over the batch and all positions: a filter's output means the same everywhere.

    Args:
        x: images (N, C, H, W).
        gamma: scale (C,).
        beta: shift (C,).
        bn_param: settings as in :func:`~cnnlab.scratch.layers.norm.batchnorm_forward`; running averages are (C,).

    Returns:
        The outputs (N, C, H, W), and the cache.

    Raises:
        ShapeError: the shapes do not fit each other, an array is not of floats, or a batch in train mode is empty.
        UnknownNameError: a mode or key is unknown.

    Source: Ioffe & Szegedy 2015, section 3.2.
    """
    expect_ndim("x", x, 4, "(N, C, H, W)")
    return normalise_batch(x, gamma, beta, bn_param)


def spatial_batchnorm_backward(dout: Array, cache: NormCache) -> Gradients:
    """Return dx, dgamma, dbeta, in closed form.

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    return batchnorm_backward_alt(dout, cache)


def spatial_groupnorm_forward(
    x: Array, gamma: Array, beta: Array, G: int, gn_param: Mapping[str, Any]
) -> tuple[Array, tuple[NormCache, int]]:
    """Normalise every image over each of G groups of its channels: the same in training and test.

    G = 1 is LayerNorm of images, G = C is instance normalisation.

    Args:
        x: images (N, C, H, W).
        gamma: scale (C,) or (1, C, 1, 1).
        beta: shift (C,) or (1, C, 1, 1).
        G: number of groups, a divisor of C; neighbouring channels form a group.
        gn_param: ``eps`` added to the variance (1e-5). A ``mode``, "train" or "test", changes nothing.

    Returns:
        The outputs (N, C, H, W), and the cache.

    Raises:
        ShapeError: the shapes do not fit each other, an array is not of floats, G does not divide C, or a group has no
            values.
        UnknownNameError: a mode or key is unknown.

    Source: Wu & He 2018.
    """
    expect_floats(x=x, gamma=gamma, beta=beta)
    expect_ndim("x", x, 4, "(N, C, H, W)")
    channels = x.shape[1]
    per_channel = (1, channels, 1, 1)
    for name, array in (("gamma", gamma), ("beta", beta)):
        if array.shape not in ((channels,), per_channel):
            raise ShapeError(
                f"{name} must be of shape {(channels,)} or {per_channel} for x of shape {x.shape}, got {array.shape}."
            )
    expect_shape("beta", beta, gamma.shape, f"gamma of shape {gamma.shape}")
    eps = checked_eps("gn_param", gn_param)
    if G < 1 or channels % G:
        raise ShapeError(f"G = {G} groups do not divide the {channels} channels of x of shape {x.shape}.")
    groups = x.reshape(len(x), G, math.prod(x.shape[1:]) // G)
    x_hat, _, _, inv_std = standardise(groups, (2,), eps)
    x_hat = x_hat.reshape(x.shape)
    out = scale_and_shift(x_hat, gamma.reshape(per_channel), beta.reshape(per_channel))
    return out, (NormCache(x_hat, inv_std, gamma, True), G)


def spatial_groupnorm_backward(dout: Array, cache: tuple[NormCache, int]) -> Gradients:
    """Return dx, dgamma, dbeta, in closed form; the last two have the shape of gamma.

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    (x_hat, inv_std, gamma, _), G = cache
    expect_shape("dout", dout, x_hat.shape, f"x of shape {x_hat.shape}")
    groups = (len(x_hat), G, math.prod(x_hat.shape[1:]) // G)
    dx_hat = dout * gamma.reshape(1, -1, 1, 1)
    dx = standardise_backward(dx_hat.reshape(groups), x_hat.reshape(groups), inv_std, (2,))
    axes = batch_axes(x_hat)  # gamma and beta are per channel, as in BatchNorm
    dgamma, dbeta = total(axes, dout, x_hat), total(axes, dout)
    return dx.reshape(x_hat.shape), dgamma.reshape(gamma.shape), dbeta.reshape(gamma.shape)
