"""``cs231n.layer_utils``: layers that often follow each other, as one; with ``import *`` also the layers, as there."""

from __future__ import annotations

from cnnlab.course.cs231n import fast_layers, layers
from cnnlab.course.cs231n.fast_layers import *
from cnnlab.course.cs231n.layers import *
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
    *fast_layers.__all__,
    *layers.__all__,
]

conv_bn_relu_forward = conv_batchnorm_relu_forward
conv_bn_relu_backward = conv_batchnorm_relu_backward
