"""Layers that often follow each other, as one: forward through all of them, backward in reverse order.

Arguments, shapes and errors are those of the layers inside.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from cnnlab.scratch._checks import Array, Cache
from cnnlab.scratch.layers.activation import relu_backward, relu_forward
from cnnlab.scratch.layers.affine import affine_backward, affine_forward
from cnnlab.scratch.layers.conv import conv_backward, conv_forward
from cnnlab.scratch.layers.pool import max_pool_backward, max_pool_forward
from cnnlab.scratch.layers.spatial_norm import spatial_batchnorm_backward, spatial_batchnorm_forward


def affine_relu_forward(x: Array, w: Array, b: Array) -> tuple[Array, Cache]:
    """Return ``relu(affine(x, w, b))`` and the cache."""
    a, affine_cache = affine_forward(x, w, b)
    out, relu_cache = relu_forward(a)
    return out, (affine_cache, relu_cache)


def affine_relu_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Return dx, dw, db."""
    affine_cache, relu_cache = cache
    return affine_backward(relu_backward(dout, relu_cache), affine_cache)


def conv_relu_forward(x: Array, w: Array, b: Array, conv_param: Mapping[str, Any]) -> tuple[Array, Cache]:
    """Return ``relu(conv(x, w, b))`` and the cache."""
    a, conv_cache = conv_forward(x, w, b, conv_param)
    out, relu_cache = relu_forward(a)
    return out, (conv_cache, relu_cache)


def conv_relu_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Return dx, dw, db."""
    conv_cache, relu_cache = cache
    return conv_backward(relu_backward(dout, relu_cache), conv_cache)


def conv_relu_pool_forward(
    x: Array, w: Array, b: Array, conv_param: Mapping[str, Any], pool_param: Mapping[str, Any]
) -> tuple[Array, Cache]:
    """Return ``max_pool(relu(conv(x, w, b)))`` and the cache."""
    a, conv_cache = conv_forward(x, w, b, conv_param)
    activated, relu_cache = relu_forward(a)
    out, pool_cache = max_pool_forward(activated, pool_param)
    return out, (conv_cache, relu_cache, pool_cache)


def conv_relu_pool_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Return dx, dw, db."""
    conv_cache, relu_cache, pool_cache = cache
    dactivated = max_pool_backward(dout, pool_cache)
    return conv_backward(relu_backward(dactivated, relu_cache), conv_cache)


def conv_batchnorm_relu_forward(
    x: Array,
    w: Array,
    b: Array,
    gamma: Array,
    beta: Array,
    conv_param: Mapping[str, Any],
    bn_param: MutableMapping[str, Any],
) -> tuple[Array, Cache]:
    """Return ``relu(spatial_batchnorm(conv(x, w, b), gamma, beta))`` and the cache."""
    a, conv_cache = conv_forward(x, w, b, conv_param)
    normalised, norm_cache = spatial_batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(normalised)
    return out, (conv_cache, norm_cache, relu_cache)


def conv_batchnorm_relu_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array, Array, Array]:
    """Return dx, dw, db, dgamma, dbeta."""
    conv_cache, norm_cache, relu_cache = cache
    da, dgamma, dbeta = spatial_batchnorm_backward(relu_backward(dout, relu_cache), norm_cache)
    return *conv_backward(da, conv_cache), dgamma, dbeta
