"""Words as vectors: a table with a row per word, which is learned.

Yoshua Bengio, Réjean Ducharme, Pascal Vincent, Christian Jauvin: A neural probabilistic language model. JMLR 3, 2003,
section 2. https://www.jmlr.org/papers/v3/bengio03a.html
"""

from __future__ import annotations

import numpy as np

from cnnlab.scratch._checks import Array, Cache, expect_floats, expect_ndim, expect_positions, expect_shape


def word_embedding_forward(x: Array, W: Array) -> tuple[Array, Cache]:
    """Replace every word by its vector.

    Args:
        x: words (N, T), integers 0..V - 1: N sequences of T words.
        W: vectors (V, D), one per word of the vocabulary.

    Returns:
        The vectors (N, T, D), and the cache.

    Raises:
        ShapeError: an array has another number of axes, words are not integers, or vectors are not floats.
        LabelError: a word is not in the vocabulary.
    """
    expect_floats(W=W)
    expect_ndim("x", x, 2, "(N, T)")
    expect_ndim("W", W, 2, "(V, D)")
    x = np.asarray(x)
    expect_positions("x", x, len(W), "words in the vocabulary")
    return W[x], (x, W.shape)


def word_embedding_backward(dout: Array, cache: Cache) -> Array:
    """Return the gradient (V, D) of the vectors from the gradient ``dout`` (N, T, D) of the outputs.

    Words are integers and have no gradient.

    Raises:
        ShapeError: ``dout`` does not have the shape of the outputs.
    """
    x, (V, D) = cache
    expect_shape("dout", dout, (*x.shape, D), f"words of shape {x.shape} and vectors of shape {(V, D)}")
    dW = np.zeros((V, D), dtype=dout.dtype)
    # np.add.at and not dW[x] += dout, which would count a word once that occurs twice. On one axis it is five times
    # as fast as on rows, so the element [w, d] of dW is addressed by its index in memory.
    indices = x.reshape(-1, 1).astype(np.intp) * D + np.arange(D)
    np.add.at(dW.reshape(-1), indices.reshape(-1), dout.reshape(-1))
    return dW
