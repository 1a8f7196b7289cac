"""EfficientNet-B0 to EfficientNet-B7.

Mingxing Tan, Quoc V. Le: EfficientNet: rethinking model scaling for convolutional neural networks. ICML 2019.
https://arxiv.org/abs/1905.11946

Introduced: compound scaling, which makes a network wider, deeper and its images larger together and in fixed
proportion, and a base network found by a search, B0, of inverted residuals with squeeze-and-excitation.
Reported (ImageNet validation, table 2): from 22.9 % top-1 and 6.7 % top-5 error for B0 to 15.7 % and 3.0 % for B7.

Deviations from the paper: for images up to 64x64 the stem and the first stage that halves have stride 1, so that 32x32
pixels end as 4x4 and not as one. Convolutions of stride 2 pad both sides alike, where TensorFlow pads the right and
the bottom. B0 to B4 have torch's usual BatchNorm (epsilon 1e-5, momentum 0.1), as the public weights in torchvision
need; B5 to B7 have the authors' (1e-3, 0.01). Parameter names are torchvision's. Initialisation: the authors' for
convolutions, normal by the fan-out, which is that of He et al. 2015; the dense layer by its fan-in, since the authors'
range of 1 / sqrt(classes) grows as the classes get fewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from cnnlab.zoo._layers import DropPath, SqueezeExcitation, conv_norm, depthwise_he_init, round_channels
from cnnlab.zoo._network import SMALL_IMAGE, Network
from cnnlab.zoo._registry import Pretrained, Rate, register_model


class MBConv(nn.Module):
    """Widen, filter each channel by itself, weigh the channels, narrow again, and add what came in."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        expansion: int,
        kernel: int,
        stride: int,
        drop_path: float,
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.has_shortcut = stride == 1 and in_channels == channels
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(conv_norm(in_channels, wide, kernel=1, activation=nn.SiLU, norm=norm))
        layers += [
            conv_norm(wide, wide, kernel, stride, groups=wide, activation=nn.SiLU, norm=norm),
            SqueezeExcitation(wide, in_channels // 4, activation=nn.SiLU),
            conv_norm(wide, channels, kernel=1, norm=norm),
        ]
        self.block = nn.Sequential(*layers)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x  # (N, in_channels, S, S)
        x = self.block(x)  # (N, channels, S / stride, S / stride)
        return shortcut + self.drop_path(x) if self.has_shortcut else x  # (N, channels, S / stride, S / stride)


class EfficientNet(Network):
    """A stem, seven rows of blocks (table 1), a 1x1 convolution, and a dense head; shapes are for B0 at 224x224.

    A stage ends where the next block halves the image.

    Args:
        width: what the channels are multiplied by. ``depth``: what the blocks are, rounded up in every row.
        dropout: rate before the last layer.
        drop_path: rate that the last block would have if there were one more; it rises linearly from 0 at the first.
    """

    stages: Mapping[str, str] = {
        "stem": "features.0",
        "stage1": "features.1",
        "stage2": "features.2",
        "stage3": "features.3",
        "stage4": "features.5",
        "stage5": "features.8",
        "head": "classifier",
    }

    def __init__(
        self,
        width: float,
        depth: float,
        num_classes: int,
        in_channels: int,
        image_size: int,
        dropout: float,
        drop_path: float,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        early = 1 if image_size <= SMALL_IMAGE else 2
        rows = (  # expansion, kernel, channels, blocks, stride of the first block
            (1, 3, 16, 1, 1),
            (6, 3, 24, 2, early),
            (6, 5, 40, 2, 2),
            (6, 3, 80, 3, 2),
            (6, 5, 112, 3, 1),
            (6, 5, 192, 4, 2),
            (6, 3, 320, 1, 1),
        )
        depths = [math.ceil(row[3] * depth) for row in rows]
        now = round_channels(32 * width)
        features = [conv_norm(in_channels, now, stride=early, activation=nn.SiLU, norm=norm)]
        for (expansion, kernel, base_channels, _, stride), blocks in zip(rows, depths, strict=True):
            channels = round_channels(base_channels * width)
            done = sum(len(row) for row in features[1:])
            rates = [drop_path * (done + i) / sum(depths) for i in range(blocks)]
            features.append(
                nn.Sequential(
                    MBConv(now, channels, expansion, kernel, stride, rates[0], norm),
                    *(MBConv(channels, channels, expansion, kernel, 1, rate, norm) for rate in rates[1:]),
                )
            )
            now = channels
        features.append(conv_norm(now, 4 * now, kernel=1, activation=nn.SiLU, norm=norm))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * now, num_classes))
        depthwise_he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, 1280, 7, 7)
        x = self.avgpool(x).flatten(1)  # (N, 1280)
        return self.classifier(x)  # (N, num_classes)


authors_norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)

efficientnet = partial(
    register_model,
    paper="Tan, Le: EfficientNet: rethinking model scaling for convolutional neural networks",
    year=2019,
    url="https://arxiv.org/abs/1905.11946",
    introduced="Compound scaling: width, depth and image size grow together from a base network found by a search.",
    min_size=8,
)


def weights(file: str, top1: float, size: int, resize: int) -> Pretrained:
    """What torchvision publishes; images are resized with bicubic interpolation."""
    url = f"https://download.pytorch.org/models/{file}.pth"
    return Pretrained(url, top1, size, resize, interpolation="bicubic")


@efficientnet(
    parameters=5_288_548,
    macs=385_814_752,
    reported="22.9 % top-1 error on ImageNet",
    imagenet_top1_error=22.9,
    imagenet_top5_error=6.7,
    aliases=("efficientnet",),
    pretrained=weights("efficientnet_b0_rwightman-7f5810bc", 77.692, size=224, resize=256),
)
def efficientnet_b0(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: Rate = 0.2, drop_path: Rate = 0.2
) -> EfficientNet:
    """EfficientNet-B0 (Tan and Le 2019), with fewer strides for images up to 64x64.

    ``dropout`` acts before the last layer, ``drop_path`` on whole blocks. Images of 8x8 pixels and more.
    """
    return EfficientNet(1.0, 1.0, num_classes, in_channels, image_size, dropout, drop_path)


@efficientnet(
    parameters=7_794_184,
    macs=686_802_832,
    reported="20.9 % top-1 error on ImageNet",
    imagenet_top1_error=20.9,
    imagenet_top5_error=5.6,
    pretrained=weights("efficientnet_b1_rwightman-bac287d4", 78.642, size=240, resize=256),
)
def efficientnet_b1(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 240, *, dropout: Rate = 0.2, drop_path: Rate = 0.2
) -> EfficientNet:
    """EfficientNet-B1 (Tan and Le 2019): B0 with 1.1 times the blocks."""
    return EfficientNet(1.0, 1.1, num_classes, in_channels, image_size, dropout, drop_path)


@efficientnet(
    parameters=9_109_994,
    macs=993_561_872,
    reported="19.9 % top-1 error on ImageNet",
    imagenet_top1_error=19.9,
    imagenet_top5_error=5.1,
    pretrained=weights("efficientnet_b2_rwightman-c35c1473", 80.608, size=288, resize=288),
)
def efficientnet_b2(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 260, *, dropout: Rate = 0.3, drop_path: Rate = 0.2
) -> EfficientNet:
    """EfficientNet-B2 (Tan and Le 2019): B0 with 1.1 times the channels and 1.2 times the blocks."""
    return EfficientNet(1.1, 1.2, num_classes, in_channels, image_size, dropout, drop_path)


@efficientnet(
    parameters=12_233_232,
    macs=1_827_141_392,
    reported="18.4 % top-1 error on ImageNet",
    imagenet_top1_error=18.4,
    imagenet_top5_error=4.3,
    pretrained=weights("efficientnet_b3_rwightman-b3899882", 82.008, size=300, resize=320),
)
def efficientnet_b3(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 300, *, dropout: Rate = 0.3, drop_path: Rate = 0.2
) -> EfficientNet:
    """EfficientNet-B3 (Tan and Le 2019): B0 with 1.2 times the channels and 1.4 times the blocks."""
    return EfficientNet(1.2, 1.4, num_classes, in_channels, image_size, dropout, drop_path)


@efficientnet(
    parameters=19_341_616,
    macs=4_393_771_024,
    reported="17.1 % top-1 error on ImageNet",
    imagenet_top1_error=17.1,
    imagenet_top5_error=3.6,
    pretrained=weights("efficientnet_b4_rwightman-23ab8bcd", 83.384, size=380, resize=384),
)
def efficientnet_b4(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 380, *, dropout: Rate = 0.4, drop_path: Rate = 0.2
) -> EfficientNet:
    """EfficientNet-B4 (Tan and Le 2019): B0 with 1.4 times the channels and 1.8 times the blocks."""
    return EfficientNet(1.4, 1.8, num_classes, in_channels, image_size, dropout, drop_path)


@efficientnet(
    parameters=30_389_784,
    macs=10_266_384_752,
    reported="16.4 % top-1 error on ImageNet",
    imagenet_top1_error=16.4,
    imagenet_top5_error=3.3,
    pretrained=weights("efficientnet_b5_lukemelas-1a07897c", 83.444, size=456, resize=456),
)
def efficientnet_b5(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 456, *, dropout: Rate = 0.4, drop_path: Rate = 0.2
) -> EfficientNet:
    """EfficientNet-B5 (Tan and Le 2019): B0 with 1.6 times the channels and 2.2 times the blocks."""
    return EfficientNet(1.6, 2.2, num_classes, in_channels, image_size, dropout, drop_path, authors_norm)


@efficientnet(
    parameters=43_040_704,
    macs=19_067_593_536,
    reported="16.0 % top-1 error on ImageNet",
    imagenet_top1_error=16.0,
    imagenet_top5_error=3.2,
    pretrained=weights("efficientnet_b6_lukemelas-24a108a5", 84.008, size=528, resize=528),
)
def efficientnet_b6(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 528, *, dropout: Rate = 0.5, drop_path: Rate = 0.2
) -> EfficientNet:
    """EfficientNet-B6 (Tan and Le 2019): B0 with 1.8 times the channels and 2.6 times the blocks."""
    return EfficientNet(1.8, 2.6, num_classes, in_channels, image_size, dropout, drop_path, authors_norm)


@efficientnet(
    parameters=66_347_960,
    macs=37_745_884_192,
    reported="15.7 % top-1 error on ImageNet",
    imagenet_top1_error=15.7,
    imagenet_top5_error=3.0,
    pretrained=weights("efficientnet_b7_lukemelas-c5b4e57e", 84.122, size=600, resize=600),
)
def efficientnet_b7(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 600, *, dropout: Rate = 0.5, drop_path: Rate = 0.2
) -> EfficientNet:
    """EfficientNet-B7 (Tan and Le 2019): B0 with twice the channels and 3.1 times the blocks."""
    return EfficientNet(2.0, 3.1, num_classes, in_channels, image_size, dropout, drop_path, authors_norm)
