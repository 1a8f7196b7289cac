"""DenseNet-121, 161, 169 and 201.

Gao Huang, Zhuang Liu, Laurens van der Maaten, Kilian Weinberger: Densely connected convolutional networks. CVPR 2017.
https://arxiv.org/abs/1608.06993

Introduced: every layer of a block sees the outputs of all layers before it, side by side, so that few new channels per
layer (the growth rate) are enough.
Reported (ImageNet validation, one 224x224 crop, top-1 and top-5 error, table 3): 25.02 % and 7.71 % for 121 layers,
23.80 % and 6.85 % for 169, 22.58 % and 6.34 % for 201. The authors' code adds 22.2 % top-1 for 161 layers.

Deviations from the paper: none for 224x224. For images up to 64x64 the stem is one 3x3 convolution of stride 1 with its
normalisation and without pooling; the paper's networks for CIFAR begin with the bare convolution and have three blocks,
not four. ``dropout`` follows each convolution but the first, as in the paper, which uses 0.2 on data without
augmentation and none on ImageNet (section 4.2). Parameter names are torchvision's. Initialisation: He et al. 2015 with
fan-out, as in the authors' code.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn

from cnnlab.zoo._layers import he_init
from cnnlab.zoo._network import SMALL_IMAGE, Network, numbered_stages
from cnnlab.zoo._registry import Paper, Rate, Variant, torchvision


class DenseLayer(nn.Module):
    """A 1x1 convolution to four times the growth rate, then a 3x3 convolution to the new channels."""

    def __init__(self, in_channels: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.conv1(self.relu1(self.norm1(x))))  # (N, 4 * growth, S, S)
        return self.dropout(self.conv2(self.relu2(self.norm2(x))))  # (N, growth, S, S)


class DenseBlock(nn.Module):
    """Layers ``denselayer1``, ``denselayer2``, ... of which each adds ``growth`` channels to its input."""

    def __init__(self, depth: int, in_channels: int, growth: int, dropout: float) -> None:
        super().__init__()
        for i in range(depth):
            self.add_module(f"denselayer{i + 1}", DenseLayer(in_channels + i * growth, growth, dropout))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            # One copy per layer: the result is the input of the next layer, and after the last that of the transition.
            x = torch.cat((x, layer(x)), dim=1)  # (N, in_channels + i * growth, S, S)
        return x  # (N, in_channels + depth * growth, S, S)


def transition(in_channels: int, channels: int, dropout: float) -> nn.Sequential:
    """Return the layers between two blocks, which reduce the channels and halve the side."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(in_channels),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(in_channels, channels, 1, bias=False),
            dropout=nn.Dropout(dropout),
            pool=nn.AvgPool2d(2),
        )
    )


class DenseNet(Network):
    """A stem, four dense blocks with transitions that halve channels and side, and a dense head.

    Options:
        dropout: rate after each convolution but the first.
    """

    stages = numbered_stages("features.pool0", *(f"features.denseblock{i}" for i in (1, 2, 3, 4)), head="classifier")

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        growth: int,
        num_classes: int,
        in_channels: int,
        image_size: int,
        *,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        small = image_size <= SMALL_IMAGE
        kernel, stride = (3, 1) if small else (7, 2)
        channels = 2 * growth
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1),
        )
        for i, depth in enumerate(depths, start=1):
            layers[f"denseblock{i}"] = DenseBlock(depth, channels, growth, dropout)
            channels += depth * growth
            if i < len(depths):
                layers[f"transition{i}"] = transition(channels, channels // 2, dropout)
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(layers)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.features(x))  # (N, channels, S / 32, S / 32)
        x = self.avgpool(x).flatten(1)  # (N, channels)
        return self.classifier(x)  # (N, num_classes)


PAPER = Paper(
    "Huang, Liu, van der Maaten, Weinberger: Densely connected convolutional networks",
    year=2016,
    url="https://arxiv.org/abs/1608.06993",
    introduced="Every layer of a block sees the outputs of all layers before it.",
    min_size=8,
    small="with a small stem",
    protocol="one crop",
)

VARIANTS = (  # layers per block, growth rate, parameters, multiply-adds, top-1 and top-5 error, weights, their top-1
    ("densenet121", (6, 12, 24, 16), 32, 7_978_856, 2_834_161_664, (25.02, 7.71), "a639ec97", 74.434),
    ("densenet161", (6, 12, 36, 24), 48, 28_681_000, 7_727_907_072, (None, None), "8d451a50", 77.138),
    ("densenet169", (6, 12, 32, 32), 32, 14_149_480, 3_359_843_328, (23.8, 6.85), "b2777c0a", 75.6),
    ("densenet201", (6, 12, 48, 32), 32, 20_013_928, 4_291_365_888, (22.58, 6.34), "c1103571", 76.896),
)
for name, depths, growth, parameters, macs, errors, digits, top1 in VARIANTS:
    title = f"DenseNet-{name[-3:]} of growth rate {growth}"
    aliases = ("densenet",) if name == "densenet121" else ()
    globals()[name] = PAPER.register(
        partial(DenseNet, depths, growth),
        Variant(name, title, parameters=parameters, macs=macs, errors=errors, aliases=aliases),
        torchvision(f"{name}-{digits}", top1),
    )
