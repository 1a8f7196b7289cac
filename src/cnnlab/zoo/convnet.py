"""A small convolutional network in the style of VGG, with BatchNorm on or off.

Karen Simonyan, Andrew Zisserman: Very deep convolutional networks for large-scale image recognition. ICLR 2015.
https://arxiv.org/abs/1409.1556
Sergey Ioffe, Christian Szegedy: Batch normalization: accelerating deep network training by reducing internal covariate
shift. ICML 2015. https://arxiv.org/abs/1502.03167
Min Lin, Qiang Chen, Shuicheng Yan: Network in network. ICLR 2014. https://arxiv.org/abs/1312.4400
As an option: Jie Hu, Li Shen, Gang Sun: Squeeze-and-excitation networks. CVPR 2018. https://arxiv.org/abs/1709.01507

Introduced by them: blocks of 3x3 convolutions whose width doubles when the size halves; normalisation inside the
network; global average pooling instead of large dense layers.
Reported: nothing at this size; it is a teaching network for 32x32 photos.

Deviations from VGG: three blocks of two convolutions, 32, 64 and 128 channels, no hidden dense layers, so that ten
epochs of CIFAR-10 take minutes without a GPU. As options, other kernels than 3x3, one to four convolutions in a block,
average pooling or a 2x2 convolution of stride 2 (without an activation) in place of max pooling, and
squeeze-and-excitation at the end of each block, with a sixteenth of the channels between its two layers, but at least
8. Initialisation: He et al. 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from cnnlab.zoo._layers import Pooling, SqueezeExcitation, halving, he_init
from cnnlab.zoo._network import Network
from cnnlab.zoo._registry import Rate, Width, register_model


class ConvBlock(nn.Sequential):
    """Convolutions with BatchNorm, if wanted, and ReLU; pooling to half the size; and a gate per channel, if wanted."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        convolutions: int,
        kernel: int,
        batch_norm: bool,
        pooling: Pooling,
        se: bool,
    ) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, *[out_channels] * (convolutions - 1)):
            # BatchNorm subtracts the mean, so a bias before it would have no effect.
            layers.append(nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(out_channels))
            layers.append(nn.ReLU(inplace=True))
        layers.append(halving(pooling, out_channels))
        if se:
            layers.append(SqueezeExcitation(out_channels))
        super().__init__(*layers)


class ConvNet(Network):
    """Three blocks, global average pooling, one dense layer; shapes are for 32x32 images and the default widths.

    ``block`` holds the settings of :class:`ConvBlock`.
    """

    stages: Mapping[str, str] = {"stage1": "block1", "stage2": "block2", "stage3": "block3", "head": "fc"}

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        widths: tuple[int, int, int],
        dropout: float,
        **block: Any,
    ) -> None:
        super().__init__()
        self.block1 = ConvBlock(in_channels, widths[0], **block)
        self.block2 = ConvBlock(widths[0], widths[1], **block)
        self.block3 = ConvBlock(widths[1], widths[2], **block)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths[2], num_classes)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(x)  # (N, 32, 16, 16)
        x = self.block2(x)  # (N, 64, 8, 8)
        x = self.block3(x)  # (N, 128, 4, 4)
        x = self.avgpool(x).flatten(1)  # (N, 128)
        x = self.dropout(x)  # (N, 128)
        return self.fc(x)  # (N, num_classes)


@register_model(
    paper="after Simonyan, Zisserman: Very deep convolutional networks for large-scale image recognition",
    year=2014,
    url="https://arxiv.org/abs/1409.1556",
    introduced="Blocks of 3x3 convolutions, with normalisation inside the network.",
    parameters=288_746,
    macs=38_634_752,
    min_size=8,
    aliases=("batchnorm_convnet",),
)
def convnet(
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    *,
    widths: tuple[Width, Width, Width] = (32, 64, 128),
    batch_norm: bool = True,
    dropout: Rate = 0.0,
    pooling: Pooling = "max",
    kernel: Literal[1, 3, 5, 7, 9, 11] = 3,
    convolutions: Literal[1, 2, 3, 4] = 2,
    se: bool = False,
) -> ConvNet:
    """A small VGG-like network for 32x32 photos (after Simonyan & Zisserman 2014, Ioffe & Szegedy 2015).

    ``widths``: channels of the three blocks. ``batch_norm``: normalise after each convolution. ``dropout``: rate before
    the last layer, 0 for none. ``pooling``: what ends a block, "max", "average", or "strided", a 2x2 convolution of
    stride 2 without an activation. ``kernel``: side of the windows of the other convolutions in pixels, odd.
    ``convolutions``: number of those in each block. ``se``: weigh the channels at the end of each block by
    squeeze-and-excitation. Images of 8x8 pixels and more; the
    weights do not depend on their size.
    """
    return ConvNet(
        num_classes, in_channels, widths, dropout,
        convolutions=convolutions, kernel=kernel, batch_norm=batch_norm, pooling=pooling, se=se,
    )  # fmt: skip
