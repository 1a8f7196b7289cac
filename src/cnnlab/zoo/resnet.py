"""ResNet-18, 34, 50, 101 and 152.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun: Deep residual learning for image recognition. CVPR 2016.
https://arxiv.org/abs/1512.03385

Introduced: shortcuts around every two or three convolutions, so that a block learns what to add to its input, and
networks of more than a hundred layers train.
Reported: tables 2 (18 layers, option A shortcuts) and 3 (option B), with the variants below; at several scales (table
4) 20.74 % top-1 and 5.25 % top-5 error for 50 layers, 19.87 % and 4.60 % for 101, 19.38 % and 4.49 % for 152.

Deviations from the paper: in bottleneck blocks the 3x3 convolution has the stride, where the paper's first 1x1
convolution has it and so skips three of four pixels ("ResNet v1.5", as torchvision and its checkpoints have it). The
shortcuts are option B, a 1x1 convolution where the shape changes and the identity elsewhere. For images up to 64x64 the
stem is a 3x3 convolution of stride 1 without pooling, as is customary on CIFAR, since the paper's stem would leave 8x8
of 32x32 pixels. Parameter names are torchvision's. Initialisation: He et al. 2015 for convolutions; with
``zero_init_residual`` every block starts as the identity (Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section
5.1). ``drop_path`` is stochastic depth (Huang et al. 2016, https://arxiv.org/abs/1603.09382), later than the paper: the
rate grows linearly from the first block to ``drop_path`` at the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor, nn

from cnnlab.zoo._layers import DropPath, SqueezeExcitation, he_init
from cnnlab.zoo._network import SMALL_IMAGE, Network, numbered_stages
from cnnlab.zoo._registry import Paper, Rate, Variant, torchvision

Block = Callable[[int, int, int, float], nn.Module]  # from input channels, output channels, stride, drop-path rate
NARROW = (64, 128, 256, 512)  # output channels of the four stages of basic blocks
WIDE = (256, 512, 1024, 2048)  # output channels of the four stages of bottleneck blocks


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them.

    Args:
        se: whether a gate per channel weighs what is added to the shortcut; see :mod:`cnnlab.zoo.se_resnet`.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, drop_path: float = 0.0, *, se: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.se = SqueezeExcitation(channels) if se else None
        self.drop_path = DropPath(drop_path)
        self.downsample = projection(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)  # (N, channels, S / stride, S / stride)
        x = self.relu(self.bn1(self.conv1(x)))  # (N, channels, S / stride, S / stride)
        x = self.bn2(self.conv2(x))  # (N, channels, S / stride, S / stride)
        x = x if self.se is None else self.se(x)  # (N, channels, S / stride, S / stride)
        x = self.drop_path(x)  # (N, channels, S / stride, S / stride)
        x += shortcut
        return self.relu(x)  # (N, channels, S / stride, S / stride)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, which narrow the channels and widen them again, and a shortcut around them.

    Args:
        cardinality: number of groups of the 3x3 convolution; see :mod:`cnnlab.zoo.resnext`.
        width: number of channels of a group in the first stage; it doubles from stage to stage. One group of 64 has a
            quarter of the block's channels.
        se: whether a gate per channel weighs what is added to the shortcut; see :mod:`cnnlab.zoo.se_resnet`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        drop_path: float = 0.0,
        *,
        cardinality: int = 1,
        width: int = 64,
        se: bool = False,
    ) -> None:
        super().__init__()
        narrow = cardinality * width * channels // WIDE[0]
        self.conv1 = nn.Conv2d(in_channels, narrow, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, stride, padding=1, groups=cardinality, bias=False)
        self.bn2 = nn.BatchNorm2d(narrow)
        self.conv3 = nn.Conv2d(narrow, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.se = SqueezeExcitation(channels) if se else None
        self.drop_path = DropPath(drop_path)
        self.downsample = projection(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)  # (N, channels, S / stride, S / stride)
        x = self.relu(self.bn1(self.conv1(x)))  # (N, narrow, S, S)
        x = self.relu(self.bn2(self.conv2(x)))  # (N, narrow, S / stride, S / stride)
        x = self.bn3(self.conv3(x))  # (N, channels, S / stride, S / stride)
        x = x if self.se is None else self.se(x)  # (N, channels, S / stride, S / stride)
        x = self.drop_path(x)  # (N, channels, S / stride, S / stride)
        x += shortcut
        return self.relu(x)  # (N, channels, S / stride, S / stride)


def projection(in_channels: int, channels: int, stride: int) -> nn.Sequential | None:
    """Return option B of the shortcut, a 1x1 convolution where the shape changes; None stands for the identity."""
    if stride == 1 and in_channels == channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))


class ResNet(Network):
    """A stem, four stages of residual blocks, and a dense head; shapes are for 224x224 images.

    Options:
        zero_init_residual: whether every block starts as the identity.
        drop_path: rate of stochastic depth at the last block; it rises linearly from the first.
    """

    stages = numbered_stages("maxpool", "layer1", "layer2", "layer3", "layer4", head="fc")

    def __init__(
        self,
        block: Block,
        widths: tuple[int, int, int, int],
        depths: tuple[int, int, int, int],
        num_classes: int,
        in_channels: int,
        image_size: int,
        *,
        zero_init_residual: bool = False,
        drop_path: Rate = 0.0,
    ) -> None:
        super().__init__()
        small = image_size <= SMALL_IMAGE
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(in_channels, 64, kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        rates = (drop_path * (i + 1) / sum(depths) for i in range(sum(depths)))
        self.layer1 = stage(block, 64, widths[0], depths[0], 1, rates)
        self.layer2 = stage(block, widths[0], widths[1], depths[1], 2, rates)
        self.layer3 = stage(block, widths[1], widths[2], depths[2], 2, rates)
        self.layer4 = stage(block, widths[2], widths[3], depths[3], 2, rates)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], num_classes)
        he_init(self)
        if zero_init_residual:
            for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
                for residual in layer:
                    norms = [module for module in residual.children() if isinstance(module, nn.BatchNorm2d)]
                    nn.init.zeros_(norms[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # (N, 64, 112, 112)
        x = self.maxpool(x)  # (N, 64, 56, 56)
        x = self.layer1(x)  # (N, 64 or 256, 56, 56)
        x = self.layer2(x)  # (N, 128 or 512, 28, 28)
        x = self.layer3(x)  # (N, 256 or 1024, 14, 14)
        x = self.layer4(x)  # (N, 512 or 2048, 7, 7)
        x = self.avgpool(x).flatten(1)  # (N, 512 or 2048)
        return self.fc(x)  # (N, num_classes)


def stage(
    block: Block, in_channels: int, channels: int, depth: int, stride: int, rates: Iterator[float]
) -> nn.Sequential:
    """Return ``depth`` blocks; the first changes the shape, and each takes the next of the drop-path ``rates``."""
    first = block(in_channels, channels, stride, next(rates))
    return nn.Sequential(first, *(block(channels, channels, 1, next(rates)) for _ in range(depth - 1)))


PAPER = Paper(
    "He, Zhang, Ren, Sun: Deep residual learning for image recognition",
    year=2015,
    url="https://arxiv.org/abs/1512.03385",
    introduced="Shortcuts around every two or three convolutions, so that very deep networks train.",
    min_size=8,
    small="with a small stem",
    protocol="ten crops",
)

resnet18 = PAPER.register(
    partial(ResNet, BasicBlock, NARROW, (2, 2, 2, 2)),
    Variant(
        "resnet18", "ResNet-18", parameters=11_689_512, macs=1_814_073_344, errors=(27.88, None), aliases=("resnet",)
    ),
    torchvision("resnet18-f37072fd", top1=69.758),
)
resnet34 = PAPER.register(
    partial(ResNet, BasicBlock, NARROW, (3, 4, 6, 3)),
    Variant("resnet34", "ResNet-34", parameters=21_797_672, macs=3_663_761_408, errors=(24.52, 7.46)),
    torchvision("resnet34-b627a593", top1=73.314),
)
resnet50 = PAPER.register(
    partial(ResNet, Bottleneck, WIDE, (3, 4, 6, 3)),
    Variant("resnet50", "ResNet-50", parameters=25_557_032, macs=4_089_184_256, errors=(22.85, 6.71)),
    torchvision("resnet50-0676ba61", top1=76.13),
)
resnet101 = PAPER.register(
    partial(ResNet, Bottleneck, WIDE, (3, 4, 23, 3)),
    Variant("resnet101", "ResNet-101", parameters=44_549_160, macs=7_801_405_440, errors=(21.75, 6.05)),
    torchvision("resnet101-63fe2227", top1=77.374),
)
resnet152 = PAPER.register(
    partial(ResNet, Bottleneck, WIDE, (3, 8, 36, 3)),
    Variant(
        "resnet152",
        "ResNet-152",
        parameters=60_192_808,
        macs=11_513_626_624,
        errors=(21.43, 5.71),
        better_top5_errors=((4.49, "several scales"), (3.57, "six networks")),
    ),
    torchvision("resnet152-394f9c45", top1=78.312),
)
