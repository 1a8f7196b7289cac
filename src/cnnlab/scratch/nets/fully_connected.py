"""Fully connected nets of any depth: {affine - [normalisation] - ReLU - [dropout]} x (L - 1) - affine - softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cnnlab.errors import UnknownNameError, UsageError
from cnnlab.scratch._checks import Array
from cnnlab.scratch.layers.activation import relu_backward, relu_forward
from cnnlab.scratch.layers.affine import affine_backward, affine_forward
from cnnlab.scratch.layers.dropout import dropout_backward, dropout_forward
from cnnlab.scratch.layers.loss import softmax_loss
from cnnlab.scratch.layers.norm import (
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
)
from cnnlab.scratch.nets._parts import add_penalty, checked_reg, gaussian, same_stream_after


class FullyConnectedNet:
    """Images of D numbers, hidden layers of H1, H2, ... units, scores for C classes.

    Args:
        hidden_dims: H1, H2, ...: the net has one layer more.
        input_dim: D, as many numbers as an image has.
        num_classes: C.
        keep_prob: share of hidden values that dropout keeps; 1 for no dropout.
        normalization: ``"batchnorm"``, ``"layernorm"`` or ``None``, before each ReLU.
        reg: strength of the penalty ``0.5 * reg * sum(W**2)``.
        weight_scale: standard deviation of the first weights.
        dtype: type of parameters, scores, loss and gradients; images are converted to it.
        seed: seed of the dropout masks, which are then the same at every call, as a gradient check needs.
            NumPy's global stream is left as it was.

    Attributes:
        params: W1 (D, H1), b1 (H1,), gamma1 and beta1 (H1,) if normalised, W2 (H1, H2), and so on. Weights are drawn in
            this order from NumPy's global stream.
        buffers: running_mean1, running_var1 (H1,), ... of BatchNorm, which belong to the net but have no gradient.

    Raises:
        UnknownNameError: another normalisation.
        UsageError: no hidden layer, ``keep_prob`` out of range, or ``reg`` below 0.

    Source: CS231n, assignment 2.
    """

    def __init__(
        self,
        hidden_dims: Sequence[int],
        input_dim: int = 3 * 32 * 32,
        num_classes: int = 10,
        keep_prob: float = 1.0,
        normalization: Literal["batchnorm", "layernorm"] | None = None,
        reg: float = 0.0,
        weight_scale: float = 1e-2,
        dtype: npt.DTypeLike = np.float32,
        seed: int | None = None,
    ) -> None:
        if not hidden_dims:
            raise UsageError("hidden_dims is empty, but there must be a hidden layer. Pass [100], for example.")
        if not 0 < keep_prob <= 1:
            raise UsageError(f"keep_prob must be above 0 and at most 1, got {keep_prob}. Pass 1 for no dropout.")
        if normalization not in (None, "batchnorm", "layernorm"):
            raise UnknownNameError("normalization", str(normalization), ["batchnorm", "layernorm", "None"])
        self.normalization, self.keep_prob, self.seed = normalization, keep_prob, seed
        self.reg, self.dtype = checked_reg(reg), np.dtype(dtype)
        self.num_layers = len(hidden_dims) + 1
        self.params: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        sizes = [input_dim, *hidden_dims, num_classes]
        for i in range(1, self.num_layers + 1):
            before, units = sizes[i - 1], sizes[i]
            self.params[f"W{i}"] = gaussian(weight_scale, (before, units), dtype)
            self.params[f"b{i}"] = np.zeros(units, dtype)
            if normalization is not None and i < self.num_layers:
                self.params[f"gamma{i}"] = np.ones(units, dtype)
                self.params[f"beta{i}"] = np.zeros(units, dtype)
            if normalization == "batchnorm" and i < self.num_layers:
                self.buffers[f"running_mean{i}"] = np.zeros(units, dtype)
                self.buffers[f"running_var{i}"] = np.zeros(units, dtype)

    def loss(self, X: Array, y: Array | None = None) -> Any:
        """Return the scores of images, or with labels the loss and its gradients.

        Without labels the net is in test mode: BatchNorm uses its running statistics, and dropout keeps everything.

        Args:
            X: images (N, d1, ..., dk) with d1 * ... * dk = D.
            y: labels (N,), whole numbers from 0 to C - 1.

        Returns:
            Without y: scores (N, C). With y: the mean cross-entropy and the penalty, and the gradient of every
            parameter by name.

        Raises:
            ShapeError: images that do not fit.
            LabelError: a label out of range.
        """
        p, last = self.params, self.num_layers
        mode = "test" if y is None else "train"
        out, caches = np.asarray(X, self.dtype), []
        with same_stream_after(self.seed):
            for i in range(1, last):
                out, cache = self._hidden_forward(i, out, mode)  # (N, Hi)
                caches.append(cache)
        scores, scores_cache = affine_forward(out, p[f"W{last}"], p[f"b{last}"])  # (N, C)
        if y is None:
            return scores

        loss, dscores = softmax_loss(scores, y)
        grads: dict[str, Array] = {}
        dout, grads[f"W{last}"], grads[f"b{last}"] = affine_backward(dscores, scores_cache)
        for i in reversed(range(1, last)):
            dout = self._hidden_backward(i, dout, caches[i - 1], grads)
        return loss + add_penalty(p, grads, self.reg), grads

    def _hidden_forward(self, i: int, x: Array, mode: str) -> tuple[Array, tuple[Any, ...]]:
        """Layer i: affine, normalisation, ReLU, dropout."""
        p, norm_cache, dropout_cache = self.params, None, None
        out, affine_cache = affine_forward(x, p[f"W{i}"], p[f"b{i}"])
        if self.normalization == "batchnorm":
            running = {name: self.buffers[f"{name}{i}"] for name in ("running_mean", "running_var")}
            bn_param: dict[str, Any] = {"mode": mode, **running}
            out, norm_cache = batchnorm_forward(out, p[f"gamma{i}"], p[f"beta{i}"], bn_param)
            for name in running:
                self.buffers[f"{name}{i}"] = bn_param[name]
        elif self.normalization == "layernorm":
            out, norm_cache = layernorm_forward(out, p[f"gamma{i}"], p[f"beta{i}"], {})
        out, relu_cache = relu_forward(out)
        if self.keep_prob < 1:
            dropout_param = {"mode": mode, "keep_prob": self.keep_prob, "seed": self.seed}
            out, dropout_cache = dropout_forward(out, dropout_param)
        return out, (affine_cache, norm_cache, relu_cache, dropout_cache)

    def _hidden_backward(self, i: int, dout: Array, cache: tuple[Any, ...], grads: dict[str, Array]) -> Array:
        """Layer i backwards: dropout, ReLU, normalisation, affine; gradients go into ``grads``."""
        affine_cache, norm_cache, relu_cache, dropout_cache = cache
        if self.keep_prob < 1:
            dout = dropout_backward(dout, dropout_cache)
        dout = relu_backward(dout, relu_cache)
        if self.normalization is not None:
            backward = batchnorm_backward_alt if self.normalization == "batchnorm" else layernorm_backward
            dout, grads[f"gamma{i}"], grads[f"beta{i}"] = backward(dout, norm_cache)
        dx, grads[f"W{i}"], grads[f"b{i}"] = affine_backward(dout, affine_cache)
        return dx
