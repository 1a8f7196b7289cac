"""ResNet-18 and ResNet-34.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun: Deep residual learning for image recognition. CVPR 2016.
https://arxiv.org/abs/1512.03385

Introduced: shortcuts around every two convolutions, so that a block learns what to add to its input, and networks of
more than a hundred layers train.
Reported (ImageNet validation, ten crops): top-1 error 27.88 % for 18 layers with option A shortcuts (table 2);
24.52 % top-1 and 7.46 % top-5 for 34 layers with option B (table 3).

Deviations from the paper: none for 224x224; the shortcuts are option B, a 1x1 convolution where the shape changes and
the identity elsewhere. For images up to 64x64 the stem is a 3x3 convolution of stride 1 without pooling, as is
customary on CIFAR, since the paper's stem would leave 8x8 of 32x32 pixels. Parameter names are torchvision's.
Initialisation: He et al. 2015 for convolutions; with ``zero_init_residual`` every block starts as the identity (Goyal
et al. 2017, https://arxiv.org/abs/1706.02677, section 5.1).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from cnnlab.zoo._base import SMALL_IMAGE, Network, he_init, register_model


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)  # (N, channels, S / stride, S / stride)
        x = self.relu(self.bn1(self.conv1(x)))  # (N, channels, S / stride, S / stride)
        x = self.bn2(self.conv2(x))  # (N, channels, S / stride, S / stride)
        x += shortcut
        return self.relu(x)  # (N, channels, S / stride, S / stride)


class ResNet(Network):
    """A stem, four stages of basic blocks, and a dense head; shapes are for 224x224 images."""

    stages: Mapping[str, str] = {
        "stem": "maxpool",
        "stage1": "layer1",
        "stage2": "layer2",
        "stage3": "layer3",
        "stage4": "layer4",
        "head": "fc",
    }

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        num_classes: int,
        in_channels: int,
        image_size: int,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        small = image_size <= SMALL_IMAGE
        self.conv1 = (
            nn.Conv2d(in_channels, 64, 3, stride=1, padding=1, bias=False)
            if small
            else nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        )
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(64, 64, depths[0], stride=1)
        self.layer2 = stage(64, 128, depths[1], stride=2)
        self.layer3 = stage(128, 256, depths[2], stride=2)
        self.layer4 = stage(256, 512, depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)
        he_init(self)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock):
                    nn.init.zeros_(module.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # (N, 64, 112, 112)
        x = self.maxpool(x)  # (N, 64, 56, 56)
        x = self.layer1(x)  # (N, 64, 56, 56)
        x = self.layer2(x)  # (N, 128, 28, 28)
        x = self.layer3(x)  # (N, 256, 14, 14)
        x = self.layer4(x)  # (N, 512, 7, 7)
        x = self.avgpool(x).flatten(1)  # (N, 512)
        return self.fc(x)  # (N, num_classes)


def stage(in_channels: int, channels: int, depth: int, stride: int) -> nn.Sequential:
    """``depth`` blocks, of which the first changes the shape."""
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(depth - 1)))


@register_model(
    paper="He, Zhang, Ren, Sun: Deep residual learning for image recognition",
    year=2015,
    url="https://arxiv.org/abs/1512.03385",
    introduced="Shortcuts around every two convolutions, so that very deep networks train.",
    reported="27.88 % top-1 error on ImageNet, ten crops",
    parameters=11_689_512,
    min_size=8,
    imagenet_top1_error=27.88,
    aliases=("resnet",),
)
def resnet18(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, zero_init_residual: bool = False
) -> ResNet:
    """ResNet-18 (He et al. 2015), with a small stem for images up to 64x64.

    ``zero_init_residual``: every block starts as the identity. Images of 8x8 pixels and more.
    """
    return ResNet((2, 2, 2, 2), num_classes, in_channels, image_size, zero_init_residual)


@register_model(
    paper="He, Zhang, Ren, Sun: Deep residual learning for image recognition",
    year=2015,
    url="https://arxiv.org/abs/1512.03385",
    introduced="Shortcuts around every two convolutions, so that very deep networks train.",
    reported="24.52 % top-1 error on ImageNet, ten crops",
    parameters=21_797_672,
    min_size=8,
    imagenet_top1_error=24.52,
    imagenet_top5_error=7.46,
)
def resnet34(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, zero_init_residual: bool = False
) -> ResNet:
    """ResNet-34 (He et al. 2015), with a small stem for images up to 64x64.

    ``zero_init_residual``: every block starts as the identity. Images of 8x8 pixels and more.
    """
    return ResNet((3, 4, 6, 3), num_classes, in_channels, image_size, zero_init_residual)
