"""The two-layer net: affine - ReLU - affine - softmax, the smallest that can do more than a linear classifier.

Its passes are written out here, to be read; the other nets are lists of layers (:mod:`cnnlab.scratch.nets.deep`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cnnlab.scratch._checks import Array
from cnnlab.scratch.layers.affine import affine_backward, affine_forward
from cnnlab.scratch.layers.loss import softmax_loss
from cnnlab.scratch.layers.sandwich import affine_relu_backward, affine_relu_forward
from cnnlab.scratch.nets._parts import add_penalty, checked_reg, gaussian


class TwoLayerNet:
    """A net from images of D numbers over H hidden units to scores for C classes.

    Args:
        input_dim: D, number of values of an image.
        hidden_dim: H, number of hidden units.
        num_classes: C, number of scores.
        weight_scale: standard deviation of the initial weights.
        reg: strength of the penalty ``0.5 * reg * sum(W**2)``.
        dtype: type of parameters, scores, loss and gradients; images are converted to it.

    Attributes:
        params: W1 (D, H), b1 (H,), W2 (H, C), b2 (C,). Weights are drawn in this order from NumPy's global stream.

    Raises:
        UsageError: ``reg`` is below 0.

    Source: CS231n, assignment 1.
    """

    def __init__(
        self,
        input_dim: int = 3 * 32 * 32,
        hidden_dim: int = 100,
        num_classes: int = 10,
        weight_scale: float = 1e-3,
        reg: float = 0.0,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.reg, self.dtype = checked_reg(reg), np.dtype(dtype)
        self.params: dict[str, Array] = {
            "W1": gaussian(weight_scale, (input_dim, hidden_dim), dtype),
            "b1": np.zeros(hidden_dim, dtype),
            "W2": gaussian(weight_scale, (hidden_dim, num_classes), dtype),
            "b2": np.zeros(num_classes, dtype),
        }

    def loss(self, X: Array, y: Array | None = None) -> Any:
        """Return the scores of images, or with labels the loss and its gradients.

        Args:
            X: images (N, d1, ..., dk) with d1 * ... * dk = D.
            y: labels (N,), whole numbers from 0 to C - 1.

        Returns:
            Without y: scores (N, C). With y: the mean cross-entropy and the penalty, and the gradient of every
            parameter by name.

        Raises:
            ShapeError: the images do not fit.
            LabelError: a label is out of range.
        """
        p = self.params
        hidden, hidden_cache = affine_relu_forward(np.asarray(X, self.dtype), p["W1"], p["b1"])  # (N, H)
        scores, scores_cache = affine_forward(hidden, p["W2"], p["b2"])  # (N, C)
        if y is None:
            return scores

        loss, dscores = softmax_loss(scores, y)
        grads: dict[str, Array] = {}
        dhidden, grads["W2"], grads["b2"] = affine_backward(dscores, scores_cache)
        _, grads["W1"], grads["b1"] = affine_relu_backward(dhidden, hidden_cache)
        return loss + add_penalty(p, grads, self.reg), grads
