"""MLP-Mixer: S/16 and B/16.

Ilya Tolstikhin, Neil Houlsby, Alexander Kolesnikov, Lucas Beyer, Xiaohua Zhai, Thomas Unterthiner, Jessica Yung,
Andreas Steiner, Daniel Keysers, Jakob Uszkoreit, Mario Lucic, Alexey Dosovitskiy: MLP-Mixer: An all-MLP architecture
for vision. NeurIPS 2021. https://arxiv.org/abs/2105.01601

Introduced: an image network without convolution and without attention. The image is a table of patches (tokens) by
channels, and every block runs one perceptron along each row and one along each column.
Reported (ImageNet validation, one 224x224 crop): top-1 error 23.56 % for B/16 trained on ImageNet alone, 26.17 % for
S/16 trained on JFT-300M before (table 3).

Deviations from the paper: none in the architecture for 224x224. The dense layer that the paper applies to every patch
is written as a convolution whose windows do not overlap. For images up to 64x64 the patches are 4x4, not 16x16,
so that 32x32 pixels give 64 tokens. Where the side is no multiple of the patch, the image gets zeros on all sides, the
odd row and column at the bottom and on the right. The last layer starts like the others, not at 0. Parameter names are
timm's. Initialisation: normal of variance 1 / fan-in, the default of the authors' library; biases 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab.zoo._layers import DropPath
from cnnlab.zoo._network import SMALL_IMAGE, Network
from cnnlab.zoo._registry import Paper, Pretrained, Rate, Variant


class Patches(nn.Module):
    """Cut the image into squares, and map each to ``channels`` numbers by the same dense layer."""

    def __init__(self, in_channels: int, channels: int, image_size: int, patch: int) -> None:
        super().__init__()
        side = math.ceil(image_size / patch)
        self.tokens = side * side
        missing = side * patch - image_size
        self.padding = (missing // 2, missing - missing // 2) * 2
        self.proj = nn.Conv2d(in_channels, channels, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(F.pad(x, self.padding))  # (N, channels, S / patch, S / patch)
        return x.flatten(2).transpose(1, 2)  # (N, tokens, channels)


class Mlp(nn.Module):
    """Two dense layers along the last dimension, a GELU between them."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, features)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))  # (N, ..., features)


class MixerBlock(nn.Module):
    """Mix the tokens within every channel, then the channels within every token; a shortcut around each."""

    def __init__(self, tokens: int, channels: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp_tokens = Mlp(tokens, channels // 2)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp_channels = Mlp(channels, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.norm1(x).transpose(1, 2)  # (N, channels, tokens)
        x = x + self.drop_path(self.mlp_tokens(columns).transpose(1, 2))  # (N, tokens, channels)
        return x + self.drop_path(self.mlp_channels(self.norm2(x)))  # (N, tokens, channels)


class Mixer(Network):
    """Patches, ``depth`` blocks of one shape, the average over the tokens, and a dense head.

    Shapes are for S/16 at 224x224. No block changes the resolution; the stages are four groups of as many blocks each.
    The weights belong to one image size.

    Options:
        drop_path: probability of dropping the branches of the last block in training; it rises linearly from the first.
    """

    def __init__(
        self, depth: int, channels: int, num_classes: int, in_channels: int, image_size: int, *, drop_path: Rate = 0.0
    ) -> None:
        super().__init__()
        self.stem = Patches(in_channels, channels, image_size, patch=4 if image_size <= SMALL_IMAGE else 16)
        rates = [drop_path * i / (depth - 1) for i in range(depth)]
        self.blocks = nn.Sequential(*(MixerBlock(self.stem.tokens, channels, rate) for rate in rates))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.head = nn.Linear(channels, num_classes)
        ends = {f"stage{i}": f"blocks.{depth * i // 4 - 1}" for i in (1, 2, 3, 4)}
        self.stages: Mapping[str, str] = {"stem": "stem", **ends, "head": "head"}
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # none of them is without

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (N, 196, 512)
        x = self.blocks(x)  # (N, 196, 512)
        x = self.norm(x).mean(1)  # (N, 512)
        return self.head(x)  # (N, num_classes)


PAPER = Paper(
    "Tolstikhin, Houlsby, Kolesnikov, Beyer et al.: MLP-Mixer: An all-MLP architecture for vision",
    year=2021,
    url="https://arxiv.org/abs/2105.01601",
    introduced="An image network without convolution: perceptrons that mix patches and channels in turn.",
    min_size=8,
    small="with 4x4 patches",
)

mixer_s16 = PAPER.register(
    partial(Mixer, 8, 512),
    Variant(
        "mixer_s16",
        "Mixer-S/16",
        parameters=18_528_264,
        macs=3_776_958_464,
        errors=(26.17, None),
        reported="26.17 % top-1 error on ImageNet after training on JFT-300M",
        aliases=("mixer", "mlp_mixer"),
    ),
)
mixer_b16 = PAPER.register(
    partial(Mixer, 12, 768),
    Variant("mixer_b16", "Mixer-B/16", parameters=59_880_472, macs=12_601_767_936, errors=(23.56, None)),
    Pretrained(
        "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/jx_mixer_b16_224-76587d61.pth",
        top1=76.602,
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
)
