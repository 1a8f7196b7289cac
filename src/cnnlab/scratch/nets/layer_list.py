"""The layers that a :class:`~cnnlab.scratch.nets.deep.ConvNet` is a list of.

A shape is that of one image, (C, H, W), or (D,) behind an :class:`Affine` layer. A layer holds settings only; its
arrays are the net's, which passes them as ``p`` under the names W, b, gamma, beta, running_mean, running_var.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnnlab.errors import ShapeError, UsageError
from cnnlab.scratch._checks import Array
from cnnlab.scratch.layers._geometry import output_size
from cnnlab.scratch.layers.activation import relu_backward, relu_forward
from cnnlab.scratch.layers.affine import affine_backward, affine_forward
from cnnlab.scratch.layers.conv import conv_backward, conv_forward
from cnnlab.scratch.layers.dropout import dropout_backward, dropout_forward
from cnnlab.scratch.layers.norm import (
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
)
from cnnlab.scratch.layers.pool import avg_pool_backward, avg_pool_forward, max_pool_backward, max_pool_forward
from cnnlab.scratch.layers.spatial_norm import spatial_batchnorm_forward

Shape = tuple[int, ...]
Arrays = dict[str, Array]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """The methods of all layers; this layer changes nothing."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return the output's shape for an input of this shape, or raise ``ShapeError`` if the layer does not fit."""
        return shape

    def param_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shapes of the arrays that are learned by gradients, by name."""
        return {}

    def buffer_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shapes of the arrays that are learned without gradients, by name."""
        return {}

    def forward(self, x: Array, p: Arrays, settings: Settings) -> tuple[Array, Any]:
        """Return the output and the cache.

        Args:
            x: input.
            p: arrays of the layer, by name; BatchNorm replaces its running averages in it.
            settings: ``mode``, "train" or "test", and the ``seed`` of dropout masks, or ``None``.
        """
        return x, None

    def backward(self, dout: Array, cache: Any) -> tuple[Array, ...]:
        """Return dx and the gradients of the parameters in the order of ``param_shapes``."""
        return (dout,)


@dataclass(frozen=True)
class Conv(Layer):
    """Convolution with ``filters`` filters of ``size`` x ``size``; the default ``pad`` keeps the size at stride 1."""

    filters: int
    size: int = 3
    stride: int = 1
    pad: int | None = None

    @property
    def conv_param(self) -> dict[str, int]:
        return {"stride": self.stride, "pad": (self.size - 1) // 2 if self.pad is None else self.pad}

    def output_shape(self, shape: Shape) -> Shape:
        if self.pad is None and self.size % 2 == 0:
            raise ShapeError(
                "padding keeps the size of an image for odd filters only. "
                f"Make size odd, {self.size - 1} or {self.size + 1}, or give pad."
            )
        return (self.filters, *_windows(shape, self.size, **self.conv_param))

    def param_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"W": (self.filters, shape[0], self.size, self.size), "b": (self.filters,)}

    def forward(self, x: Array, p: Arrays, settings: Settings) -> tuple[Array, Any]:
        return conv_forward(x, p["W"], p["b"], self.conv_param)

    def backward(self, dout: Array, cache: Any) -> tuple[Array, ...]:
        return conv_backward(dout, cache)


@dataclass(frozen=True)
class Affine(Layer):
    """Fully connected layer of so many ``units``; images become rows."""

    units: int

    def output_shape(self, shape: Shape) -> Shape:
        return (self.units,)

    def param_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"W": (math.prod(shape), self.units), "b": (self.units,)}

    def forward(self, x: Array, p: Arrays, settings: Settings) -> tuple[Array, Any]:
        return affine_forward(x, p["W"], p["b"])

    def backward(self, dout: Array, cache: Any) -> tuple[Array, ...]:
        return affine_backward(dout, cache)


@dataclass(frozen=True)
class _Norm(Layer):
    def param_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"gamma": shape[:1], "beta": shape[:1]}


@dataclass(frozen=True)
class BatchNorm(_Norm):
    """BatchNorm of channels over batch and positions; of features over the batch behind an affine layer."""

    def buffer_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"running_mean": shape[:1], "running_var": shape[:1]}

    def forward(self, x: Array, p: Arrays, settings: Settings) -> tuple[Array, Any]:
        bn_param = {"mode": settings["mode"], "running_mean": p["running_mean"], "running_var": p["running_var"]}
        forward = spatial_batchnorm_forward if x.ndim == 4 else batchnorm_forward
        out, cache = forward(x, p["gamma"], p["beta"], bn_param)
        p["running_mean"], p["running_var"] = bn_param["running_mean"], bn_param["running_var"]
        return out, cache

    def backward(self, dout: Array, cache: Any) -> tuple[Array, ...]:
        return batchnorm_backward_alt(dout, cache)


@dataclass(frozen=True)
class LayerNorm(_Norm):
    """LayerNorm of the features of each input, behind an affine layer."""

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ShapeError("it needs rows (D,). Put it behind an affine layer.")
        return shape

    def forward(self, x: Array, p: Arrays, settings: Settings) -> tuple[Array, Any]:
        return layernorm_forward(x, p["gamma"], p["beta"], {})

    def backward(self, dout: Array, cache: Any) -> tuple[Array, ...]:
        return layernorm_backward(dout, cache)


@dataclass(frozen=True)
class ReLU(Layer):
    """``max(x, 0)``."""

    def forward(self, x: Array, p: Arrays, settings: Settings) -> tuple[Array, Any]:
        return relu_forward(x)

    def backward(self, dout: Array, cache: Any) -> tuple[Array, ...]:
        return (relu_backward(dout, cache),)


@dataclass(frozen=True)
class _Pool(Layer):
    size: int
    stride: int | None = None  # size of the window

    @property
    def pool_param(self) -> dict[str, int]:
        return {"pool_height": self.size, "pool_width": self.size, "stride": self.stride or self.size}

    def output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *_windows(shape, self.size, self.stride or self.size))


@dataclass(frozen=True)
class MaxPool(_Pool):
    """The largest value of each window of ``size`` x ``size``; windows touch unless ``stride`` is given."""

    def forward(self, x: Array, p: Arrays, settings: Settings) -> tuple[Array, Any]:
        return max_pool_forward(x, self.pool_param)

    def backward(self, dout: Array, cache: Any) -> tuple[Array, ...]:
        return (max_pool_backward(dout, cache),)


@dataclass(frozen=True)
class AvgPool(_Pool):
    """The mean of each window of ``size`` x ``size``; windows touch unless ``stride`` is given."""

    def forward(self, x: Array, p: Arrays, settings: Settings) -> tuple[Array, Any]:
        return avg_pool_forward(x, self.pool_param)

    def backward(self, dout: Array, cache: Any) -> tuple[Array, ...]:
        return (avg_pool_backward(dout, cache),)


@dataclass(frozen=True)
class Dropout(Layer):
    """Dropout that keeps values with probability ``keep_prob``."""

    keep_prob: float

    def __post_init__(self) -> None:
        if not 0 < self.keep_prob <= 1:
            raise UsageError(f"keep_prob must be above 0 and at most 1, got {self.keep_prob}. 1 keeps everything.")

    def forward(self, x: Array, p: Arrays, settings: Settings) -> tuple[Array, Any]:
        return dropout_forward(x, {"keep_prob": self.keep_prob, **settings})

    def backward(self, dout: Array, cache: Any) -> tuple[Array, ...]:
        return (dropout_backward(dout, cache),)


def _windows(shape: Shape, size: int, stride: int, pad: int = 0) -> tuple[int, int]:
    """Return height and width of the output of a layer that slides a window over images."""
    if len(shape) != 3:
        raise ShapeError("it needs images (C, H, W). Put it before the affine layers.")
    return (
        output_size("height", shape[1], size, stride, pad),
        output_size("width", shape[2], size, stride, pad),
    )
