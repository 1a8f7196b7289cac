"""MobileNet (version 1).

Andrew G. Howard, Menglong Zhu, Bo Chen, Dmitry Kalenichenko, Weijun Wang, Tobias Weyand, Marco Andreetto, Hartwig Adam:
MobileNets: efficient convolutional neural networks for mobile vision applications. arXiv 2017.
https://arxiv.org/abs/1704.04861

Introduced: a network of depthwise separable convolutions, in which a 3x3 filter per channel looks around and a 1x1
convolution mixes the channels, for an eighth of the arithmetic; and the width multiplier, one number that shrinks it.
Reported (ImageNet validation): top-1 error 29.4 % at width 1 (table 8: 70.6 % right, 569 million multiply-adds).

Deviations from the paper: ReLU6 in place of ReLU, as in the authors' code and in timm; the last depthwise convolution
has stride 1, as its table of shapes implies (table 1 prints "s2" beside an output that stays 7x7). For images up to
64x64 the stem and the first block that halves have stride 1, so that 32x32 pixels end as 4x4 and not as one. Dropout is
off unless asked for. Parameter names are timm's (``mobilenetv1_100``). Initialisation, of which the paper says nothing:
He et al. 2015.
"""

from __future__ import annotations

from torch import Tensor, nn

from cnnlab.zoo._layers import Multiplier, depthwise_he_init, round_channels
from cnnlab.zoo._network import SMALL_IMAGE, Network, numbered_stages
from cnnlab.zoo._registry import Rate, register_model


class SeparableBlock(nn.Module):
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution across the channels."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv_pw = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv_dw(x)))  # (N, in_channels, S / stride, S / stride)
        return self.relu(self.bn2(self.conv_pw(x)))  # (N, channels, S / stride, S / stride)


class MobileNetV1(Network):
    """A stem, five stages of separable blocks, and a dense head; shapes are for 224x224 images at width 1."""

    stages = numbered_stages("relu", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4", head="classifier")

    def __init__(self, num_classes: int, in_channels: int, image_size: int, width: float, dropout: float) -> None:
        super().__init__()
        early = 1 if image_size <= SMALL_IMAGE else 2
        stem, *widths = (round_channels(width * c) for c in (32, 64, 128, 256, 512, 1024))
        self.conv_stem = nn.Conv2d(in_channels, stem, 3, stride=early, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU6(inplace=True)
        self.blocks = nn.Sequential(
            stage(stem, widths[0], 1, stride=1),
            stage(widths[0], widths[1], 2, stride=early),
            stage(widths[1], widths[2], 2, stride=2),
            stage(widths[2], widths[3], 6, stride=2),
            stage(widths[3], widths[4], 2, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(widths[4], num_classes)
        depthwise_he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv_stem(x)))  # (N, 32, 112, 112)
        x = self.blocks(x)  # (N, 1024, 7, 7)
        x = self.avgpool(x).flatten(1)  # (N, 1024)
        return self.classifier(self.dropout(x))  # (N, num_classes)


def stage(in_channels: int, channels: int, depth: int, stride: int) -> nn.Sequential:
    """Return ``depth`` blocks, of which the first changes the shape."""
    first = SeparableBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(SeparableBlock(channels, channels) for _ in range(depth - 1)))


@register_model(
    paper="Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam: MobileNets: efficient convolutional neural "
    "networks for mobile vision applications",
    year=2017,
    url="https://arxiv.org/abs/1704.04861",
    introduced="A network of depthwise separable convolutions, and a width multiplier to make it smaller.",
    parameters=4_231_976,
    macs=568_740_352,
    min_size=8,
    errors=(29.4, None),
    aliases=("mobilenet",),
)
def mobilenet_v1(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    width: Multiplier = 1.0,
    dropout: Rate = 0.0,
) -> MobileNetV1:
    """MobileNet (Howard et al. 2017), with fewer strides for images up to 64x64.

    ``width``: factor of the channels of every layer; the paper has 0.25, 0.5, 0.75 and 1. ``dropout``: rate before the
    last layer. Images of 8x8 pixels and more.
    """
    return MobileNetV1(num_classes, in_channels, image_size, width, dropout)
