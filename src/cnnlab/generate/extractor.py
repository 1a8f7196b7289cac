"""A network as an extractor of layer outputs, for images of 0..1."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import CnnlabError, DataError, ModelError, UnknownNameError, UsageError
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.hardware import choose_device
from cnnlab.runs.classifier import open_classifier
from cnnlab.tracing.forward_pass import trace
from cnnlab.tracing.hooks import find_layer, recording, replacing_output
from cnnlab.tracing.stages import declared_stages
from cnnlab.tracing.target_layer import list_layers
from cnnlab.zoo import create_model, models, weights_preprocess

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INPUTS: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "unit": ((0.0,), (1.0,)),
    "half": ((0.5,), (0.5,)),
    "imagenet": _IMAGENET,
    "caffe": ((123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3),
}
"""The inputs that weights from elsewhere were trained on: mean and standard deviation of pixels of 0..1 (RGB).

``unit`` is 0..1, ``half`` is -1..1, ``caffe`` is 0..255 minus the means, with the channels in the order BGR. For grey
images the numbers are averaged over the channels.
"""

# The style layers and the content layer of CS231n; for other networks the ends of the stages are taken.
_LAYERS = {
    "squeezenet1_1": (("features.1", "features.4", "features.6", "features.7"), "features.3"),
}


class _AllRecorded(Exception):
    """Raised when every layer has run, to skip the rest of the forward pass."""


class Extractor(nn.Module):
    """A module from an image of 0..1 to the outputs of layers; the network runs no further than the last of them.

    If a layer runs several times, its first output is taken.

    Args:
        model: the network, in eval mode.
        pixels: the values of black and white pixels in the network's input.
        channels: the number of channels of its images.
        layers: the dotted names of the layers.

    Raises:
        UsageError: no layer is named.
        UnknownNameError: the network has no such layer; the nearest ones are listed.
    """

    low: Tensor
    width: Tensor

    def __init__(self, model: nn.Module, pixels: PixelRange, channels: int, layers: Sequence[str]) -> None:
        super().__init__()
        if not layers:
            raise UsageError("No layer is named. `cnnlab summary` lists the layers of a network.")
        for layer in layers:
            find_layer(model, layer)
        self.model, self.channels, self.layers = model, channels, tuple(dict.fromkeys(layers))
        like = next(model.parameters())
        self.register_buffer("low", pixels.low.to(like))
        self.register_buffer("width", pixels.width.to(like))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the output of each layer for images (N, C, H, W) of 0..1.

        Raises:
            ModelError: a layer did not run.
        """
        with recording(self.model, self.layers) as outputs:

            def stop(inputs: tuple[Any, ...], output: Any) -> Any:
                if all(outputs.calls.values()):
                    raise _AllRecorded
                return output

            with ExitStack() as stack:
                for layer in self.layers:
                    stack.enter_context(replacing_output(self.model, layer, stop))
                with suppress(_AllRecorded):
                    self.model(self.low + image * self.width)
            for layer in self.layers:
                outputs[layer]  # raises for a layer that did not run
        return {layer: calls[0] for layer, calls in outputs.calls.items()}


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A network that is opened for making images from its layer outputs.

    Attributes:
        name: the name of the network, or of its run.
        model: the network in eval mode, with frozen parameters, on its device.
        pixels: the values of black and white pixels in the network's input.
        channels: the number of channels of its input images.
        note: a remark about an assumption that was made in opening it; empty without one.
    """

    name: str
    model: nn.Module
    pixels: PixelRange
    channels: int
    note: str = ""

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.model.parameters()).device

    def extractor(self, layers: Sequence[str]) -> Extractor:
        """Return the :class:`Extractor` of layers, which are given by their dotted names."""
        return Extractor(self.model, self.pixels, self.channels, layers)

    @property
    def style_layers(self) -> tuple[str, ...]:
        """The style layers: for squeezenet1_1 those of CS231n, else the ends of all stages but the last."""
        return self._layers()[0]

    @property
    def content_layer(self) -> str:
        """The content layer: for squeezenet1_1 that of CS231n, else the end of a stage."""
        return self._layers()[1]

    @cached_property
    def stage_layers(self) -> tuple[str, ...]:
        """The last layers of the network's stages whose outputs are (N, C, H, W), without the head.

        Raises:
            ModelError: there are none.
        """
        ends = [layer for stage, layer in declared_stages(self.model).items() if stage != "head"]
        if arch := getattr(self.model, "arch", None):  # dense stages, as in LeNet-5, have no positions
            side = arch["image_size"]
            spatial = {layer.name for layer in list_layers(self.model, (self.channels, side, side)).spatial}
            ends = [layer for layer in ends if layer in spatial]
        if not ends:
            raise ModelError(f"{self.name} has no stages with positions on the image. Name the layers.")
        return tuple(ends)

    def _layers(self) -> tuple[tuple[str, ...], str]:
        arch = getattr(self.model, "arch", {}).get("name", "")
        if arch in _LAYERS:
            return _LAYERS[arch]
        ends = self.stage_layers[:-1] or self.stage_layers
        return ends, ends[(len(ends) - 1) * 3 // 4]

    def check_size(self, extractor: Extractor, image: Tensor, title: str) -> None:
        """Refuse an image that is too small for the layers.

        Args:
            extractor: the extractor of the layers.
            image: the image, (1, C, H, W) of 0..1.
            title: the beginning of the message, which says which image it is: ``The style starry.jpg``.

        Raises:
            DataError: the image is too small; the message has the size that is needed.
            ModelError: the network cannot take images of such a shape for another reason.
        """
        height, width = image.shape[2:]
        try:
            _check(extractor, (self.channels, height, width))
        except CnnlabError:
            longer, shorter = max(height, width), min(height, width)
            sides = range(8 * (shorter // 8 + 1), 4 * longer + 64, 8)
            fits = (side for side in sides if _fits(extractor, (self.channels, side, side)))
            if (least := next(fits, None)) is None:
                raise
            raise DataError(
                f"{title} has {width} x {height} pixels, and {self.name} needs about {least} x {least} for the layer "
                f'"{extractor.layers[-1]}". Take a larger image, or earlier layers.'
            ) from None


def _check(extractor: Extractor, shape: tuple[int, int, int]) -> None:
    record = trace(extractor, (1, *shape))
    for layer, value in zip(extractor.layers, record.outputs, strict=True):
        if len(value.shape) != 4 or value.shape[2] * value.shape[3] < 4:
            raise ModelError(
                f'The layer "{layer}" gives {value.shape} for images of {shape}: fewer than 4 positions on the image. '
                "Choose an earlier layer, or a larger size."
            )


def _fits(extractor: Extractor, shape: tuple[int, int, int]) -> bool:
    try:
        _check(extractor, shape)
    except CnnlabError:
        return False
    return True


def open_network(
    source: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    inputs: str | None = None,
    device: str = "auto",
) -> FeatureNetwork:
    """Open a network for making images: its parameters are frozen, and it is in eval mode.

    Args:
        source: the folder of a run, or the name of a network.
        weights: the path of a file with weights, or ``"random"`` for random weights; when ``None``, the weights of the
            run, or the public ImageNet weights of the network.
        inputs: the preparation of images for the weights, a key of :data:`INPUTS`; when ``None``, what the weights say,
            and for a file that says nothing, ImageNet's mean and standard deviation.
        device: the device to compute on: ``"auto"``, ``"cpu"``, ``"cuda:0"`` or ``"mps"``.

    Raises:
        UnknownNameError: there is no such network, run, or kind of input.
        ModelError: the weights do not fit, or none are known.
        DeviceError: the device is not on this machine.
    """
    if inputs is not None and inputs not in INPUTS:
        raise UnknownNameError("kind of input", inputs, INPUTS)
    if weights is None:
        network = open_classifier(source, device, as_trained=False)
        model, channels, note = network.model, network.preprocess.channels, ""
        pixels = network.pixel_range if inputs is None else _normalised(*INPUTS[inputs], channels)
    else:
        entry, file = models.get(str(source)), None if weights == "random" else weights
        model = create_model(entry.name, weights=file).eval().to(choose_device(device))
        channels = model.arch["in_channels"]
        values = None if inputs else weights_preprocess(entry.name, file, channels)
        mean, std = (values["mean"], values["std"]) if values else INPUTS[inputs or "imagenet"]
        note = f"{weights} does not say how images were prepared; ImageNet's mean and std are assumed (--inputs)."
        note = "" if values or inputs else note
        pixels = _normalised(mean, std, channels)
    if inputs == "caffe":
        _reverse_channels(model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return FeatureNetwork(getattr(model, "arch", {}).get("name", str(source)), model, pixels, channels, note)


def _normalised(mean: Sequence[float], std: Sequence[float], channels: int) -> PixelRange:
    """Return the range of images with some number of channels.

    A grey image gets the mean of the numbers for colours, as in :func:`~cnnlab.zoo.weights_preprocess`; for that the
    order of the colours does not matter.
    """
    if channels == 1:
        mean, std = ([sum(values) / len(values)] for values in (mean, std))
    return PixelRange.normalised(mean[:channels], std[:channels])


def _reverse_channels(model: nn.Module) -> None:
    """Turn the first convolution, which was trained on BGR, to RGB."""
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    first.weight.data = first.weight.data.flip(1)
