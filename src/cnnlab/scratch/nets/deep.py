"""A convnet that is built from a list of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cnnlab.errors import ShapeError, UnknownNameError, UsageError
from cnnlab.scratch._checks import Array
from cnnlab.scratch.layers.loss import softmax_loss
from cnnlab.scratch.nets._parts import add_penalty, checked_images, checked_reg, gaussian
from cnnlab.scratch.nets.layer_list import Affine, Layer, Shape


class ConvNet:
    """A net of the layers in a list, one after the other, then an affine layer to the scores, and softmax.

    ::

        ConvNet([Conv(32), BatchNorm(), ReLU(), MaxPool(2), Conv(64), BatchNorm(), ReLU(), MaxPool(2)])

    Args:
        layers: layers of :mod:`cnnlab.scratch.nets.layer_list` in order, without the last affine layer.
        input_dim: shape of an image (C, H, W); (D,) lays images of D numbers out as rows.
        num_classes: number of scores.
        reg: strength of the penalty ``0.5 * reg * sum(W**2)``.
        weight_scale: standard deviation of the initial weights; ``"he"`` for ``sqrt(2 / inputs of a unit)``, which
            keeps the size of values through layers with ReLU (He et al. 2015, section 2.2).
        dtype: type of parameters, scores, loss and gradients; images are converted to it.
        seed: seed of the dropout masks, which are then the same at every call, as a gradient check needs.
            NumPy's global stream is left as it was.

    Attributes:
        params: W1, b1, ... of convolutions and affine layers in order, gamma1, beta1, ... of normalisations in order.
            Weights are drawn from NumPy's global stream, layer by layer.
        buffers: running_mean1, running_var1, ... of BatchNorms, which belong to the net but have no gradient.
        shapes: shape of an image before the first layer and after each layer.

    Raises:
        ShapeError: a layer does not fit the shape it receives; the message names the layer.
        UsageError: an element of the list is no layer, or ``reg`` is below 0.
        UnknownNameError: ``weight_scale`` is another name than "he".
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        input_dim: tuple[int, ...] = (3, 32, 32),
        num_classes: int = 10,
        reg: float = 0.0,
        weight_scale: float | Literal["he"] = "he",
        dtype: npt.DTypeLike = np.float32,
        seed: int | None = None,
    ) -> None:
        if isinstance(weight_scale, str) and weight_scale != "he":
            raise UnknownNameError("weight_scale", weight_scale, ["he"], "Or pass a number.")
        self.layers = (*layers, Affine(num_classes))
        self.reg, self.dtype, self.seed = checked_reg(reg), np.dtype(dtype), seed
        self.params: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self.shapes: list[Shape] = [tuple(input_dim)]
        self._names: list[dict[str, str]] = []  # for each layer: W -> W3, first of parameters, then of buffers
        for position, layer in enumerate(self.layers, 1):
            self._add(position, layer, weight_scale)

    def _add(self, position: int, layer: Layer, weight_scale: float | str) -> None:
        if not isinstance(layer, Layer):
            raise UsageError(f"Layer {position} is {layer!r}: a list of layers such as Conv(32) or ReLU() is needed.")
        before = self.shapes[-1]
        try:
            self.shapes.append(layer.output_shape(before))
        except ShapeError as error:
            raise ShapeError(f"Layer {position}, {layer}, does not fit the shape {before}: {error}") from None
        learned, running = layer.param_shapes(before), layer.buffer_shapes(before)
        # The first with weights has W1 and b1, the first BatchNorm has gamma1, beta1, running_mean1, running_var1.
        number = 1 + sum(learned.keys() <= names.keys() for names in self._names)
        names = {role: f"{role}{number}" for role in (*learned, *running)}
        for role, shape in learned.items():
            if role == "W":
                inputs = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
                scale = np.sqrt(2 / inputs) if isinstance(weight_scale, str) else weight_scale
                self.params[names[role]] = gaussian(scale, shape, self.dtype)
            else:
                self.params[names[role]] = np.full(shape, role == "gamma", self.dtype)
        for role, shape in running.items():
            self.buffers[names[role]] = np.zeros(shape, self.dtype)
        self._names.append(names)

    def loss(self, X: Array, y: Array | None = None) -> Any:
        """Return the scores of images, or with labels the loss and its gradients.

        Without labels the net is in test mode: BatchNorm uses its running averages, and dropout keeps everything.

        Args:
            X: images (N, C, H, W); of any shape with D numbers each where ``input_dim`` is (D,).
            y: labels (N,), whole numbers from 0 to num_classes - 1.

        Returns:
            Without y: scores (N, num_classes). With y: the mean cross-entropy and the penalty, and the gradient of
            every parameter by name.

        Raises:
            ShapeError: the images do not fit.
            LabelError: a label is out of range.
        """
        out, caches = checked_images(X, self.shapes[0], self.dtype), []
        settings = {"mode": "test" if y is None else "train", "seed": self.seed}
        arrays, stream = self.params | self.buffers, np.random.get_state()
        try:
            for layer, names in zip(self.layers, self._names, strict=True):
                p = {role: arrays[name] for role, name in names.items()}
                out, cache = layer.forward(out, p, settings)
                caches.append(cache)
                self.buffers.update({name: p[role] for role, name in names.items() if name in self.buffers})
        finally:
            if self.seed is not None:  # dropout has re-seeded the stream: minibatches would repeat themselves for ever
                np.random.set_state(stream)
        if y is None:
            return out

        loss, dout = softmax_loss(out, y)
        grads: dict[str, Array] = {}
        for layer, names, cache in zip(reversed(self.layers), reversed(self._names), reversed(caches), strict=True):
            dout, *gradients = layer.backward(dout, cache)
            grads.update(zip(names.values(), gradients, strict=False))  # buffers, which are last, have no gradients
        return loss + add_penalty(self.params, grads, self.reg), grads
