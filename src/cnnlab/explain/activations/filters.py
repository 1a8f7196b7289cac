"""The filters of a convolution, which are small pictures themselves.

Filters of the first layer come out as edges, spots and colour contrasts in every network that learned from photos
(A. Krizhevsky et al.: ImageNet classification with deep convolutional neural networks, 2012, figure 3; A. Karpathy's
notes for CS231n call noisy ones a sign of a network that was not trained long enough).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import nn

from cnnlab import figures
from cnnlab.errors import ModelError, UsageError
from cnnlab.figures import Drawable
from cnnlab.tracing.hooks import find_layer, uncompiled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Filters(Drawable):
    """A copy of the filters of a convolution, which further training does not change.

    Attributes:
        layer: the dotted name of the layer.
        weights: float32 (F, C, kh, kw): F filters, each with a slice for each of its C input channels.
    """

    layer: str
    weights: npt.NDArray[np.float32]

    def figure(self, before: Filters | None = None, limit: int = 0) -> Figure:
        """Draw the filters: in colour for three input channels, otherwise slice by slice (blue negative, red positive).

        Args:
            before: the same filters at another time, drawn beside them.
            limit: the number of filters and slices to draw, the first ones; as many as fit when 0.

        Raises:
            UsageError: the filters of ``before`` have another shape.
        """
        if before is not None and before.weights.shape != self.weights.shape:
            raise UsageError(
                f"Filters of shape {before.weights.shape} cannot be compared with those of shape {self.weights.shape}."
            )
        return figures.filters(self.weights, self.layer, None if before is None else before.weights, limit)

    def change(self, before: Filters) -> float:
        """Return the norm of the change of the weights since ``before``, relative to their norm then."""
        return float(np.linalg.norm(self.weights - before.weights) / np.linalg.norm(before.weights))


def filters(model: nn.Module, layer: str | None = None) -> Filters:
    """Return a copy of the filters of a convolution.

    Args:
        model: the network.
        layer: the dotted name of a 2-D convolution; the first one when ``None``.

    Raises:
        UnknownNameError: there is no such layer.
        UsageError: the layer is not a 2-D convolution.
        ModelError: the network has none.
    """
    model = uncompiled(model)
    convolutions = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    if not convolutions:
        raise ModelError(f"{type(model).__name__} has no 2-D convolution, so there are no filters to draw.")
    layer = next(iter(convolutions)) if layer is None else layer
    module = find_layer(model, layer)
    if not isinstance(module, nn.Conv2d):
        near = [name for name in convolutions if name.startswith(layer.split(".")[0])] or list(convolutions)
        raise UsageError(
            f'"{layer}" is a {type(module).__name__}, which has no filters. Convolutions: {", ".join(near[:8])}.'
        )
    return Filters(layer, module.weight.detach().float().cpu().numpy().copy())
