"""Activations: functions of one number, applied to every value of an array of any shape.

NaN stays NaN in all of them, so that a broken net shows in its loss.
"""

from __future__ import annotations

import numpy as np

from cnnlab.errors import UsageError
from cnnlab.scratch._checks import Array, expect_floats, expect_shape


def relu_forward(x: Array) -> tuple[Array, Array]:
    """Return ``max(x, 0)`` and the cache, ``x`` (Nair & Hinton 2010)."""
    expect_floats(x=x)
    return np.maximum(x, 0), x


def relu_backward(dout: Array, cache: Array) -> Array:
    """Return dx: ``dout`` where x was above zero; at zero itself, where there is no slope, 0."""
    x = cache
    expect_shape("dout", dout, x.shape, f"x of shape {x.shape}")
    return dout * (x > 0)


def leaky_relu_forward(x: Array, slope: float = 0.01) -> tuple[Array, tuple[Array, float]]:
    """Return ``x`` where it is positive and ``slope * x`` elsewhere (Maas, Hannun & Ng 2013), and the cache.

    Raises:
        UsageError: ``slope`` is not between 0 and 1.
    """
    expect_floats(x=x)
    if not 0 < slope < 1:
        raise UsageError(f"slope must be between 0 and 1, got {slope}. With slope 0 it is relu_forward.")
    slope = float(slope)  # a float64 scalar would make float32 arrays float64
    return np.maximum(x, slope * x), (x, slope)


def leaky_relu_backward(dout: Array, cache: tuple[Array, float]) -> Array:
    """Return dx: ``dout`` where x was above zero, ``slope * dout`` elsewhere."""
    x, slope = cache
    expect_shape("dout", dout, x.shape, f"x of shape {x.shape}")
    return dout * np.maximum(x > 0, x.dtype.type(slope))  # 1 or slope


def sigmoid_forward(x: Array) -> tuple[Array, Array]:
    """Return ``1 / (1 + exp(-x))`` and the cache, the output itself.

    For negative x that is ``exp(x) / (1 + exp(x))``: the exponent is never positive, so nothing overflows.
    """
    expect_floats(x=x)
    z = np.exp(-np.abs(x))
    out = np.maximum(z, x >= 0) / (1 + z)  # 1 above the fraction bar where x >= 0, z elsewhere
    return out, out


def sigmoid_backward(dout: Array, cache: Array) -> Array:
    """Return dx: the slope is ``out * (1 - out)``."""
    out = cache
    expect_shape("dout", dout, out.shape, f"x of shape {out.shape}")
    return dout * out * (1 - out)


def tanh_forward(x: Array) -> tuple[Array, Array]:
    """Return ``tanh(x)`` and the cache, the output itself."""
    expect_floats(x=x)
    out = np.tanh(x)
    return out, out


def tanh_backward(dout: Array, cache: Array) -> Array:
    """Return dx: the slope is ``1 - out**2``."""
    out = cache
    expect_shape("dout", dout, out.shape, f"x of shape {out.shape}")
    return dout * (1 - out**2)
