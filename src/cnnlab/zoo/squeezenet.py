"""SqueezeNet 1.0 and 1.1.

Forrest Iandola, Song Han, Matthew Moskewicz, Khalid Ashraf, William Dally, Kurt Keutzer: SqueezeNet: AlexNet-level
accuracy with 50x fewer parameters and < 0.5 MB model size. 2016. https://arxiv.org/abs/1602.07360

Introduced: the Fire module, which squeezes the channels with 1x1 convolutions before the expensive 3x3 ones; late
pooling, so that most convolutions see large maps.
Reported (ImageNet validation, table 2): 57.5 % top-1 and 80.3 % top-5 accuracy for version 1.0, as AlexNet. Version
1.1 is by the authors too, after the paper, with the same accuracy at 2.4 times less computation
(https://github.com/forresti/SqueezeNet).

Deviations from the paper: none in the architecture; parameter names are torchvision's. For images up to 64x64 the
first convolution is 3x3 with stride 1, as is customary on CIFAR (for instance in
https://github.com/weiaicunzai/pytorch-cifar100), and the three poolings remain. As in the paper, a ReLU follows the
maps of the classes, and a class whose map is negative everywhere would get no gradient. So the last layer starts with
N(0, 0.01), as the authors', but with a bias of 1, where nearly all are alive; with a bias of 0 a tenth to a quarter
are dead, and version 1.1 learned nothing in 150 steps on CIFAR-10. Initialisation otherwise: He et al. 2015 (fan-in).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cnnlab.zoo._network import SMALL_IMAGE, Network
from cnnlab.zoo._registry import Paper, Rate, Variant, torchvision


class Fire(nn.Module):
    """Squeeze to few channels, then expand by 1x1 and 3x3 convolutions side by side, ``expanded`` channels each."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))  # (N, squeezed, S, S)
        narrow = self.expand1x1_activation(self.expand1x1(x))  # (N, expanded, S, S)
        wide = self.expand3x3_activation(self.expand3x3(x))  # (N, expanded, S, S)
        return torch.cat([narrow, wide], 1)  # (N, 2 * expanded, S, S)


class SqueezeNet(Network):
    """A stem, eight Fire modules with two poolings between them, and a map per class; shapes are for 224x224 images."""

    def __init__(self, features: nn.Sequential, stages: Mapping[str, str], num_classes: int, dropout: float) -> None:
        super().__init__()
        self.features = features
        self.stages = {**stages, "head": "classifier"}
        last = nn.Conv2d(512, num_classes, 1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        initialise(self, last)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, 512, 13, 13)
        return self.classifier(x)  # (N, num_classes)


def first(in_channels: int, channels: int, kernel: int, image_size: int) -> nn.Conv2d:
    """Return the first convolution: ``kernel`` and stride 2, or 3x3 and stride 1 for small images."""
    if image_size <= SMALL_IMAGE:
        return nn.Conv2d(in_channels, channels, 3, padding=1)
    return nn.Conv2d(in_channels, channels, kernel, stride=2)


def half() -> nn.MaxPool2d:
    """Return max pooling of overlapping windows; the last may reach over the edge, as in the authors' software."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def initialise(model: nn.Module, last: nn.Conv2d) -> None:
    """Initialise as He et al. 2015, and the ``last`` layer so that its ReLU lets every class through."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            if module is last:
                nn.init.normal_(module.weight, std=0.01)
                nn.init.ones_(module.bias)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)


def version_1_0(num_classes: int, in_channels: int, image_size: int, *, dropout: Rate = 0.5) -> SqueezeNet:
    """The network of the paper.

    Options:
        dropout: rate before the last layer.
    """
    features = nn.Sequential(
        first(in_channels, 96, 7, image_size),  # 109x109
        nn.ReLU(inplace=True),
        half(),  # 54x54
        Fire(96, 16, 64),
        Fire(128, 16, 64),
        Fire(128, 32, 128),
        half(),  # 27x27
        Fire(256, 32, 128),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        half(),  # 13x13
        Fire(512, 64, 256),
    )
    stages = {"stem": "features.2", "stage1": "features.6", "stage2": "features.11", "stage3": "features.12"}
    return SqueezeNet(features, stages, num_classes, dropout)


def version_1_1(num_classes: int, in_channels: int, image_size: int, *, dropout: Rate = 0.5) -> SqueezeNet:
    """The authors' later network, with earlier poolings and a smaller stem.

    Options:
        dropout: rate before the last layer.
    """
    features = nn.Sequential(
        first(in_channels, 64, 3, image_size),  # 111x111
        nn.ReLU(inplace=True),
        half(),  # 55x55
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        half(),  # 27x27
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        half(),  # 13x13
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        Fire(512, 64, 256),
    )
    stages = {"stem": "features.2", "stage1": "features.5", "stage2": "features.8", "stage3": "features.12"}
    return SqueezeNet(features, stages, num_classes, dropout)


PAPER = Paper(
    "Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer: SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and "
    "< 0.5 MB model size",
    year=2016,
    url="https://arxiv.org/abs/1602.07360",
    introduced="The Fire module: squeeze the channels by 1x1 convolutions before the 3x3 ones.",
    min_size=8,
    small="with a small stem",
)

squeezenet1_0 = PAPER.register(
    version_1_0,
    Variant(
        "squeezenet1_0", "SqueezeNet 1.0, as in the paper", parameters=1_248_424, macs=818_924_576, errors=(42.5, 19.7)
    ),
    torchvision("squeezenet1_0-b66bff10", top1=58.092),
)
squeezenet1_1 = PAPER.register(
    version_1_1,
    Variant(
        "squeezenet1_1",
        "SqueezeNet 1.1, with less computation",
        parameters=1_235_496,
        macs=349_151_936,
        reported="the accuracy of version 1.0 at 2.4 times less computation",
        introduced="The Fire module, with earlier pooling and a smaller stem than in the paper.",
        aliases=("squeezenet",),
    ),
    torchvision("squeezenet1_1-b8a52dc0", top1=58.178),
)
