"""Encoders: networks from an image to the features that a decoder reads.

============  =======================================================================================================
given         features that were computed before, as in the course's COCO files; they pass unchanged
small         a small convolutional network that is trained with the decoder; its output is a feature map
a network     any network of the zoo with its weights, frozen; the output of a named layer is the feature map
============  =======================================================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from cnnlab.data import Preprocess
from cnnlab.errors import UnknownNameError, UsageError, did_you_mean
from cnnlab.tracing.hooks import find_layer, recording
from cnnlab.tracing.layers import Layer
from cnnlab.tracing.target_layer import list_layers
from cnnlab.zoo import create_model, models, weights_preprocess

GIVEN, SMALL = "given", "small"


class Encoder(nn.Module, ABC):
    """The base of encoders: a module from inputs (N, ...) to features (N, D) or (N, C, h, w).

    Attributes:
        feature_shape: shape of the features of an image.
        frozen: whether the encoder has no weights that are trained.
    """

    feature_shape: tuple[int, ...]
    frozen = True

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return plain values from which :func:`build_encoder` makes the same encoder, without its weights."""


class GivenFeatures(Encoder):
    """The encoder of features that were computed before: it returns its input unchanged.

    Args:
        feature_shape: shape of the features of an image.
    """

    def __init__(self, feature_shape: Sequence[int]) -> None:
        super().__init__()
        self.feature_shape = tuple(feature_shape)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features."""
        return features

    def facts(self) -> dict[str, Any]:
        """Return the values to build it from."""
        return {"name": GIVEN, "feature_shape": list(self.feature_shape)}


class SmallConvNet(Encoder):
    """Convolutions of 4x4 with stride 2, and one of 3x3 with stride 1 at the end; BatchNorm and ReLU follow each.

    Kernels of even size halve the image without a shift: the receptive field of a position is centred on its pixels, so
    that attention is drawn at the right place. With 3x3 and stride 2 it would be shifted by up to half a position.

    Args:
        channels: number of channels of the images.
        image_size: side of the images in pixels.
        widths: number of channels after each convolution of stride 2; the last number is that of the feature map.
    """

    frozen = False

    def __init__(self, channels: int, image_size: int, widths: Sequence[int] = (24, 48, 96)) -> None:
        super().__init__()
        if not widths or image_size % 2 ** len(widths):
            raise UsageError(
                f"The encoder {SMALL} halves the image {len(widths)} times, and {image_size} pixels cannot be halved "
                f"so often. Choose image_size as a multiple of {2 ** len(widths)}."
            )
        self.channels, self.image_size, self.widths = channels, image_size, list(widths)
        layers: list[nn.Module] = []
        for before, after in zip([channels, *widths], widths, strict=False):
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        last = widths[-1]
        layers += [nn.Conv2d(last, last, 3, 1, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        side = image_size // 2 ** len(widths)
        self.feature_shape = (last, side, side)

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps (N, C, h, w) of images (N, channels, S, S)."""
        maps: Tensor = self.layers(images)
        return maps

    def facts(self) -> dict[str, Any]:
        """Return the values to build it from."""
        return {"name": SMALL, "channels": self.channels, "image_size": self.image_size, "widths": self.widths}


class FrozenNetwork(Encoder):
    """A network of the zoo up to a layer; it stays in eval mode and is not trained.

    Args:
        arch: arguments of :func:`cnnlab.zoo.create_model` except weights.
        layer: dotted name of the layer whose output is the map; the last one with positions when ``None``.
        weights: weights as :func:`cnnlab.zoo.create_model` takes them; random ones when ``None``.

    Raises:
        UnknownNameError: there is no such network or layer; the nearest names are listed.
        UsageError: the layer's output has no positions.
        WeightsNotFoundError: the public weights are not on this machine and cannot be downloaded.
    """

    def __init__(self, arch: dict[str, Any], layer: str | None, weights: str | None = None) -> None:
        super().__init__()
        self.model = create_model(**arch, weights=weights).eval().requires_grad_(False)
        self.arch: dict[str, Any] = dict(self.model.arch)
        self._row = _map_layer(self.model, (self.arch["in_channels"], *[self.arch["image_size"]] * 2), layer)
        self.layer = self._row.name
        with torch.inference_mode():
            image = torch.zeros(1, self.arch["in_channels"], *[self.arch["image_size"]] * 2)
            self.feature_shape = tuple(self(image).shape[1:])

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps (N, C, h, w) of images (N, C, S, S)."""
        with torch.no_grad(), recording(self.model, [self.layer]) as outputs:
            self.model(images)
        return self._row.as_map(outputs[self.layer])

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, so that the running statistics of BatchNorm are frozen too."""
        return super().train(False)

    def facts(self) -> dict[str, Any]:
        """Return the values to build it from."""
        return {"name": self.arch["name"], "arch": self.arch, "layer": self.layer}


def _map_layer(model: nn.Module, shape: tuple[int, ...], name: str | None) -> Layer:
    layers = list_layers(model, shape)
    if name is None:
        if layers.default is None:
            raise UsageError(f"{type(model).__name__} has no layer with positions on the image. Take another encoder.")
        return layers.default
    find_layer(model, name)  # raises with the nearest names
    spatial = {layer.name: layer for layer in layers.spatial}
    if name not in spatial:
        default = layers.default.name if layers.default else "none"
        raise UsageError(f'The output of the layer "{name}" has no positions on the image; the usual one is {default}.')
    return spatial[name]


def build_encoder(facts: dict[str, Any]) -> Encoder:
    """Build an encoder with random weights from what ``facts()`` of another one returned."""
    name, values = facts["name"], {key: value for key, value in facts.items() if key != "name"}
    if name == GIVEN:
        return GivenFeatures(**values)
    return SmallConvNet(**values) if name == SMALL else FrozenNetwork(**values)


def check_encoder_name(name: str) -> None:
    """Refuse a name that is neither ``given`` nor ``small`` nor a network of the zoo.

    Raises:
        UnknownNameError: there is no such encoder; the message has the nearest name.
    """
    if name not in (GIVEN, SMALL) and name not in models:
        near = did_you_mean(name, [GIVEN, SMALL, *models.names()])
        raise UnknownNameError("encoder", name, [], f"{near} It is {GIVEN}, {SMALL} or a network of `cnnlab models`.")


def zoo_encoder(
    name: str, layer: str | None, weights: str | None, image_size: int | None
) -> tuple[FrozenNetwork, Preprocess]:
    """Build a frozen network of the zoo, and the preprocessing of images for it.

    Args:
        name: name of the network.
        layer: dotted name of the layer; the last one with positions when ``None``.
        weights: ``"imagenet"``, or a path; random weights when ``None``.
        image_size: side of the images in pixels; that of the weights when ``None``.

    Raises:
        UnknownNameError: there is no such network or layer.
        UsageError: the layer's output has no positions.
        WeightsNotFoundError: the weights are not on this machine and cannot be downloaded.
    """
    values = weights_preprocess(name, weights)
    size = image_size or (values["size"] if values else None)
    encoder = FrozenNetwork({"name": name, "image_size": size}, layer, weights)
    channels, side = encoder.arch["in_channels"], encoder.arch["image_size"]
    if values is None:
        return encoder, Preprocess(side, channels, (0.5,) * channels, (0.5,) * channels, "crop")
    return encoder, Preprocess.from_dict(values | {"size": side})
