"""GoogLeNet (Inception v1).

Christian Szegedy, Wei Liu, Yangqing Jia, Pierre Sermanet, Scott Reed, Dragomir Anguelov, Dumitru Erhan, Vincent
Vanhoucke, Andrew Rabinovich: Going deeper with convolutions. CVPR 2015. https://arxiv.org/abs/1409.4842

Introduced: the Inception block, which looks at several scales side by side behind cheap 1x1 convolutions; global
average pooling in place of dense layers; two auxiliary classifiers halfway. Winner of ILSVRC 2014.
Reported (ImageNet validation, table 3): 10.07 % top-5 error for one network and one crop, 6.67 % for seven networks
and 144 crops.

Deviations from the paper: as in torchvision, whose parameter names these are, BatchNorm follows each convolution in
place of its bias, and there is no local response normalisation; the branch that the paper gives a 5x5 convolution has a
3x3 one (a slip that its checkpoint keeps); the last pooling is 2x2 where table 1 has 3x3; the auxiliary classifiers
average to 4x4 whatever the size of the image, where the paper pools 5x5 with stride 3, which at 224x224 gives 4x4 too.
For images up to 64x64 the first convolution is 3x3 of stride 1, and the two poolings of the stem are left out, as is
customary on CIFAR. Initialisation: He et al. 2015 (the paper names none; torchvision draws from a truncated normal
distribution, which takes seconds and after BatchNorm makes little difference).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cnnlab.zoo._layers import he_init
from cnnlab.zoo._network import SMALL_IMAGE, Network, numbered_stages
from cnnlab.zoo._registry import Pretrained, Rate, register_model


class ConvNorm(nn.Module):
    """Convolution, BatchNorm and ReLU; the side stays as it is at stride 1."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))  # (N, channels, S / stride, S / stride)


class Inception(nn.Module):
    """Four branches over the same input, side by side (figure 2b); the arguments are a row of the paper's table 1."""

    def __init__(
        self, in_channels: int, ch1x1: int, reduce3x3: int, ch3x3: int, reduce5x5: int, ch5x5: int, pool: int
    ) -> None:
        super().__init__()
        self.branch1 = ConvNorm(in_channels, ch1x1, 1)
        self.branch2 = nn.Sequential(ConvNorm(in_channels, reduce3x3, 1), ConvNorm(reduce3x3, ch3x3, 3))
        # 3x3 where the paper has 5x5: see the top of the file.
        self.branch3 = nn.Sequential(ConvNorm(in_channels, reduce5x5, 1), ConvNorm(reduce5x5, ch5x5, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), ConvNorm(in_channels, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x))
        return torch.cat(branches, dim=1)  # (N, ch1x1 + ch3x3 + ch5x5 + pool, S, S)


class AuxiliaryHead(nn.Module):
    """A classifier halfway, which brings a gradient there in training."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.conv = ConvNorm(in_channels, 128, 1)
        self.fc1 = nn.Linear(2048, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.avgpool(x))  # (N, 128, 4, 4)
        x = self.relu(self.fc1(x.flatten(1)))  # (N, 1024)
        return self.fc2(self.dropout(x))  # (N, num_classes)


class GoogLeNet(Network):
    """A stem, nine Inception blocks at three resolutions, and a dense head; shapes are for 224x224 images."""

    stages = numbered_stages("maxpool2", "inception3b", "inception4e", "inception5b", head="fc")

    def __init__(
        self, num_classes: int, in_channels: int, image_size: int, aux_logits: bool, dropout: float, aux_dropout: float
    ) -> None:
        super().__init__()
        small = image_size <= SMALL_IMAGE
        self.conv1 = ConvNorm(in_channels, 64, 3, 1) if small else ConvNorm(in_channels, 64, 7, 2)
        self.maxpool1: nn.Module = nn.Identity() if small else nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = ConvNorm(64, 64, 1)
        self.conv3 = ConvNorm(64, 192, 3)
        self.maxpool2: nn.Module = nn.Identity() if small else nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = AuxiliaryHead(512, num_classes, aux_dropout) if aux_logits else None
        self.aux2 = AuxiliaryHead(528, num_classes, aux_dropout) if aux_logits else None
        # Section 5: their losses count 0.3 in training, and they are discarded afterwards.
        self.auxiliary = {"aux1": 0.3, "aux2": 0.3} if aux_logits else {}
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        auxiliary = []
        x = self.maxpool1(self.conv1(x))  # (N, 64, 56, 56)
        x = self.maxpool2(self.conv3(self.conv2(x)))  # (N, 192, 28, 28)
        x = self.inception3b(self.inception3a(x))  # (N, 480, 28, 28)
        x = self.inception4a(self.maxpool3(x))  # (N, 512, 14, 14)
        if self.aux1 is not None and self.training:
            auxiliary.append(self.aux1(x))  # (N, num_classes)
        x = self.inception4d(self.inception4c(self.inception4b(x)))  # (N, 528, 14, 14)
        if self.aux2 is not None and self.training:
            auxiliary.append(self.aux2(x))  # (N, num_classes)
        x = self.maxpool4(self.inception4e(x))  # (N, 832, 7, 7)
        x = self.inception5b(self.inception5a(x))  # (N, 1024, 7, 7)
        x = self.dropout(self.avgpool(x).flatten(1))  # (N, 1024)
        x = self.fc(x)  # (N, num_classes)
        return (x, *auxiliary) if auxiliary else x  # (N, num_classes), each


@register_model(
    paper="Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: Going deeper with convolutions",
    year=2014,
    url="https://arxiv.org/abs/1409.4842",
    introduced="The Inception block, which looks at several scales side by side behind 1x1 convolutions.",
    parameters=13_004_888,
    macs=1_498_376_192,
    min_size=8,
    aliases=("inception_v1",),
    pretrained=Pretrained(
        "https://download.pytorch.org/models/googlenet-1378be20.pth",
        top1=69.778,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    errors=(None, 10.07),
    better_top5_errors=((6.67, "seven networks, 144 crops"),),
    protocol="one crop",
)
def googlenet(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    aux_logits: bool = True,
    dropout: Rate = 0.4,
    aux_dropout: Rate = 0.7,
) -> GoogLeNet:
    """GoogLeNet (Szegedy et al. 2014), with a small stem for images up to 64x64.

    ``aux_logits``: with the two auxiliary classifiers, which answer in train mode. ``dropout``, ``aux_dropout``: rates
    before the last layer of the network and of the auxiliary classifiers. Images of 8x8 pixels and more.
    """
    return GoogLeNet(num_classes, in_channels, image_size, aux_logits, dropout, aux_dropout)
