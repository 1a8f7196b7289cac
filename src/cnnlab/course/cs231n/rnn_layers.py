"""``cs231n.rnn_layers``: the recurrent layers of assignment 3, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlab.course._arrays import Array
from cnnlab.scratch import layers
from cnnlab.scratch.layers import (
    lstm_backward,
    lstm_forward,
    lstm_step_backward,
    lstm_step_forward,
    rnn_backward,
    rnn_forward,
    rnn_step_backward,
    rnn_step_forward,
    sigmoid_forward,
    temporal_affine_backward,
    temporal_affine_forward,
    word_embedding_backward,
    word_embedding_forward,
)

__all__ = [
    "lstm_backward",
    "lstm_forward",
    "lstm_step_backward",
    "lstm_step_forward",
    "rnn_backward",
    "rnn_forward",
    "rnn_step_backward",
    "rnn_step_forward",
    "sigmoid",
    "temporal_affine_backward",
    "temporal_affine_forward",
    "temporal_softmax_loss",
    "word_embedding_backward",
    "word_embedding_forward",
]


def sigmoid(x: Array) -> Array:
    """Return ``1 / (1 + exp(-x))``."""
    return sigmoid_forward(x)[0]


def temporal_softmax_loss(x: Array, y: Array, mask: Array, verbose: bool = False) -> tuple[Any, Array]:
    """Return the cross-entropy of the words of captions, summed over time and divided by N, and its gradient.

    Args:
        x: scores (N, T, V).
        y: the right words (N, T).
        mask: (N, T), true or 1 for the words that count.
        verbose: whether the shape of the gradient is printed.
    """
    loss, dx = layers.temporal_softmax_loss(x, y, np.asarray(mask, bool))
    if verbose:
        print("dx:", dx.shape)
    return loss, dx
