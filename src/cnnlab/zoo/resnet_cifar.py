"""ResNet-20, 32, 44, 56 and 110, the residual networks for CIFAR-10.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun: Deep residual learning for image recognition. CVPR 2016, section 4.2.
https://arxiv.org/abs/1512.03385

Introduced: the narrow residual network of 6n + 2 layers for 32x32 images, with shortcuts that cost no parameters.
Reported (test error on CIFAR-10, table 6): 8.75 % for 20 layers, 7.51 % for 32, 7.17 % for 44, 6.97 % for 56 and 6.43 %
for 110 (the best of five runs; 6.61 % on average).

Deviations from the paper: none in the architecture. The shortcuts are option A: where the shape changes, every second
pixel is taken and the new channels are zero. The paper counts 0.27 M parameters for 20 layers; they are 269,722 here,
without those of option B. ``shortcuts=False`` is the paper's plain network of the same layers, to compare with
(section 4.2, figure 6 left). Parameter names are those of the public checkpoints by Yerlan Idelbayev
(https://github.com/akamaster/pytorch_resnet_cifar10). Initialisation: He et al. 2015 for convolutions, a
standard deviation of 0.01 for the dense layer (Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 5.1): with
He's rule the 110 layers would start far from a loss of log(classes). ``drop_path`` is stochastic depth (Huang et al.
2016, https://arxiv.org/abs/1603.09382, which trained the 110 layers with a last rate of 0.5), later than the paper: the
rate grows linearly from the first block to ``drop_path`` at the last.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.errors import UsageError
from cnnlab.zoo._layers import DropPath, he_init
from cnnlab.zoo._network import Network, numbered_stages
from cnnlab.zoo._registry import Paper, Rate, Variant
from cnnlab.zoo.resnet import stage


class CifarBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters around them."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1, drop_path: float = 0.0) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.shortcut(x)  # (N, channels, S / stride, S / stride)
        x = self.relu(self.bn1(self.conv1(x)))  # (N, channels, S / stride, S / stride)
        x = self.bn2(self.conv2(x))  # (N, channels, S / stride, S / stride)
        x = self.drop_path(x)  # (N, channels, S / stride, S / stride)
        x += shortcut
        return self.relu(x)  # (N, channels, S / stride, S / stride)

    def shortcut(self, x: Tensor) -> Tensor:
        """Option A: every ``stride``-th pixel, and zeros on both sides of the old channels."""
        if self.stride == 1 and self.new_channels == 0:
            return x
        before = self.new_channels // 2
        padding = (0, 0, 0, 0, before, self.new_channels - before)
        return F.pad(x[:, :, :: self.stride, :: self.stride], padding)


class PlainBlock(CifarBlock):
    """The same layers without the shortcut, for the plain network that the paper compares with."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # (N, channels, S / stride, S / stride)
        return self.relu(self.bn2(self.conv2(x)))  # (N, channels, S / stride, S / stride)


class CifarResNet(Network):
    """A 3x3 stem, three stages of ``n`` blocks, and a dense head; shapes are for 32x32 images.

    The weights do not depend on the size of the images.

    Options:
        drop_path: rate of stochastic depth at the last block; it rises linearly from the first.
        shortcuts: whether blocks have shortcuts; without them it is the paper's plain network.
    """

    stages = numbered_stages("relu", "layer1", "layer2", "layer3", head="linear")

    def __init__(
        self,
        n: int,
        num_classes: int,
        in_channels: int,
        image_size: int,
        *,
        drop_path: Rate = 0.0,
        shortcuts: bool = True,
    ) -> None:
        super().__init__()
        if drop_path and not shortcuts:
            raise UsageError(
                f"drop_path={drop_path:g} drops what blocks add to their shortcuts, and shortcuts=False has none. "
                "Leave one of the two out."
            )
        block = CifarBlock if shortcuts else PlainBlock
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        rates = (drop_path * (i + 1) / (3 * n) for i in range(3 * n))
        self.layer1 = stage(block, 16, 16, n, 1, rates)
        self.layer2 = stage(block, 16, 32, n, 2, rates)
        self.layer3 = stage(block, 32, 64, n, 2, rates)
        self.linear = nn.Linear(64, num_classes)
        he_init(self)
        # The sum over the blocks grows with their number, and nothing normalises it before the dense layer.
        nn.init.normal_(self.linear.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # (N, 16, 32, 32)
        x = self.layer1(x)  # (N, 16, 32, 32)
        x = self.layer2(x)  # (N, 32, 16, 16)
        x = self.layer3(x)  # (N, 64, 8, 8)
        x = x.mean((2, 3))  # (N, 64)
        return self.linear(x)  # (N, num_classes)


PAPER = Paper(
    "He, Zhang, Ren, Sun: Deep residual learning for image recognition",
    year=2015,
    url="https://arxiv.org/abs/1512.03385",
    introduced="The narrow residual network for 32x32 images, with shortcuts that cost no parameters.",
    min_size=4,
    num_classes=10,
    image_size=32,
)

VARIANTS = (  # name, blocks per stage, parameters, multiply-adds, test error on CIFAR-10 in percent
    ("resnet20", 3, 269_722, 40_551_040, 8.75),
    ("resnet32", 5, 464_154, 68_862_592, 7.51),
    ("resnet44", 7, 658_586, 97_174_144, 7.17),
    ("resnet56", 9, 853_018, 125_485_696, 6.97),
    ("resnet110", 18, 1_727_962, 252_887_680, 6.43),
)
for name, n, parameters, macs, error in VARIANTS:
    title, reported = f"ResNet-{6 * n + 2} for CIFAR", f"{error} % error on CIFAR-10"
    globals()[name] = PAPER.register(
        partial(CifarResNet, n), Variant(name, title, parameters=parameters, macs=macs, reported=reported)
    )
