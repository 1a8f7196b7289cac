"""Layers that three papers of the zoo or more have in common."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Stochastic depth: in training, drop the whole branch of a residual block for some images of the batch.

    Huang et al. 2016 (https://arxiv.org/abs/1603.09382, section 3). What remains is scaled by 1 / (1 - rate), so that
    nothing changes at evaluation.

    Args:
        rate: probability of dropping, 0 (off) up to, but not including, 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x  # (N, C, H, W)
        kept = torch.rand(x.shape[0], *(1,) * (x.ndim - 1), device=x.device) >= self.rate  # (N, 1, 1, 1)
        return x * kept.to(x.dtype) / (1 - self.rate)  # (N, C, H, W)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


class SqueezeExcitation(nn.Module):
    """Weigh each channel by a gate that sees the average of all channels.

    Hu et al. 2017 (https://arxiv.org/abs/1709.01507, section 3). Parameter names are torchvision's.

    Args:
        channels: of the input and the output.
        squeezed: channels between the two layers.
        activation: after the first layer. ``gate``: after the second; sigmoid in the paper.
    """

    def __init__(
        self,
        channels: int,
        squeezed: int,
        activation: Callable[[], nn.Module] = nn.ReLU,
        gate: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation()
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        weights = self.activation(self.fc1(self.avgpool(x)))  # (N, squeezed, 1, 1)
        weights = self.gate(self.fc2(weights))  # (N, C, 1, 1)
        return x * weights  # (N, C, H, W)


def round_channels(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of ``divisor``, but never down by more than a tenth, as the MobileNets and EfficientNets do.

    The rule is from the authors' code; the papers only say that widths are multiples of 8.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
