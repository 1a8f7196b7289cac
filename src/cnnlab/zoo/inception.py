"""Inception v3.

Christian Szegedy, Vincent Vanhoucke, Sergey Ioffe, Jonathon Shlens, Zbigniew Wojna: Rethinking the Inception
architecture for computer vision. CVPR 2016. https://arxiv.org/abs/1512.00567

Introduced: large convolutions factorised into small and one-sided ones (7x7 as 1x7 and 7x1), blocks that shrink the map
by convolution and pooling side by side, and label smoothing.
Reported (ImageNet validation, abstract): 21.2 % top-1 and 5.6 % top-5 error for one network and one 299x299 crop.

Deviations from the paper: as in the authors' released code and in torchvision, whose parameter names these are, the
stem's last layers are a 1x1 convolution, a 3x3 convolution and a pooling, where table 1 has three 3x3 convolutions. The
loss of the auxiliary head counts 0.4, as in the released code (the paper gives no weight). The auxiliary head averages
5x5 pixels with stride 3 before a 5x5 convolution; where its map is smaller than the 17x17 of 299x299 images it averages
to 5x5 instead, so that images from 75x75 on can be trained on. There is no small stem, as none is customary.
``dropout`` is torchvision's. Label smoothing belongs to the training. Initialisation: He et al. 2015 (torchvision draws
from a truncated normal distribution, which takes many seconds and after BatchNorm makes little difference).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.zoo._layers import he_init
from cnnlab.zoo._network import Network, numbered_stages
from cnnlab.zoo._registry import Pretrained, Rate, register_model

Pair = int | tuple[int, int]


class ConvNorm(nn.Module):
    """Convolution, BatchNorm and ReLU."""

    def __init__(self, in_channels: int, channels: int, kernel: Pair, stride: int = 1, padding: Pair = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))  # (N, channels, S', S')


class InceptionA(nn.Module):
    """At 35x35 (figure 5): the 5x5 convolution of GoogLeNet beside one made of two 3x3."""

    def __init__(self, in_channels: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(in_channels, 64, 1)
        self.branch5x5_1 = ConvNorm(in_channels, 48, 1)
        self.branch5x5_2 = ConvNorm(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvNorm(in_channels, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, padding=1)
        self.branch_pool = ConvNorm(in_channels, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch1x1(x)  # (N, 64, S, S)
        five = self.branch5x5_2(self.branch5x5_1(x))  # (N, 64, S, S)
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))  # (N, 96, S, S)
        pooled = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))  # (N, pool, S, S)
        return torch.cat((one, five, double, pooled), dim=1)  # (N, 224 + pool, S, S)


class InceptionB(nn.Module):
    """From 35x35 to 17x17 (figure 10): strided convolutions and pooling side by side."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvNorm(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvNorm(in_channels, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3(x)  # (N, 384, S / 2, S / 2)
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))  # (N, 96, S / 2, S / 2)
        pooled = F.max_pool2d(x, 3, stride=2)  # (N, in_channels, S / 2, S / 2)
        return torch.cat((three, double, pooled), dim=1)  # (N, 480 + in_channels, S / 2, S / 2)


class InceptionC(nn.Module):
    """At 17x17 (figure 6, n = 7): 7x7 convolutions as 1x7 and 7x1."""

    def __init__(self, in_channels: int, mid: int) -> None:
        super().__init__()
        row, column = ((1, 7), (0, 3)), ((7, 1), (3, 0))  # kernel and padding
        self.branch1x1 = ConvNorm(in_channels, 192, 1)
        self.branch7x7_1 = ConvNorm(in_channels, mid, 1)
        self.branch7x7_2 = ConvNorm(mid, mid, row[0], padding=row[1])
        self.branch7x7_3 = ConvNorm(mid, 192, column[0], padding=column[1])
        self.branch7x7dbl_1 = ConvNorm(in_channels, mid, 1)
        self.branch7x7dbl_2 = ConvNorm(mid, mid, column[0], padding=column[1])
        self.branch7x7dbl_3 = ConvNorm(mid, mid, row[0], padding=row[1])
        self.branch7x7dbl_4 = ConvNorm(mid, mid, column[0], padding=column[1])
        self.branch7x7dbl_5 = ConvNorm(mid, 192, row[0], padding=row[1])
        self.branch_pool = ConvNorm(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch1x1(x)  # (N, 192, S, S)
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))  # (N, 192, S, S)
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))  # (N, mid, S, S)
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))  # (N, 192, S, S)
        pooled = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))  # (N, 192, S, S)
        return torch.cat((one, seven, double, pooled), dim=1)  # (N, 768, S, S)


class InceptionD(nn.Module):
    """From 17x17 to 8x8: strided convolutions and pooling side by side."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvNorm(in_channels, 192, 1)
        self.branch3x3_2 = ConvNorm(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvNorm(in_channels, 192, 1)
        self.branch7x7x3_2 = ConvNorm(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = ConvNorm(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))  # (N, 320, S / 2, S / 2)
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))  # (N, 192, S, S)
        seven = self.branch7x7x3_4(seven)  # (N, 192, S / 2, S / 2)
        pooled = F.max_pool2d(x, 3, stride=2)  # (N, in_channels, S / 2, S / 2)
        return torch.cat((three, seven, pooled), dim=1)  # (N, 512 + in_channels, S / 2, S / 2)


class InceptionE(nn.Module):
    """At 8x8 (figure 7): 1x3 and 3x1 convolutions side by side, for many channels."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(in_channels, 320, 1)
        self.branch3x3_1 = ConvNorm(in_channels, 384, 1)
        self.branch3x3_2a = ConvNorm(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvNorm(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvNorm(in_channels, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvNorm(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvNorm(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = ConvNorm(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch1x1(x)  # (N, 320, S, S)
        three = self.branch3x3_1(x)  # (N, 384, S, S)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))  # (N, 384, S, S)
        pooled = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))  # (N, 192, S, S)
        threes = (self.branch3x3_2a(three), self.branch3x3_2b(three))
        doubles = (self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double))
        return torch.cat((one, *threes, *doubles, pooled), dim=1)  # (N, 2048, S, S)


class AuxiliaryHead(nn.Module):
    """A classifier on the 17x17 map (figure 8), used in training only."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv0 = ConvNorm(in_channels, 128, 1)
        self.conv1 = ConvNorm(128, 768, 5)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        large = x.shape[-1] >= 17 and x.shape[-2] >= 17
        x = F.avg_pool2d(x, 5, stride=3) if large else F.adaptive_avg_pool2d(x, 5)  # (N, 768, 5, 5)
        x = self.conv1(self.conv0(x))  # (N, 768, 1, 1)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)  # (N, 768)
        return self.fc(x)  # (N, num_classes)


class InceptionV3(Network):
    """A stem, eleven Inception blocks at three resolutions, and a dense head; shapes are for 299x299 images."""

    stages = numbered_stages("maxpool2", "Mixed_5d", "Mixed_6e", "Mixed_7c", head="fc")

    def __init__(self, num_classes: int, in_channels: int, aux_logits: bool, dropout: float) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(in_channels, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        self.AuxLogits = AuxiliaryHead(768, num_classes) if aux_logits else None
        self.auxiliary = {"AuxLogits": 0.4} if aux_logits else {}
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.Conv2d_1a_3x3(x)  # (N, 32, 149, 149)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(x))  # (N, 64, 147, 147)
        x = self.Conv2d_3b_1x1(self.maxpool1(x))  # (N, 80, 73, 73)
        x = self.maxpool2(self.Conv2d_4a_3x3(x))  # (N, 192, 35, 35)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # (N, 288, 35, 35)
        x = self.Mixed_6a(x)  # (N, 768, 17, 17)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))  # (N, 768, 17, 17)
        auxiliary = (self.AuxLogits(x),) if self.AuxLogits is not None and self.training else ()
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (N, 2048, 8, 8)
        x = self.dropout(self.avgpool(x).flatten(1))  # (N, 2048)
        x = self.fc(x)  # (N, num_classes)
        return (x, *auxiliary) if auxiliary else x  # (N, num_classes), each


@register_model(
    paper="Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: Rethinking the Inception architecture for computer vision",
    year=2015,
    url="https://arxiv.org/abs/1512.00567",
    introduced="Convolutions factorised into small and one-sided ones, such as 7x7 into 1x7 and 7x1.",
    parameters=27_161_264,
    macs=5_713_216_096,
    min_size=75,
    pretrained=Pretrained(
        "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        top1=77.294,
        size=299,
        resize=342,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    errors=(21.2, 5.6),
    protocol="one crop",
)
def inception_v3(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 299,
    *,
    aux_logits: bool = True,
    dropout: Rate = 0.5,
) -> InceptionV3:
    """Inception v3 (Szegedy et al. 2015), with the same stem for all images.

    ``aux_logits``: with the auxiliary classifier, which answers in train mode. ``dropout``: rate before the last layer.
    Images of 75x75 pixels and more.
    """
    return InceptionV3(num_classes, in_channels, aux_logits, dropout)
