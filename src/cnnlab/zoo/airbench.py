"""The network of the fastest trainings on CIFAR-10, whose first layer is computed from images instead of trained.

Keller Jordan: 94% on CIFAR-10 in 3.29 seconds on a single GPU. 2024. https://arxiv.org/abs/2404.00498

Introduced by it, after trainings by David Page (2018) and tysam-code (2023): a first layer of whitening filters that
stay as they are; convolutions that begin as the identity; logits that are scaled down. Its training alternates each
image between original and mirrored from epoch to epoch.
Reported: 94.01 % of the CIFAR-10 test images after 9.9 epochs, 3.29 s of an A100, with test-time augmentation.

Deviations: the last pooling is global max pooling instead of a 3x3 window: the same for 32x32 images, but it also takes
smaller ones, as in the first epochs with ``image_sizes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from cnnlab.zoo._network import Network
from cnnlab.zoo._registry import Width, register_model

WHITENING_EPS = 5e-4
"""What is added to each variance, so that directions of little variance are not amplified."""


Convolutions = Literal[2, 3]
"""The number of convolutions of a block."""

Activation = Literal["gelu", "silu"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"gelu": nn.GELU, "silu": nn.SiLU}


class IdentityConv(nn.Conv2d):
    """A 3x3 convolution without a bias whose first filters pass their channel on as it is (section 3.3)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)
        nn.init.dirac_(self.weight.data[:in_channels])


class ShiftOnlyNorm(nn.BatchNorm2d):
    """BatchNorm with trained shifts, but without scales; its statistics follow quickly, as there are few steps."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-12, momentum=0.4)
        self.weight.requires_grad_(False)


class Shortcut(nn.Sequential):
    """The sum of the input and of what its layers make of it."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)  # (N, C, H, W)


class AirbenchBlock(nn.Sequential):
    """Convolutions with BatchNorm and an activation; pooling to half the size after the first one (section 3.1).

    With three convolutions a shortcut leads around the last two, as in the largest network of
    https://github.com/KellerJordan/cifar10-airbench (airbench96).
    """

    def __init__(self, in_channels: int, channels: int, convolutions: int, activation: Activation) -> None:
        make = ACTIVATIONS[activation]
        second = [IdentityConv(channels, channels), ShiftOnlyNorm(channels), make()]
        third = [IdentityConv(channels, channels), ShiftOnlyNorm(channels)]
        rest = second if convolutions == 2 else [Shortcut(*second, *third), make()]
        super().__init__(IdentityConv(in_channels, channels), nn.MaxPool2d(2), ShiftOnlyNorm(channels), make(), *rest)


class Scale(nn.Module):
    """Multiply by a number that is not trained."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor  # (N, K)

    def extra_repr(self) -> str:
        return f"factor={self.factor:.4g}"


class Airbench(Network):
    """Whitening, three blocks, the maximum of each map, and a dense layer; shapes are for 32x32 colour images."""

    stages: Mapping[str, str] = {
        "stem": "whiten", "stage1": "block1", "stage2": "block2", "stage3": "block3", "head": "head",
    }  # fmt: skip
    first_images = 5000

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        widths: tuple[int, int, int],
        convolutions: tuple[int, int, int],
        activation: Activation,
        scale: float,
    ) -> None:
        super().__init__()
        patch = 4 * in_channels  # numbers in a window of 2x2 pixels
        self.whiten = nn.Conv2d(in_channels, 2 * patch, 2)
        self.whiten.weight.requires_grad_(False)
        nn.init.zeros_(self.whiten.bias)  # type: ignore[arg-type]
        self.gelu = nn.GELU()
        self.block1 = AirbenchBlock(2 * patch, widths[0], convolutions[0], activation)
        self.block2 = AirbenchBlock(widths[0], widths[1], convolutions[1], activation)
        self.block3 = AirbenchBlock(widths[1], widths[2], convolutions[2], activation)
        self.maxpool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Sequential(nn.Linear(widths[2], num_classes, bias=False), Scale(scale))

    @torch.no_grad()
    def start_from(self, images: Tensor) -> None:
        """Make the first layer whiten the windows of 2x2 pixels of ``images`` (section 3.2).

        The first half of the filters are the eigenvectors of the second-moment matrix of the windows (about their
        covariance, since the images are normalised), each divided by sqrt(eigenvalue + ``WHITENING_EPS``); the second
        half are their negatives. The outputs of the first half are uncorrelated, with a variance near 1.

        Args:
            images: normalised images (N, C, H, W) float32.
        """
        windows = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
        variances, directions = torch.linalg.eigh(windows.T @ windows / len(windows))
        filters = (directions / (variances + WHITENING_EPS).sqrt()).T.reshape(-1, *self.whiten.weight.shape[1:])
        self.whiten.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.whiten(x)  # (N, 24, 31, 31)
        x = self.block1(self.gelu(x))  # (N, 64, 15, 15)
        x = self.block2(x)  # (N, 256, 7, 7)
        x = self.block3(x)  # (N, 256, 3, 3)
        x = self.maxpool(x).flatten(1)  # (N, 256)
        return self.head(x)  # (N, num_classes)


@register_model(
    paper="Jordan: 94% on CIFAR-10 in 3.29 seconds on a single GPU",
    year=2024,
    url="https://arxiv.org/abs/2404.00498",
    introduced="A first layer computed from images, convolutions that begin as the identity, and all that makes a "
    "training of CIFAR-10 short.",
    reported="94.01 % of the CIFAR-10 test images after 9.9 epochs, with test-time augmentation",
    parameters=1_972_792,
    macs=118_147_360,
    min_size=9,
)
def airbench(
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    *,
    widths: tuple[Width, Width, Width] = (64, 256, 256),
    convolutions: tuple[Convolutions, Convolutions, Convolutions] = (2, 2, 2),
    activation: Activation = "gelu",
    scale: float = 1 / 9,
) -> Airbench:
    """The network of the fastest trainings on CIFAR-10 (Jordan 2024).

    ``widths``: channels of the three blocks; one that is narrower than its input, which in the first block has eight
    times ``in_channels``, starts as the identity for its first channels only. ``convolutions``: those of each block, 2
    or 3; of three the last two have a shortcut around them. ``activation``: that of the blocks, GELU or, as in
    https://github.com/hiverge/cifar10-speedrun, SiLU, which is computed faster. ``scale``: factor of the logits.
    Images of 9x9 pixels and more; the weights do not depend on their size. The first layer is not trained;
    :meth:`Airbench.start_from` computes it from images, which a training does by itself.
    """
    return Airbench(num_classes, in_channels, widths, convolutions, activation, scale)
