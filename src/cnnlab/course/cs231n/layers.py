"""``cs231n.layers``: the layers of assignment 2, forward and backward."""

from __future__ import annotations

from typing import Any

from cnnlab.course._arrays import Array
from cnnlab.scratch import layers
from cnnlab.scratch.layers import (
    affine_backward,
    affine_forward,
    batchnorm_backward,
    batchnorm_backward_alt,
    batchnorm_forward,
    conv_backward_naive,
    conv_forward_naive,
    dropout_backward,
    dropout_forward,
    layernorm_backward,
    layernorm_forward,
    max_pool_backward_naive,
    max_pool_forward_naive,
    relu_backward,
    relu_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
    spatial_groupnorm_backward,
    spatial_groupnorm_forward,
)

__all__ = [
    "affine_backward",
    "affine_forward",
    "batchnorm_backward",
    "batchnorm_backward_alt",
    "batchnorm_forward",
    "conv_backward_naive",
    "conv_forward_naive",
    "dropout_backward",
    "dropout_forward",
    "layernorm_backward",
    "layernorm_forward",
    "max_pool_backward_naive",
    "max_pool_forward_naive",
    "relu_backward",
    "relu_forward",
    "softmax_loss",
    "spatial_batchnorm_backward",
    "spatial_batchnorm_forward",
    "spatial_groupnorm_backward",
    "spatial_groupnorm_forward",
    "svm_loss",
]


def svm_loss(x: Array, y: Array) -> tuple[Any, Array]:
    """Return the multiclass hinge loss of scores ``x`` (N, C) with labels ``y`` (N,), and its gradient (N, C)."""
    return layers.svm_loss(x, y)


def softmax_loss(x: Array, y: Array) -> tuple[Any, Array]:
    """Return the cross-entropy of softmax of scores ``x`` (N, C) with labels ``y`` (N,), and its gradient (N, C)."""
    return layers.softmax_loss(x, y)
