"""Long short-term memory: beside the state h runs a cell c that is added to, so that gradients survive many steps.

::

    i, f, o = sigmoid(x[t] Wx + h[t-1] Wh + b)   input, forget and output gate: how much is written, kept, read
    g       = tanh(x[t] Wx + h[t-1] Wh + b)      what would be written; each of the four has its own H columns
    c[t]    = f * c[t-1] + i * g
    h[t]    = o * tanh(c[t])

Sepp Hochreiter, Jürgen Schmidhuber: Long short-term memory. Neural Computation 9, 1997.
https://doi.org/10.1162/neco.1997.9.8.1735. The forget gate is from Felix A. Gers, Jürgen Schmidhuber, Fred Cummins:
Learning to forget: continual prediction with LSTM. Neural Computation 12, 2000.
https://doi.org/10.1162/089976600300015015

Deviations from the papers: the cell's own squashing functions are tanh, the gradient is the full one through time (the
1997 paper cuts it at the gates), and a gate does not read the cell (no peepholes, a later addition).
"""

from __future__ import annotations

import numpy as np

from cnnlab.scratch._checks import Array, Cache, expect_ndim, expect_shape
from cnnlab.scratch.layers.activation import sigmoid_forward
from cnnlab.scratch.layers.rnn import expect_recurrent
from cnnlab.scratch.layers.temporal import temporal_affine_backward, temporal_affine_forward


def lstm_step_forward(
    x: Array, prev_h: Array, prev_c: Array, Wx: Array, Wh: Array, b: Array
) -> tuple[Array, Array, Cache]:
    """Compute the next state and cell of an LSTM.

    Args:
        x: input of this step (N, D).
        prev_h: state before it (N, H).
        prev_c: cell before it (N, H).
        Wx: weights of the input (D, 4H), the columns of the gates i, f, o, g one after the other.
        Wh: weights of the state (H, 4H).
        b: biases (4H,).

    Returns:
        The next state (N, H), the next cell (N, H), and the cache.

    Raises:
        ShapeError: the shapes do not fit each other, or an array is not of floats.
    """
    expect_ndim("x", x, 2, "(N, D)")
    expect_recurrent("prev_h", x, prev_h, Wx, Wh, b, gates=4)
    expect_shape("prev_c", prev_c, prev_h.shape, f"prev_h of shape {prev_h.shape}")
    next_h, next_c, cell = _cell_forward(x @ Wx + prev_h @ Wh + b, prev_c)
    return next_h, next_c, (x, prev_h, Wx, Wh, cell)


def lstm_step_backward(dnext_h: Array, dnext_c: Array, cache: Cache) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Return the gradients dx, dprev_h, dprev_c, dWx, dWh, db.

    Args:
        dnext_h: gradient of the next state, (N, H).
        dnext_c: gradient of the next cell, (N, H).
        cache: the cache that the forward pass returned.

    Raises:
        ShapeError: a gradient does not have the shape of the state.
    """
    x, prev_h, Wx, Wh, cell = cache
    expect_shape("dnext_h", dnext_h, prev_h.shape, f"a state of shape {prev_h.shape}")
    expect_shape("dnext_c", dnext_c, prev_h.shape, f"a cell of shape {prev_h.shape}")
    da, dprev_c = _cell_backward(dnext_h, dnext_c, cell)
    return da @ Wx.T, da @ Wh.T, dprev_c, x.T @ da, prev_h.T @ da, da.sum(axis=0)


def lstm_forward(x: Array, h0: Array, Wx: Array, Wh: Array, b: Array) -> tuple[Array, Cache]:
    """Run an LSTM over whole sequences, from a cell of zeros.

    Args:
        x: sequences (N, T, D).
        h0: state before the first step (N, H).
        Wx, Wh, b: weights and biases as in :func:`lstm_step_forward`.

    Returns:
        The state after every step (N, T, H), and the cache.

    Raises:
        ShapeError: the shapes do not fit each other, or an array is not of floats.
    """
    expect_ndim("x", x, 3, "(N, T, D)")
    expect_recurrent("h0", x, h0, Wx, Wh, b, gates=4)
    a, inputs = temporal_affine_forward(x, Wx, b)  # what the inputs contribute, for all steps at once
    (N, T, _), H = x.shape, h0.shape[1]
    h = np.empty((N, T + 1, H), dtype=np.result_type(a, h0, Wh))  # h[:, t] is the state after t steps
    h[:, 0] = h0
    c = np.zeros((N, H), dtype=h.dtype)
    cells = []
    for t in range(T):
        h[:, t + 1], c, cell = _cell_forward(a[:, t] + h[:, t] @ Wh, c)
        cells.append(cell)
    return h[:, 1:], (inputs, h, Wh, cells)


def lstm_backward(dh: Array, cache: Cache) -> tuple[Array, Array, Array, Array, Array]:
    """Return the gradients dx (N, T, D), dh0 (N, H), dWx, dWh, db; as :func:`~cnnlab.scratch.layers.rnn.rnn_backward`.

    Raises:
        ShapeError: ``dh`` does not have the shape of the states.
    """
    inputs, h, Wh, cells = cache
    N, T, H = h.shape[0], h.shape[1] - 1, h.shape[2]
    expect_shape("dh", dh, (N, T, H), f"{T} states of shape {(N, H)}")
    da = np.empty((N, T, 4 * H), dtype=np.result_type(dh, h))
    dprev_h = dprev_c = np.zeros((N, H), dtype=da.dtype)
    for t in reversed(range(T)):
        da[:, t], dprev_c = _cell_backward(dh[:, t] + dprev_h, dprev_c, cells[t])
        dprev_h = da[:, t] @ Wh.T
    dx, dWx, db = temporal_affine_backward(da, inputs)
    dWh = h[:, :-1].reshape(N * T, H).T @ da.reshape(N * T, 4 * H)
    return dx, dprev_h, dWx, dWh, db


def _cell_forward(a: Array, prev_c: Array) -> tuple[Array, Array, Cache]:
    """Return next_h, next_c and the cache of one step, from the sums (N, 4H) that enter the gates."""
    H = prev_c.shape[1]
    gates, _ = sigmoid_forward(a[:, : 3 * H])
    i, f, o = np.split(gates, 3, axis=1)
    g = np.tanh(a[:, 3 * H :])
    next_c = f * prev_c + i * g
    tanh_c = np.tanh(next_c)
    return o * tanh_c, next_c, (i, f, o, g, prev_c, tanh_c)


def _cell_backward(dnext_h: Array, dnext_c: Array, cell: Cache) -> tuple[Array, Array]:
    """Return the gradients of the sums that enter the gates, (N, 4H), and of the cell before the step, (N, H)."""
    i, f, o, g, prev_c, tanh_c = cell
    dc = dnext_c + dnext_h * o * (1 - tanh_c**2)  # the cell acts on the next cell, and through the state
    di, df, do, dg = dc * g, dc * prev_c, dnext_h * tanh_c, dc * i
    # sigmoid' = s (1 - s), tanh' = 1 - tanh²
    da = np.hstack([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)])
    return da, dc * f
