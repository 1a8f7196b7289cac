"""The three-layer convnet: conv - ReLU - 2x2 max pool - affine - ReLU - affine - softmax."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cnnlab.scratch.nets.deep import ConvNet
from cnnlab.scratch.nets.layer_list import Affine, Conv, MaxPool, ReLU


class ThreeLayerConvNet(ConvNet):
    """A net from images (N, D, H, W) over F filters and M hidden units to scores for C classes.

    It is the :class:`~cnnlab.scratch.nets.deep.ConvNet` of these layers, with ``loss`` as described there.

    Args:
        input_dim: (D, H, W) of an image; H and W even, as pooling halves them.
        num_filters: F, number of filters.
        filter_size: height and width of a filter, odd, so that padding can keep the size of the image.
        hidden_dim: M, number of hidden units.
        num_classes: C, number of scores.
        weight_scale: standard deviation of the initial weights.
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
        layers = [Conv(num_filters, filter_size), ReLU(), MaxPool(2), Affine(hidden_dim), ReLU()]
        super().__init__(layers, input_dim, num_classes, reg, weight_scale, dtype)
