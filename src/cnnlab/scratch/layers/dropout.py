"""Dropout: while a net learns, every value is switched off at random, so that none can be relied upon alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.errors import UsageError
from cnnlab.scratch._checks import Array, Cache, expect_floats, expect_keys, expect_shape, is_training


def dropout_forward(x: Array, dropout_param: Mapping[str, Any]) -> tuple[Array, Cache]:
    """Keep each value with probability ``keep_prob`` and divide it by that; in test mode keep all as they are.

    The division ("inverted" dropout) makes the expected value in training the same as in test. Random numbers come from
    NumPy's global stream: a value is kept where ``np.random.rand(*x.shape) < keep_prob``.

    Args:
        x: inputs of any shape.
        dropout_param: ``mode`` "train" or "test"; ``keep_prob``, above 0 and at most 1, which the course calls ``p``
            (not PyTorch's ``p``, the probability of dropping); ``seed``, which re-seeds the stream at every call and so
            gives the same mask each time, as a gradient check needs (default: no seeding).

    Returns:
        The outputs of the shape of x (in test mode x itself), and the cache.

    Raises:
        UsageError: ``keep_prob`` is missing or out of range.
        UnknownNameError: a mode or key is unknown.
        ShapeError: ``x`` is not an array of floats.

    Source: Srivastava et al. 2014; CS231n, "Regularization".
    """
    expect_floats(x=x)
    expect_keys("dropout_param", dropout_param, ("mode", "keep_prob", "p", "seed"))
    if "keep_prob" in dropout_param and "p" in dropout_param:
        raise UsageError("dropout_param has both keep_prob and p, two names of the same number: leave one out.")
    keep_prob = dropout_param.get("keep_prob", dropout_param.get("p"))
    if keep_prob is None or not 0 < keep_prob <= 1:
        raise UsageError(
            f"keep_prob, the share of values that dropout keeps, must be above 0 and at most 1, got {keep_prob}. "
            'Put {"keep_prob": 0.5} into dropout_param, or 1 to keep everything.'
        )
    if not is_training("dropout_param", dropout_param):
        return x, (x.shape, None)
    if dropout_param.get("seed") is not None:
        np.random.seed(dropout_param["seed"])
    mask = (np.random.random(x.shape) < keep_prob).astype(x.dtype)
    mask /= float(keep_prob)
    return x * mask, (x.shape, mask)


def dropout_backward(dout: Array, cache: Cache) -> Array:
    """Return dx: ``dout`` where a value was kept, divided by ``keep_prob``; in test mode ``dout`` itself.

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    shape, mask = cache
    expect_shape("dout", dout, shape, f"x of shape {shape}")
    return dout if mask is None else dout * mask
