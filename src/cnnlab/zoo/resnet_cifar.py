"""ResNet-20, the residual network for CIFAR-10.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun: Deep residual learning for image recognition. CVPR 2016, section 4.2.
https://arxiv.org/abs/1512.03385

Introduced: the narrow residual network of 6n + 2 layers for 32x32 images, with shortcuts that cost no parameters.
Reported: 8.75 % test error on CIFAR-10 for 20 layers (table 6).

Deviations from the paper: none in the architecture. The shortcuts are option A: where the shape changes, every second
pixel is taken and the new channels are zero. The paper counts 0.27 M parameters; they are 269,722 here, without those
of option B. Parameter names are those of the public checkpoints by Yerlan Idelbayev
(https://github.com/akamaster/pytorch_resnet_cifar10). Initialisation: He et al. 2015.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.zoo._base import Network, he_init, register_model


class CifarBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters around them."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.shortcut(x)  # (N, channels, S / stride, S / stride)
        x = self.relu(self.bn1(self.conv1(x)))  # (N, channels, S / stride, S / stride)
        x = self.bn2(self.conv2(x))  # (N, channels, S / stride, S / stride)
        x += shortcut
        return self.relu(x)  # (N, channels, S / stride, S / stride)

    def shortcut(self, x: Tensor) -> Tensor:
        """Option A: every ``stride``-th pixel, and zeros on both sides of the old channels."""
        if self.stride == 1 and self.new_channels == 0:
            return x
        before = self.new_channels // 2
        padding = (0, 0, 0, 0, before, self.new_channels - before)
        return F.pad(x[:, :, :: self.stride, :: self.stride], padding)


class CifarResNet(Network):
    """A 3x3 stem, three stages of ``n`` blocks, and a dense head; shapes are for 32x32 images."""

    stages: Mapping[str, str] = {
        "stem": "relu",
        "stage1": "layer1",
        "stage2": "layer2",
        "stage3": "layer3",
        "head": "linear",
    }

    def __init__(self, n: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = stage(16, 16, n, stride=1)
        self.layer2 = stage(16, 32, n, stride=2)
        self.layer3 = stage(32, 64, n, stride=2)
        self.linear = nn.Linear(64, num_classes)
        he_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # (N, 16, 32, 32)
        x = self.layer1(x)  # (N, 16, 32, 32)
        x = self.layer2(x)  # (N, 32, 16, 16)
        x = self.layer3(x)  # (N, 64, 8, 8)
        x = x.mean((2, 3))  # (N, 64)
        return self.linear(x)  # (N, num_classes)


def stage(in_channels: int, channels: int, depth: int, stride: int) -> nn.Sequential:
    """``depth`` blocks, of which the first changes the shape."""
    first = CifarBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(CifarBlock(channels, channels) for _ in range(depth - 1)))


@register_model(
    paper="He, Zhang, Ren, Sun: Deep residual learning for image recognition",
    year=2015,
    url="https://arxiv.org/abs/1512.03385",
    introduced="The narrow residual network for 32x32 images, with shortcuts that cost no parameters.",
    reported="8.75 % error on CIFAR-10",
    parameters=269_722,
    min_size=4,
)
def resnet20(num_classes: int = 10, in_channels: int = 3, image_size: int = 32) -> CifarResNet:
    """ResNet-20 for CIFAR (He et al. 2015, section 4.2).

    Images of 4x4 pixels and more; the weights do not depend on their size.
    """
    return CifarResNet(3, num_classes, in_channels)
