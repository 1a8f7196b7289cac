"""Words as vectors: a table with a row per word, which is learned.

Yoshua Bengio, Réjean Ducharme, Pascal Vincent, Christian Jauvin: A neural probabilistic language model. JMLR 3, 2003,
section 2. https://www.jmlr.org/papers/v3/bengio03a.html
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlab.errors import LabelError, ShapeError
from cnnlab.scratch._checks import Array, expect_floats, expect_ndim, expect_shape

Cache = tuple[Any, ...]


def word_embedding_forward(x: Array, W: Array) -> tuple[Array, Cache]:
    """Replace every word by its vector.

    Args:
        x: words (N, T), integers 0..V - 1: N sequences of T words.
        W: vectors (V, D), one per word of the vocabulary.

    Returns:
        Vectors (N, T, D), and the cache for the backward pass.

    Raises:
        ShapeError: another number of axes, words that are not integers, or vectors that are.
        LabelError: a word that is not in the vocabulary.
    """
    expect_floats(W=W)
    expect_ndim("x", x, 2, "(N, T)")
    expect_ndim("W", W, 2, "(V, D)")
    x = np.asarray(x)
    expect_words("x", x, len(W))
    return W[x], (x, W.shape)


def word_embedding_backward(dout: Array, cache: Cache) -> Array:
    """Return the gradient with respect to the vectors, (V, D); the words themselves have none.

    Args:
        dout: gradient with respect to the output, (N, T, D).
        cache: the cache that the forward pass returned.

    Raises:
        ShapeError: ``dout`` does not have the shape of the output.
    """
    x, (V, D) = cache
    expect_shape("dout", dout, (*x.shape, D), f"words of shape {x.shape} and vectors of shape {(V, D)}")
    dW = np.zeros((V, D), dtype=dout.dtype)
    # np.add.at and not dW[x] += dout, which would count a word once that occurs twice. On one axis it is five times
    # as fast as on rows, so the element [w, d] of dW is addressed by its place in memory.
    places = x.reshape(-1, 1).astype(np.intp) * D + np.arange(D)
    np.add.at(dW.reshape(-1), places.reshape(-1), dout.reshape(-1))
    return dW


def expect_words(name: str, words: Array, count: int) -> None:
    """Raise unless ``words`` are integers 0..count - 1.

    Raises:
        ShapeError: not integers.
        LabelError: a word out of range; its value and position are named.
    """
    if words.dtype.kind not in "iu":
        raise ShapeError(
            f"{name} must hold integers, the positions of words in the vocabulary, got {words.dtype}. "
            f"Try {name}.astype(int)."
        )
    wrong = np.argwhere((words < 0) | (words >= count))
    if len(wrong):
        first = tuple(wrong[0].tolist())
        raise LabelError(
            f"{name}[{', '.join(map(str, first))}] is {words[first]}, but the vocabulary has {count} words: they go "
            f"from 0 to {count - 1}. {len(wrong)} of {words.size} words are out of range."
        )
