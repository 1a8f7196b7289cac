"""VGG with 11, 13, 16 and 19 layers, with and without BatchNorm.

Karen Simonyan, Andrew Zisserman: Very deep convolutional networks for large-scale image recognition. ICLR 2015.
https://arxiv.org/abs/1409.1556

Introduced: depth from 3x3 convolutions alone. Two of them see as far as one of 5x5, with fewer weights and one more
ReLU; the width doubles when the size halves.
Reported (ImageNet validation, one network at one scale, trained and tested with the short side at 256 pixels; table 3,
configurations A, B, D and E): 29.6, 28.7, 27.0 and 27.3 % top-1 error, 10.4, 9.9, 8.8 and 9.0 % top-5 error.

Deviations from the paper:

- The variants ``_bn`` normalise before each ReLU (Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167). Parameter
  names are torchvision's.
- The last maps are averaged to 7x7, which changes nothing at 224x224. For images up to 64x64 they are averaged to 1x1,
  and the hidden dense layers have 512 units instead of 4096, as is customary on CIFAR.
- ``vgg11_quarter``, for lessons, has a quarter of the channels and of the dense units.
- Initialisation: Glorot & Bengio 2010 (uniform), with which the authors found that deep variants train without
  pre-training (section 3.1); times sqrt(2), because ReLU halves the variance (He et al. 2015). Without that factor the
  signal is divided by about sqrt(2) at each layer; with a standard deviation of 0.01 everywhere it vanishes, and the
  network does not train at all. The last layer has 0.01, so that no class is preferred at the start.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.zoo._network import SMALL_IMAGE, Network
from cnnlab.zoo._registry import Pretrained, Rate, register_model

# Convolutions per stage, by the number of layers with weights; the paper's configurations A, B, D and E.
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(Network):
    """Five stages of 3x3 convolutions that end in pooling, and three dense layers; shapes are for 224x224 images."""

    def __init__(
        self,
        layers: int,
        num_classes: int,
        in_channels: int,
        image_size: int,
        dropout: float = 0.5,
        batch_norm: bool = False,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        stages: dict[str, str] = {}
        channels = in_channels
        for number, depth in enumerate(DEPTHS[layers], start=1):
            wider = min(width * 2 ** (number - 1), width * 8)
            for _ in range(depth):
                self.features.append(nn.Conv2d(channels, wider, 3, padding=1))
                if batch_norm:
                    self.features.append(nn.BatchNorm2d(wider))
                self.features.append(nn.ReLU(inplace=True))
                channels = wider
            self.features.append(nn.MaxPool2d(2))
            stages[f"stage{number}"] = f"features.{len(self.features) - 1}"
        self.stages = {**stages, "head": "classifier"}
        side, units = (1, channels) if image_size <= SMALL_IMAGE else (7, 8 * channels)
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        last = dense(units, num_classes)
        self.classifier = nn.Sequential(
            dense(channels * side * side, units),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            dense(units, units),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            last,
        )
        xavier_init(self)
        nn.init.normal_(last.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, 512, 7, 7)
        x = self.avgpool(x).flatten(1)  # (N, 25088)
        return self.classifier(x)  # (N, num_classes)


def dense(inputs: int, outputs: int) -> nn.Linear:
    """A dense layer not yet initialised: to draw 100 million numbers only to draw them again would take a second."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs, device=torch.get_default_device())
    return layer


def xavier_init(model: nn.Module) -> None:
    """Initialise with variance 2 / (fan-in + fan-out), doubled for ReLU; biases start at 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, nn.init.calculate_gain("relu"))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


PAPER: dict[str, Any] = {
    "paper": "Simonyan, Zisserman: Very deep convolutional networks for large-scale image recognition",
    "year": 2014,
    "url": "https://arxiv.org/abs/1409.1556",
    "introduced": "Depth from 3x3 convolutions alone; the width doubles when the size halves.",
    "min_size": 32,
}


def errors(top1: float, top5: float) -> dict[str, Any]:
    """Errors of table 3 in percent, as facts."""
    text = f"{top1} % top-1 and {top5} % top-5 error on ImageNet, one scale"
    return {"reported": text, "imagenet_top1_error": top1, "imagenet_top5_error": top5}


def weights(file: str, top1: float) -> Pretrained:
    return Pretrained(f"https://download.pytorch.org/models/{file}.pth", top1)


@register_model(
    **PAPER,
    **errors(29.6, 10.4),
    parameters=132_863_336,
    macs=7_609_090_048,
    pretrained=weights("vgg11-8a719046", 69.02),
    aliases=("vgg",),
)
def vgg11(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: Rate = 0.5) -> VGG:
    """VGG-11, configuration A, with a small head for images up to 64x64 (Simonyan & Zisserman 2014).

    ``dropout``: rate after each of the two hidden dense layers. Images of 32x32 pixels and more.
    """
    return VGG(11, num_classes, in_channels, image_size, dropout)


@register_model(
    **PAPER,
    **errors(28.7, 9.9),
    parameters=133_047_848,
    macs=11_308_466_176,
    pretrained=weights("vgg13-19584684", 69.928),
)
def vgg13(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: Rate = 0.5) -> VGG:
    """VGG-13, configuration B; sizes and options as for VGG-11 (Simonyan & Zisserman 2014)."""
    return VGG(13, num_classes, in_channels, image_size, dropout)


@register_model(
    **PAPER,
    **errors(27.0, 8.8),
    parameters=138_357_544,
    macs=15_470_264_320,
    pretrained=weights("vgg16-397923af", 71.592),
)
def vgg16(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: Rate = 0.5) -> VGG:
    """VGG-16, configuration D; sizes and options as for VGG-11 (Simonyan & Zisserman 2014)."""
    return VGG(16, num_classes, in_channels, image_size, dropout)


@register_model(
    **PAPER,
    **errors(27.3, 9.0),
    parameters=143_667_240,
    macs=19_632_062_464,
    pretrained=weights("vgg19-dcbb9e9d", 72.376),
)
def vgg19(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: Rate = 0.5) -> VGG:
    """VGG-19, configuration E; sizes and options as for VGG-11 (Simonyan & Zisserman 2014)."""
    return VGG(19, num_classes, in_channels, image_size, dropout)


@register_model(**PAPER, parameters=132_868_840, macs=7_609_090_048, pretrained=weights("vgg11_bn-6002323d", 70.37))
def vgg11_bn(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: Rate = 0.5) -> VGG:
    """VGG-11 with BatchNorm (after Simonyan & Zisserman 2014, Ioffe & Szegedy 2015)."""
    return VGG(11, num_classes, in_channels, image_size, dropout, batch_norm=True)


@register_model(**PAPER, parameters=133_053_736, macs=11_308_466_176, pretrained=weights("vgg13_bn-abd245e5", 71.586))
def vgg13_bn(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: Rate = 0.5) -> VGG:
    """VGG-13 with BatchNorm (after Simonyan & Zisserman 2014, Ioffe & Szegedy 2015)."""
    return VGG(13, num_classes, in_channels, image_size, dropout, batch_norm=True)


@register_model(**PAPER, parameters=138_365_992, macs=15_470_264_320, pretrained=weights("vgg16_bn-6c64b313", 73.36))
def vgg16_bn(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: Rate = 0.5) -> VGG:
    """VGG-16 with BatchNorm (after Simonyan & Zisserman 2014, Ioffe & Szegedy 2015)."""
    return VGG(16, num_classes, in_channels, image_size, dropout, batch_norm=True)


@register_model(**PAPER, parameters=143_678_248, macs=19_632_062_464, pretrained=weights("vgg19_bn-c79401a0", 74.218))
def vgg19_bn(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: Rate = 0.5) -> VGG:
    """VGG-19 with BatchNorm (after Simonyan & Zisserman 2014, Ioffe & Szegedy 2015)."""
    return VGG(19, num_classes, in_channels, image_size, dropout, batch_norm=True)


@register_model(**PAPER, parameters=9_075_272, macs=492_593_152)
def vgg11_quarter(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: Rate = 0.5) -> VGG:
    """VGG-11 with a quarter of the channels and dense units, for lessons (after Simonyan & Zisserman 2014)."""
    return VGG(11, num_classes, in_channels, image_size, dropout, width=16)
