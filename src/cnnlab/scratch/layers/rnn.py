"""A recurrent layer: the state after each step is computed from the input of the step and the state before it.

::

    h[t] = tanh(x[t] Wx + h[t-1] Wh + b)

Jeffrey L. Elman: Finding structure in time. Cognitive Science 14, 1990. https://doi.org/10.1207/s15516709cog1402_1

The backward pass follows the chain of states from the last to the first: Paul J. Werbos: Backpropagation through time:
what it does and how to do it. Proceedings of the IEEE 78, 1990. https://doi.org/10.1109/5.58337

Only the chain of states needs a loop over time. What the inputs contribute, x[t] Wx + b, is one product for all steps,
and so are the gradients of the weights.
"""

from __future__ import annotations

import numpy as np

from cnnlab.scratch._checks import Array, Cache, expect_floats, expect_ndim, expect_shape
from cnnlab.scratch.layers.temporal import temporal_affine_backward, temporal_affine_forward


def rnn_step_forward(x: Array, prev_h: Array, Wx: Array, Wh: Array, b: Array) -> tuple[Array, Cache]:
    """Compute the next state of a recurrent layer.

    Args:
        x: input of this step (N, D).
        prev_h: state before it (N, H).
        Wx: weights of the input (D, H).
        Wh: weights of the state (H, H).
        b: biases (H,).

    Returns:
        The next state (N, H), and the cache.

    Raises:
        ShapeError: the shapes do not fit each other, or an array is not of floats.
    """
    expect_ndim("x", x, 2, "(N, D)")
    expect_recurrent("prev_h", x, prev_h, Wx, Wh, b)
    next_h = np.tanh(x @ Wx + prev_h @ Wh + b)
    return next_h, (x, prev_h, Wx, Wh, next_h)


def rnn_step_backward(dnext_h: Array, cache: Cache) -> tuple[Array, Array, Array, Array, Array]:
    """Return the gradients dx, dprev_h, dWx, dWh, db from the gradient ``dnext_h`` (N, H) of the next state.

    Raises:
        ShapeError: ``dnext_h`` does not have the shape of the state.
    """
    x, prev_h, Wx, Wh, next_h = cache
    expect_shape("dnext_h", dnext_h, next_h.shape, f"a state of shape {next_h.shape}")
    da = dnext_h * (1 - next_h**2)  # tanh' = 1 - tanh²
    return da @ Wx.T, da @ Wh.T, x.T @ da, prev_h.T @ da, da.sum(axis=0)


def rnn_forward(x: Array, h0: Array, Wx: Array, Wh: Array, b: Array) -> tuple[Array, Cache]:
    """Run a recurrent layer over whole sequences.

    Args:
        x: sequences (N, T, D).
        h0: state before the first step (N, H).
        Wx, Wh, b: weights and biases as in :func:`rnn_step_forward`.

    Returns:
        The state after every step (N, T, H), and the cache.

    Raises:
        ShapeError: the shapes do not fit each other, or an array is not of floats.
    """
    expect_ndim("x", x, 3, "(N, T, D)")
    expect_recurrent("h0", x, h0, Wx, Wh, b)
    a, inputs = temporal_affine_forward(x, Wx, b)
    (N, T, _), H = x.shape, h0.shape[1]
    h = np.empty((N, T + 1, H), dtype=np.result_type(a, h0, Wh))  # h[:, t] is the state after t steps
    h[:, 0] = h0
    for t in range(T):
        h[:, t + 1] = np.tanh(a[:, t] + h[:, t] @ Wh)
    return h[:, 1:], (inputs, h, Wh)


def rnn_backward(dh: Array, cache: Cache) -> tuple[Array, Array, Array, Array, Array]:
    """Return the gradients dx (N, T, D), dh0 (N, H), dWx, dWh, db.

    Args:
        dh: gradient (N, T, H) of the state after every step, as it comes from the layer above; the gradient that comes
            from the next step is added here.
        cache: the cache that the forward pass returned.

    Raises:
        ShapeError: ``dh`` does not have the shape of the states.
    """
    inputs, h, Wh = cache
    N, T, H = h.shape[0], h.shape[1] - 1, h.shape[2]
    expect_shape("dh", dh, (N, T, H), f"{T} states of shape {(N, H)}")
    da = np.empty((N, T, H), dtype=np.result_type(dh, h))
    dprev_h = np.zeros((N, H), dtype=da.dtype)
    for t in reversed(range(T)):
        da[:, t] = (dh[:, t] + dprev_h) * (1 - h[:, t + 1] ** 2)
        dprev_h = da[:, t] @ Wh.T
    dx, dWx, db = temporal_affine_backward(da, inputs)
    dWh = h[:, :-1].reshape(N * T, H).T @ da.reshape(N * T, H)
    return dx, dprev_h, dWx, dWh, db


def expect_recurrent(state: str, x: Array, h: Array, Wx: Array, Wh: Array, b: Array, gates: int = 1) -> None:
    """Raise unless the arrays of a recurrent layer fit each other; ``state`` is the name of ``h`` in the message.

    Raises:
        ShapeError: the shapes do not fit each other, or an array is not of floats.
    """
    expect_floats(x=x, **{state: h}, Wx=Wx, Wh=Wh, b=b)
    expect_ndim(state, h, 2, "(N, H)")
    N, D, H = x.shape[0], x.shape[-1], h.shape[1]
    expect_shape(state, h, (N, H), f"x of shape {x.shape}")
    both = f"x of shape {x.shape} and {state} of shape {h.shape}"
    expect_shape("Wx", Wx, (D, gates * H), both)
    expect_shape("Wh", Wh, (H, gates * H), both)
    expect_shape("b", b, (gates * H,), both)
