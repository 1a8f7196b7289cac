"""The three-layer convnet: conv - ReLU - 2x2 max pool - affine - ReLU - affine - softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.errors import ShapeError
from cnnlab.scratch._checks import Array
from cnnlab.scratch.layers.affine import affine_backward, affine_forward
from cnnlab.scratch.layers.loss import softmax_loss
from cnnlab.scratch.layers.sandwich import (
    affine_relu_backward,
    affine_relu_forward,
    conv_relu_pool_backward,
    conv_relu_pool_forward,
)
from cnnlab.scratch.nets._parts import add_penalty, checked_images, checked_reg, gaussian


class ThreeLayerConvNet:
    """Images (N, D, H, W), F filters, M hidden units, scores for C classes.

    Args:
        input_dim: (D, H, W) of an image; H and W even, as pooling halves them.
        num_filters: F, number of filters.
        filter_size: height and width of a filter, odd, so that padding can keep the size of the image.
        hidden_dim: M, number of hidden units.
        num_classes: C, number of scores.
        weight_scale: standard deviation of the first weights.
        reg: strength of the penalty ``0.5 * reg * sum(W**2)``.
        dtype: type of parameters, scores, loss and gradients; images are converted to it.

    Attributes:
        params: W1 (F, D, filter_size, filter_size), b1 (F,), W2 (F * H/2 * W/2, M), b2 (M,), W3 (M, C), b3 (C,).
            Weights are drawn in this order from NumPy's global stream.

    Raises:
        ShapeError: the filter size is even, or the height or width of an image is odd.
        UsageError: ``reg`` is below 0.

    Source: CS231n, assignment 2.
    """

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (3, 32, 32),
        num_filters: int = 32,
        filter_size: int = 7,
        hidden_dim: int = 100,
        num_classes: int = 10,
        weight_scale: float = 1e-3,
        reg: float = 0.0,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        channels, height, width = input_dim
        if filter_size % 2 == 0:
            raise ShapeError(
                "filter_size must be odd, so that (filter_size - 1) / 2 zeros on each side keep the size of the image: "
                f"got {filter_size}, use {filter_size - 1} or {filter_size + 1}."
            )
        if height % 2 or width % 2:
            raise ShapeError(
                f"input_dim is {input_dim}, but 2x2 pooling needs an even height and width. Pad or crop the images."
            )
        self.input_dim, self.reg, self.dtype = tuple(input_dim), checked_reg(reg), np.dtype(dtype)
        self.conv_param = {"stride": 1, "pad": (filter_size - 1) // 2}
        self.pool_param = {"pool_height": 2, "pool_width": 2, "stride": 2}
        pooled = num_filters * (height // 2) * (width // 2)
        self.params: dict[str, Array] = {
            "W1": gaussian(weight_scale, (num_filters, channels, filter_size, filter_size), dtype),
            "b1": np.zeros(num_filters, dtype),
            "W2": gaussian(weight_scale, (pooled, hidden_dim), dtype),
            "b2": np.zeros(hidden_dim, dtype),
            "W3": gaussian(weight_scale, (hidden_dim, num_classes), dtype),
            "b3": np.zeros(num_classes, dtype),
        }

    def loss(self, X: Array, y: Array | None = None) -> Any:
        """Return the scores of images ``X`` (N, D, H, W), or with labels ``y`` (N,) the loss and its gradients.

        All is as in :meth:`TwoLayerNet.loss() <cnnlab.scratch.nets.two_layer.TwoLayerNet.loss>`.
        """
        p, images = self.params, checked_images(X, self.input_dim, self.dtype)
        maps, maps_cache = conv_relu_pool_forward(images, p["W1"], p["b1"], self.conv_param, self.pool_param)
        hidden, hidden_cache = affine_relu_forward(maps, p["W2"], p["b2"])  # maps (N, F, H/2, W/2), hidden (N, M)
        scores, scores_cache = affine_forward(hidden, p["W3"], p["b3"])  # (N, C)
        if y is None:
            return scores

        loss, dscores = softmax_loss(scores, y)
        grads: dict[str, Array] = {}
        dhidden, grads["W3"], grads["b3"] = affine_backward(dscores, scores_cache)
        dmaps, grads["W2"], grads["b2"] = affine_relu_backward(dhidden, hidden_cache)
        _, grads["W1"], grads["b1"] = conv_relu_pool_backward(dmaps, maps_cache)
        return loss + add_penalty(p, grads, self.reg), grads
