"""Network in network.

Min Lin, Qiang Chen, Shuicheng Yan: Network in network. ICLR 2014. https://arxiv.org/abs/1312.4400

Introduced: the 1x1 convolution, as a small perceptron that slides over the image (mlpconv layer), and global average
pooling over one map per class instead of dense layers.
Reported: 8.81 % test error on CIFAR-10 with augmentation and 10.41 % without (table 1). The paper has no result on
ImageNet; with their network for it the authors published 59.36 % top-1 accuracy.

For images up to 64x64 this is the paper's network for CIFAR-10 with the sizes of the authors' configuration files
(https://github.com/mavenlin/cuda-convnet/tree/master/NIN): three mlpconv layers, 966,986 parameters at 10 classes. For
larger images it is the one with four that the authors published for Caffe and ImageNet
(https://gist.github.com/mavenlin/d802a5849de39225bcc6).

Deviations from the paper: none in the architecture. As there, a ReLU follows the maps of the classes, and a class whose
map is negative everywhere would get no gradient. So the last layer starts with N(0, 0.05) and a bias of 1, where all
classes are alive. Initialisation otherwise: Glorot & Bengio 2010 (uniform). The authors' N(0, 0.05) was chosen for
pixels in 0..255. Tried on CIFAR-10 at 16x16: with Glorot's and a learning rate of 0.05 it learns after about 50 steps
of standstill, with Adam at once; with the larger weights of He et al. 2015, at 0.01, hardly in 240 steps.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from cnnlab.zoo._network import SMALL_IMAGE, Network
from cnnlab.zoo._registry import Rate, Width, register_model


class MlpConv(nn.Sequential):
    """A convolution and 1x1 convolutions after it, each with a ReLU; ``widths`` are the channels they make."""

    def __init__(
        self, in_channels: int, widths: tuple[int, ...], kernel: int, stride: int = 1, padding: int = 0
    ) -> None:
        layers: list[nn.Module] = [nn.Conv2d(in_channels, widths[0], kernel, stride, padding), nn.ReLU(inplace=True)]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 1), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class NIN(Network):
    """Three or four mlpconv layers, of which the last ends in a map per class; shapes are for 224x224 images."""

    def __init__(
        self, num_classes: int, in_channels: int, image_size: int, dropout: float = 0.5, divisor: int = 1
    ) -> None:
        super().__init__()

        def narrow(*widths: int) -> tuple[int, ...]:
            return tuple(max(1, width // divisor) for width in widths)

        if image_size <= SMALL_IMAGE:
            first, second, third = narrow(192, 160, 96), narrow(192, 192, 192), narrow(192, 192)
            self.features = nn.Sequential(
                MlpConv(in_channels, first, 5, padding=2),
                half(),  # 16x16 of 32x32
                nn.Dropout(dropout),
                MlpConv(first[-1], second, 5, padding=2),
                half(),  # 8x8
                nn.Dropout(dropout),
                MlpConv(second[-1], third, 3, padding=1),
            )
            self.stages = {"stage1": "features.1", "stage2": "features.4", "stage3": "features.6", "head": "head"}
            channels = third[-1]
        else:
            first, second, third = narrow(96, 96, 96), narrow(256, 256, 256), narrow(384, 384, 384)
            fourth = narrow(1024, 1024)
            self.features = nn.Sequential(
                MlpConv(in_channels, first, 11, stride=4),  # 54x54 of 224x224
                half(),  # 27x27
                MlpConv(first[-1], second, 5, padding=2),
                half(),  # 13x13
                MlpConv(second[-1], third, 3, padding=1),
                half(),  # 6x6
                nn.Dropout(dropout),
                MlpConv(third[-1], fourth, 3, padding=1),
            )
            ends = {"stage1": "features.1", "stage2": "features.3", "stage3": "features.5", "stage4": "features.7"}
            self.stages = {**ends, "head": "head"}
            channels = fourth[-1]
        last = nn.Conv2d(channels, num_classes, 1)
        self.head = nn.Sequential(last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        initialise(self, last)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, 1024, 6, 6)
        return self.head(x)  # (N, num_classes)


def half() -> nn.MaxPool2d:
    """Return max pooling of overlapping windows; the last may reach over the edge, as in the authors' software."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def initialise(model: nn.Module, last: nn.Conv2d) -> None:
    """Initialise as Glorot & Bengio 2010, and the ``last`` layer so that its ReLU lets every class through."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            if module is last:
                nn.init.normal_(module.weight, std=0.05)
                nn.init.ones_(module.bias)
            else:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)


@register_model(
    paper="Lin, Chen, Yan: Network in network",
    year=2013,
    url="https://arxiv.org/abs/1312.4400",
    introduced="The 1x1 convolution, and global average pooling over one map per class.",
    reported="8.81 % error on CIFAR-10 with augmentation",
    parameters=7_595_176,
    macs=1_100_188_800,
    min_size=8,
)
def nin(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    dropout: Rate = 0.5,
    divisor: Width = 1,
) -> NIN:
    """Network in network (Lin et al. 2013); for images up to 64x64 the paper's network for CIFAR-10.

    ``dropout``: rate between mlpconv layers, as the authors place it. ``divisor``: number that the channels of all
    layers are divided by, 4 for a network that trains in minutes without a GPU. Images of 8x8 pixels and more.
    """
    return NIN(num_classes, in_channels, image_size, dropout, divisor)
