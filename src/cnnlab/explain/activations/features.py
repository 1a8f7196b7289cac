"""Feature maps: the output of a layer for an image, one map per channel.

M. Zeiler, R. Fergus: Visualizing and understanding convolutional networks, 2013, https://arxiv.org/abs/1311.2901;
J. Yosinski et al.: Understanding neural networks through deep visualization, 2015, https://arxiv.org/abs/1506.06579.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cnnlab import figures
from cnnlab.errors import ModelError, UsageError
from cnnlab.explain.probe import Probe
from cnnlab.figures import Drawable
from cnnlab.figures.pictures import input_picture
from cnnlab.tracing.hooks import recording, uncompiled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float32]
View = Literal["grid", "strongest", "mean"]


@dataclass(frozen=True, eq=False)
class Features(Drawable):
    """The feature maps of a layer for an image.

    Attributes:
        layer: the dotted name of the layer.
        maps: float32 (C, h, w), the output of the layer.
        image: float32 (C, H, W), the image as the network takes it.
    """

    layer: str
    maps: Array
    image: Array

    @property
    def mean(self) -> Array:
        """The mean over the channels, (h, w)."""
        return self.maps.mean(axis=0)

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """The channels, (C,), that with the largest mean square first."""
        return np.argsort(-np.square(self.maps).mean(axis=(1, 2)), kind="stable")

    @property
    def silent(self) -> int:
        """The number of channels that are zero at all positions."""
        return int((self.maps == 0).all(axis=(1, 2)).sum())

    def strongest(self, count: int = 8) -> npt.NDArray[np.int64]:
        """Return the ``count`` strongest channels."""
        return self.order[:count]

    def figure(self, view: View = "grid", picture: npt.ArrayLike | None = None, limit: int = 64) -> Figure:
        """Draw the maps.

        Args:
            view: ``"grid"`` draws the channels in order, ``"strongest"`` the eight strongest, ``"mean"`` their mean.
            picture: the image as people see it, uint8 or 0..1, (H, W) or (H, W, 3); drawn from the network's input when
                ``None``.
            limit: the largest number of channels in a grid; of more, the strongest are drawn.

        Raises:
            UsageError: there is no such view.
        """
        picture = input_picture(self.image) if picture is None else picture
        count = len(self.maps)
        if view == "mean":
            return figures.feature_maps(self.mean[None], picture, [f"mean of {count}"], self.layer)
        if view not in ("grid", "strongest"):
            raise UsageError(f'There is no view "{view}"; choose from grid, strongest, mean.')
        few = self.strongest(8 if view == "strongest" else limit)
        channels = few if view == "strongest" else np.sort(few)
        note = f"{self.silent} of {count} channels are zero everywhere in this image." if self.silent else ""
        if len(channels) < count:
            note = f"The {len(channels)} strongest of {count} channels. {note}".strip()
        return figures.feature_maps(self.maps[channels], picture, [str(index) for index in channels], self.layer, note)


def features(model: nn.Module, image: Any, layer: str | None = None) -> Features:
    """Return the feature maps of a layer for an image.

    Args:
        model: the network; it is left as it was.
        image: the image (C, H, W) or (1, C, H, W) as the network takes it.
        layer: the dotted name of a spatial layer; the first convolution when ``None``.

    Raises:
        UnknownNameError: there is no such layer.
        ModelError: the network cannot take the image, or the layer has no positions.
    """
    model = uncompiled(model)
    if layer is None:
        names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
        if not names:
            raise ModelError(f"{type(model).__name__} has no 2-D convolution; name a layer.")
        layer = names[0]
    probe = Probe(model, image, layer=layer)
    row = probe.layer_row
    with probe.session(), torch.no_grad(), recording(model, [layer]) as outputs:
        probe.run(probe.image)
    maps = outputs[layer] if row is None else row.as_map(outputs[layer])
    if maps.ndim != 4:
        raise ModelError(f'The output of "{layer}" has the shape {tuple(maps.shape)}: it has no positions to draw.')
    return Features(layer, maps[0].float().cpu().numpy(), probe.image[0].float().cpu().numpy())


def compare_features(views: Mapping[str, Features], channels: int = 8) -> Figure:
    """Draw the strongest maps of several networks for one image in rows, such as ReLU against tanh.

    Args:
        views: name of a network -> its feature maps.
        channels: the number of maps in a row.
    """
    if not views:
        raise UsageError("There is nothing to draw: give at least one network's features.")
    rows = {}
    for name, each in views.items():
        strongest = each.strongest(channels)
        rows[name] = (each.maps[strongest], [str(index) for index in strongest], float((each.maps == 0).mean()))
    return figures.features_beside(rows)
