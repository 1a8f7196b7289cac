"""Fully connected nets of any depth: {affine - [normalisation] - ReLU - [dropout]} x (L - 1) - affine - softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from cnnlab.errors import UnknownNameError, UsageError
from cnnlab.scratch.nets.deep import ConvNet
from cnnlab.scratch.nets.layer_list import Affine, BatchNorm, Dropout, Layer, LayerNorm, ReLU


class FullyConnectedNet(ConvNet):
    """A net from images of D numbers over hidden layers of H1, H2, ... units to scores for C classes.

    It is the :class:`~cnnlab.scratch.nets.deep.ConvNet` of these layers, with ``buffers`` and ``loss`` as described
    there.

    Args:
        hidden_dims: H1, H2, ..., numbers of hidden units; the net has one layer more.
        input_dim: D, number of values of an image.
        num_classes: C, number of scores.
        keep_prob: share of hidden values that dropout keeps; 1 for no dropout.
        normalization: ``"batchnorm"``, ``"layernorm"`` or ``None``, before each ReLU.
        reg: strength of the penalty ``0.5 * reg * sum(W**2)``.
        weight_scale: standard deviation of the initial weights.
        dtype: type of parameters, scores, loss and gradients; images are converted to it.
        seed: seed of the dropout masks, as in ``ConvNet``.

    Attributes:
        params: W1 (D, H1), b1 (H1,), gamma1 and beta1 (H1,) if normalised, W2 (H1, H2), and so on. Weights are drawn in
            this order from NumPy's global stream.
        num_layers: number of affine layers, L.

    Raises:
        UnknownNameError: there is no such normalisation.
        UsageError: there is no hidden layer, ``keep_prob`` is out of range, or ``reg`` is below 0.

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
        norms: dict[str | None, list[Layer]] = {None: [], "batchnorm": [BatchNorm()], "layernorm": [LayerNorm()]}
        if normalization not in norms:
            raise UnknownNameError("normalization", str(normalization), map(str, norms))
        dropout = [Dropout(keep_prob)] if keep_prob != 1 else []
        layers: list[Layer] = []
        for units in hidden_dims:
            layers += [Affine(units), *norms[normalization], ReLU(), *dropout]
        super().__init__(layers, (input_dim,), num_classes, reg, weight_scale, dtype, seed)
        self.normalization, self.keep_prob = normalization, keep_prob
        self.num_layers = len(hidden_dims) + 1
