"""Layers, initialisations and types of options that several papers of the zoo have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

Multiplier = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A factor of every number of channels of a network: 1 leaves the network as it is."""

Pooling = Literal["max", "average", "strided"]
"""What halves the sides of a map: the maximum or the average of 2x2 pixels, or a 2x2 convolution of stride 2."""


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
        mask = torch.rand(x.shape[0], *(1,) * (x.ndim - 1), device=x.device) >= self.rate  # (N, 1, 1, 1)
        return x * mask.to(x.dtype) / (1 - self.rate)  # (N, C, H, W)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


class SqueezeExcitation(nn.Module):
    """Weigh each channel by a gate that sees the average of all channels.

    Hu et al. 2017 (https://arxiv.org/abs/1709.01507, section 3). Parameter names are torchvision's.

    Args:
        channels: number of channels of the input and the output.
        squeezed: number of channels between the two layers; by default a sixteenth of ``channels``, but at least 8
            (timm's rule; the paper has no least number).
        activation: activation after the first layer.
        gate: activation after the second layer; sigmoid in the paper.
    """

    def __init__(
        self,
        channels: int,
        squeezed: int | None = None,
        activation: Callable[[], nn.Module] = nn.ReLU,
        gate: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        squeezed = squeezed or max(8, channels // 16)
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


def halving(pooling: Pooling, channels: int) -> nn.Module:
    """Return the layer that takes ``(N, channels, H, W)`` to ``(N, channels, H // 2, W // 2)``.

    ``"strided"`` is a 2x2 convolution of stride 2 over all channels, with a bias and without an activation: a pooling
    that is learned. (Springenberg et al. 2014, https://arxiv.org/abs/1412.6806, let a ReLU follow it.)
    """
    if pooling == "strided":
        return nn.Conv2d(channels, channels, 2, stride=2)
    return nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2)


def conv_norm(
    in_channels: int,
    channels: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[..., nn.Module] | None = None,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> nn.Sequential:
    """Return a convolution that keeps the size at stride 1, its BatchNorm, and the activation if there is one.

    ``(N, in_channels, H, W)`` becomes ``(N, channels, ceil(H / stride), ceil(W / stride))``. ``activation`` is called
    with ``inplace=True``. Parameter names are torchvision's.
    """
    conv = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    layers = [conv, norm(channels)]
    return nn.Sequential(*layers, activation(inplace=True)) if activation else nn.Sequential(*layers)


def dense(inputs: int, outputs: int) -> nn.Linear:
    """A dense layer not yet initialised: to draw 100 million numbers only to draw them again would take a second."""
    device = torch.get_default_device()
    if device.type == "meta":  # nothing is drawn there, and skip_init would load SymPy
        return nn.Linear(inputs, outputs)
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs, device=device)
    return layer


def glorot_init(model: nn.Module, gain: float = 1.0) -> None:
    """Initialise as Glorot & Bengio 2010 (AISTATS, equation 16), uniform, for tanh and the like; biases start at 0.

    The variance of the weights is 2 * gain**2 / (fan-in + fan-out).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def he_init(model: nn.Module) -> None:
    """Initialise for ReLU: He et al. 2015 (arXiv 1502.01852, section 2.2), normal, fan-out for convolutions.

    Fan-out keeps the size of the gradients on the way back. Dense layers get fan-in, as their few outputs
    would make fan-out large there. Biases start at 0, BatchNorm at the identity.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def depthwise_he_init(model: nn.Module) -> None:
    """Initialise as ``he_init`` does, with the fan-out that depthwise convolutions really have.

    Each of their inputs is seen by one output channel only, so that the fan-out is k * k; torch counts the outputs of
    all groups. Weights that much too small would be hidden by BatchNorm, but change by too much with every step.
    """
    he_init(model)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(math.sqrt(module.groups))
