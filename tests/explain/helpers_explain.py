"""Networks of a few numbers, whose answers can be worked out by hand, and networks that make life hard for hooks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def linear(weights: Sequence[Sequence[float]], channels: int = 1, size: int = 2) -> nn.Module:
    """Scores that are sums of weights times pixels: (K, channels * size * size) weights, no bias, float64."""
    layer = nn.Linear(channels * size * size, len(weights), bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights, dtype=torch.float64))
    return nn.Sequential(nn.Flatten(), layer)


class OneConv(nn.Module):
    """A convolution, ReLU, the mean over the map, and a dense layer; float64.

    By default two 1x1 filters on one channel, +1 and -1, and two classes: the first is the mean of the first map minus
    that of the second, the second class twice the mean of the second map. So for an image x the layer ``relu`` holds
    max(x, 0) and max(-x, 0), and the scores are mean(x) and 2 mean(max(-x, 0)).
    """

    def __init__(
        self,
        filters: Sequence[object] = ([[[1.0]]], [[[-1.0]]]),
        head: Sequence[Sequence[float]] = ((1.0, -1.0), (0.0, 2.0)),
        padding: int = 0,
        inplace: bool = False,
        bias: float = 0.0,
    ) -> None:
        super().__init__()
        kernel = torch.tensor(filters, dtype=torch.float64)
        self.conv = nn.Conv2d(kernel.shape[1], len(kernel), kernel.shape[2:], padding=padding, dtype=torch.float64)
        self.relu = nn.ReLU(inplace)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(len(kernel), len(head), bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.conv.weight.copy_(kernel)
            nn.init.constant_(self.conv.bias, bias)
            self.fc.weight.copy_(torch.tensor(head, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.relu(self.conv(x))).flatten(1))


class Awkward(nn.Module):
    """What hooks stumble over: ReLU in place as module and as function, a module that runs twice, BatchNorm, dropout.

    ``twice`` runs two times, ``asleep`` never; with ``broken`` the forward pass raises after the first layers.
    """

    def __init__(self, channels: int = 3, classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.twice = nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.asleep = nn.Conv2d(8, 8, 1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, classes)
        self.broken = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        x = self.relu(self.twice(x))
        x = self.relu(self.twice(x))
        if self.broken:
            raise RuntimeError("broken on purpose")
        x = F.relu(self.last(x), inplace=True)
        return self.fc(self.drop(x.mean((2, 3))))


def random_image(channels: int = 3, size: int = 16, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """(C, S, S) of standard normal numbers."""
    return torch.randn(channels, size, size, generator=torch.Generator().manual_seed(seed)).to(dtype)


def awkward(seed: int = 0) -> Awkward:
    """An :class:`Awkward` with fixed random weights and statistics, in train mode, one parameter frozen."""
    generator = torch.Generator().manual_seed(seed)
    model = Awkward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        model.norm.running_mean.copy_(torch.randn(6, generator=generator) * 0.1)
        model.norm.running_var.copy_(torch.rand(6, generator=generator) + 0.5)
    model.first.bias.requires_grad_(False)
    model.drop.eval()
    return model


def hooks_of(model: nn.Module) -> int:
    """How many hooks are on the model's modules."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def state_of(model: nn.Module) -> dict[str, object]:
    """Everything about a model that an explanation must leave as it is; compare two with ==."""
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": hooks_of(model),
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "grads": [None if p.grad is None else (id(p.grad), p.grad.sum().item()) for p in model.parameters()],
        "values": [(id(value), value.double().sum().item()) for value in model.state_dict(keep_vars=True).values()],
        "random": torch.get_rng_state().tolist(),
    }
