"""``cs231n.layer_utils``: layers that often follow each other, as one."""

from __future__ import annotations

from cnnlab.scratch.layers import (
    affine_relu_backward,
    affine_relu_forward,
    conv_batchnorm_relu_backward,
    conv_batchnorm_relu_forward,
    conv_relu_backward,
    conv_relu_forward,
    conv_relu_pool_backward,
    conv_relu_pool_forward,
)

__all__ = [
    "affine_relu_backward",
    "affine_relu_forward",
    "conv_bn_relu_backward",
    "conv_bn_relu_forward",
    "conv_relu_backward",
    "conv_relu_forward",
    "conv_relu_pool_backward",
    "conv_relu_pool_forward",
]

conv_bn_relu_forward = conv_batchnorm_relu_forward
conv_bn_relu_backward = conv_batchnorm_relu_backward
