"""``cs231n.fast_layers``: convolution and max pooling at full speed, under each of the names that the course has.

The course compares three implementations. Here all names are the same functions, so that a cache of one fits the
backward pass of another.
"""

from __future__ import annotations

from cnnlab.scratch.layers import conv_backward, conv_forward, max_pool_backward, max_pool_forward

__all__ = [
    "conv_backward_fast",
    "conv_backward_im2col",
    "conv_backward_strides",
    "conv_forward_fast",
    "conv_forward_im2col",
    "conv_forward_strides",
    "max_pool_backward_fast",
    "max_pool_backward_im2col",
    "max_pool_backward_reshape",
    "max_pool_forward_fast",
    "max_pool_forward_im2col",
    "max_pool_forward_reshape",
]

conv_forward_fast = conv_forward_im2col = conv_forward_strides = conv_forward
conv_backward_fast = conv_backward_im2col = conv_backward_strides = conv_backward
max_pool_forward_fast = max_pool_forward_im2col = max_pool_forward_reshape = max_pool_forward
max_pool_backward_fast = max_pool_backward_im2col = max_pool_backward_reshape = max_pool_backward
