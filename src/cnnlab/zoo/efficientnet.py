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
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from cnnlab.zoo._layers import DropPath, SqueezeExcitation, conv_norm, depthwise_he_init, round_channels
from cnnlab.zoo._network import SMALL_IMAGE, Network, numbered_stages
from cnnlab.zoo._registry import Paper, Rate, Variant, torchvision


class MBConv(nn.Module):
    """Widen, filter each channel by itself, weigh the channels, narrow again, and add the input."""

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
        width: factor of the numbers of channels.
        depth: factor of the numbers of blocks, which are rounded up in every row.
        norm: function from a number of channels to the normalisation.

    Options:
        dropout: rate before the last layer.
        drop_path: rate of stochastic depth; block number i of n (from 0) has the share i / n of it.
    """

    stages = numbered_stages(
        "features.0", "features.1", "features.2", "features.3", "features.5", "features.8", head="classifier"
    )

    def __init__(
        self,
        width: float,
        depth: float,
        norm: Callable[[int], nn.Module],
        num_classes: int,
        in_channels: int,
        image_size: int,
        *,
        dropout: Rate = 0.2,
        drop_path: Rate = 0.2,
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

PAPER = Paper(
    "Tan, Le: EfficientNet: rethinking model scaling for convolutional neural networks",
    year=2019,
    url="https://arxiv.org/abs/1905.11946",
    introduced="Compound scaling: width, depth and image size grow together from a base network found by a search.",
    min_size=8,
    small="with fewer strides",
)

# Name, factors of channels and of blocks, dropout, side of the images, parameters, multiply-adds, top-1 and top-5
# error; then the public weights: file, top-1 accuracy, side of the images and of their short side before the cut.
# fmt: off
VARIANTS = (
    ("efficientnet_b0", 1.0, 1.0, 0.2, 224, 5_288_548, 385_814_752, (22.9, 6.7),
     "rwightman-7f5810bc", 77.692, 224, 256),
    ("efficientnet_b1", 1.0, 1.1, 0.2, 240, 7_794_184, 686_802_832, (20.9, 5.6),
     "rwightman-bac287d4", 78.642, 240, 256),
    ("efficientnet_b2", 1.1, 1.2, 0.3, 260, 9_109_994, 993_561_872, (19.9, 5.1),
     "rwightman-c35c1473", 80.608, 288, 288),
    ("efficientnet_b3", 1.2, 1.4, 0.3, 300, 12_233_232, 1_827_141_392, (18.4, 4.3),
     "rwightman-b3899882", 82.008, 300, 320),
    ("efficientnet_b4", 1.4, 1.8, 0.4, 380, 19_341_616, 4_393_771_024, (17.1, 3.6),
     "rwightman-23ab8bcd", 83.384, 380, 384),
    ("efficientnet_b5", 1.6, 2.2, 0.4, 456, 30_389_784, 10_266_384_752, (16.4, 3.3),
     "lukemelas-1a07897c", 83.444, 456, 456),
    ("efficientnet_b6", 1.8, 2.6, 0.5, 528, 43_040_704, 19_067_593_536, (16.0, 3.2),
     "lukemelas-24a108a5", 84.008, 528, 528),
    ("efficientnet_b7", 2.0, 3.1, 0.5, 600, 66_347_960, 37_745_884_192, (15.7, 3.0),
     "lukemelas-c5b4e57e", 84.122, 600, 600),
)
# fmt: on
for name, width, depth, dropout, side, parameters, macs, errors, file, top1, size, resize in VARIANTS:
    version = name.removeprefix("efficientnet_")
    globals()[name] = PAPER.register(
        partial(EfficientNet, width, depth, nn.BatchNorm2d if version < "b5" else authors_norm, dropout=dropout),
        Variant(
            name,
            f"EfficientNet-{version.upper()}, {width:g} times the channels and {depth:g} times the blocks of B0",
            parameters=parameters,
            macs=macs,
            errors=errors,
            image_size=side,
            aliases=("efficientnet",) if name == "efficientnet_b0" else (),
        ),
        torchvision(f"{name}_{file}", top1, size=size, resize=resize, interpolation="bicubic"),
    )
