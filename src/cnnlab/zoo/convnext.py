"""ConvNeXt-T.

Zhuang Liu, Hanzi Mao, Chao-Yuan Wu, Christoph Feichtenhofer, Trevor Darrell, Saining Xie: A ConvNet for the 2020s.
CVPR 2022. https://arxiv.org/abs/2201.03545

Introduced: a purely convolutional network with the design of the vision transformers: a stem of patches, 7x7 depthwise
convolutions, an inverted bottleneck with one GELU, LayerNorm in place of BatchNorm, and a scale on every branch.
Reported (ImageNet validation, trained on ImageNet-1K, one 224x224 crop): top-1 error 17.9 % (table 1).

Deviations from the paper: for images up to 64x64 the patches of the stem are 2x2, not 4x4, so that 32x32 pixels become
16x16, 8x8, 4x4 and 2x2 in the four stages; 4x4 patches would leave a single pixel to the last one. Pixels at the edge
that fill no patch are left out. The average of the weights over the training (EMA) and the augmentation are up to the
recipe. Parameter names are torchvision's. Initialisation: the paper's (appendix A.1), truncated normal of standard
deviation 0.02, biases 0, and ``layer_scale`` 1e-6, so that every block starts almost as the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.zoo._layers import DropPath
from cnnlab.zoo._network import SMALL_IMAGE, Network, numbered_stages
from cnnlab.zoo._registry import Rate, register_model, torchvision


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of every pixel of ``(N, C, H, W)``."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # (N, H, W, C)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)  # (N, H, W, C)
        return x.permute(0, 3, 1, 2)  # (N, C, H, W)


class Permute(nn.Module):
    """Reorder the dimensions."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.dims)  # (N, H, W, C) or back to (N, C, H, W)

    def extra_repr(self) -> str:
        return f"{self.dims}"


class Block(nn.Module):
    """Mix the pixels by a 7x7 depthwise convolution, then the channels by two dense layers; a shortcut around both."""

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            Permute(0, 2, 3, 1),  # dense layers and LayerNorm work on the last dimension
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Linear(4 * channels, channels),
            Permute(0, 3, 1, 2),
        )
        self.layer_scale = nn.Parameter(torch.full((channels, 1, 1), 1e-6))
        self.stochastic_depth = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x  # (N, channels, S, S)
        x = self.layer_scale * self.block(x)  # (N, channels, S, S)
        return shortcut + self.stochastic_depth(x)  # (N, channels, S, S)


class ConvNeXt(Network):
    """A stem of patches, four stages of blocks, halvings between them, and a head; shapes are for 224x224 images."""

    stages = numbered_stages("features.0", "features.1", "features.3", "features.5", "features.7", head="classifier")

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        widths: tuple[int, int, int, int],
        num_classes: int,
        in_channels: int,
        image_size: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        patch = 2 if image_size <= SMALL_IMAGE else 4
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(in_channels, widths[0], patch, stride=patch), ChannelNorm(widths[0]))
        )
        # The deeper the block, the more often it is dropped: Huang et al. 2016, section 3.
        rates = iter(drop_path * i / (sum(depths) - 1) for i in range(sum(depths)))
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            if i > 0:
                self.features.append(
                    nn.Sequential(ChannelNorm(widths[i - 1]), nn.Conv2d(widths[i - 1], width, 2, stride=2))
                )
            self.features.append(nn.Sequential(*(Block(width, next(rates)) for _ in range(depth))))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(ChannelNorm(widths[3]), nn.Flatten(), nn.Linear(widths[3], num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # none of them is without

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, 96, 56, 56), then (N, 192, 28, 28), (N, 384, 14, 14), (N, 768, 7, 7)
        x = self.avgpool(x)  # (N, 768, 1, 1)
        return self.classifier(x)  # (N, num_classes)


@register_model(
    paper="Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s",
    year=2022,
    url="https://arxiv.org/abs/2201.03545",
    introduced="A purely convolutional network with the design of the vision transformers.",
    parameters=28_589_128,
    macs=4_455_531_264,
    min_size=16,
    aliases=("convnext",),
    pretrained=torchvision("convnext_tiny-983f1562", top1=82.520, resize=236),
    errors=(17.9, None),
    protocol="one crop",
)
def convnext_tiny(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, drop_path: Rate = 0.1
) -> ConvNeXt:
    """ConvNeXt-T (Liu et al. 2022), with 2x2 patches in the stem for images up to 64x64.

    ``drop_path``: probability of dropping the last block in training, that of the others rises to it from 0. Images of
    16x16 pixels and more.
    """
    return ConvNeXt((3, 3, 9, 3), (96, 192, 384, 768), num_classes, in_channels, image_size, drop_path)
