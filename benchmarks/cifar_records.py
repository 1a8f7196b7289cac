"""The fastest public trainings to 94 % on CIFAR-10, written anew for any device from their published methods.

- ``airbench94`` and ``airbench94_muon``: Keller Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024,
  https://arxiv.org/abs/2404.00498, and https://github.com/KellerJordan/cifar10-airbench (MIT licence), where the second
  one replaces SGD and Lookahead by Muon.
- ``hiverge``: https://github.com/hiverge/cifar10-speedrun, which changes the second one's settings, normalises the
  weights now and then only, jitters brightness and contrast, and looks at uncertain test images from more sides.

The methods and every number of theirs are kept: network, initialisation, augmentation, batches, optimizers, schedules,
test-time augmentation. What differs is what the device asks for: bf16 autocast with channels_last where bf16 is fast
and fp32 elsewhere, instead of fp16 on a GPU, and no compilation, whose time they do not count either.

:func:`train` is a generator of the seconds and the accuracies; ``benchmarks/speed_cifar.py`` runs it beside cnnlab's
recipe.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
NEWTON_SCHULZ = {"airbench94_muon": (3.4445, -4.7750, 2.0315), "hiverge": (3.4576, -4.7391, 2.0843)}


@dataclass(frozen=True)
class Record:
    """The settings of one of the trainings.

    Attributes:
        epochs, batch: length of the training and images of a step; an epoch leaves the incomplete batch out.
        smoothing: label smoothing.
        momentum: Nesterov momentum of SGD.
        bn_momentum: share of the old statistics that BatchNorm keeps.
        activation: activation after the normalisations.
        whiten_images: images from which the first layer is computed.
        whiten_epochs: epochs for which the bias of the first layer learns.
        filter_lr, filter_momentum: Muon's learning rate and momentum; None for SGD everywhere.
        norm_every: steps between two normalisations of the filters.
        bias_lr, head_lr: learning rates of SGD, for losses that are summed over the batch.
        decay: weight decay times learning rate, of SGD, per image of a batch.
        decay_filters: whether the filters decay too.
        jitter: largest change of brightness and of contrast.
        uncertain: share of the test images that are looked at from all sides, the least certain ones.
    """

    epochs: float
    batch: int
    smoothing: float
    momentum: float
    bn_momentum: float = 0.6
    activation: type[nn.Module] = nn.GELU
    whiten_images: int = 5000
    whiten_epochs: float = 3.0
    filter_lr: float | None = None
    filter_momentum: float = 0.0
    norm_every: int = 1
    bias_lr: float = 0.0
    head_lr: float = 0.0
    decay: float = 0.0
    decay_filters: bool = False
    jitter: tuple[float, float] | None = None
    uncertain: float = 1.0


RECORDS = {
    "airbench94": Record(epochs=9.9, batch=1024, smoothing=0.2, momentum=0.85),
    "airbench94_muon": Record(
        epochs=8, batch=2000, smoothing=0.2, momentum=0.85, filter_lr=0.24, filter_momentum=0.6,
        bias_lr=0.053, head_lr=0.67, decay=2e-6,
    ),
    "hiverge": Record(
        epochs=7.63, batch=1536, smoothing=0.09, momentum=0.825, bn_momentum=0.5566, activation=nn.SiLU,
        whiten_images=960, whiten_epochs=0.19, filter_lr=0.205, filter_momentum=0.655, norm_every=8,
        bias_lr=0.0573, head_lr=0.5415, decay=1.0418e-6, decay_filters=True, jitter=(0.1399, 0.1308), uncertain=0.2,
    ),
}  # fmt: skip


class Conv(nn.Conv2d):
    """A 3x3 convolution whose first filters are the identity."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(in_channels, channels, 3, padding=1, bias=False)
        nn.init.dirac_(self.weight.data[:in_channels])


class Net(nn.Module):
    """Whitening, three blocks of two convolutions, and a head whose outputs are scaled down (section 3)."""

    def __init__(self, record: Record, sgd: bool) -> None:
        super().__init__()

        def norm(channels: int) -> nn.BatchNorm2d:
            layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=1 - record.bn_momentum)
            layer.weight.requires_grad_(False)
            return layer

        def block(before: int, channels: int) -> list[nn.Module]:
            first = [Conv(before, channels), nn.MaxPool2d(2), norm(channels), record.activation()]
            return [*first, Conv(channels, channels), norm(channels), record.activation()]

        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad_(False)
        self.blocks = nn.Sequential(nn.GELU(), *block(24, 64), *block(64, 256), *block(256, 256), nn.MaxPool2d(3))
        self.head = nn.Linear(256, 10, bias=False)
        self.scale = 1 / 9 if sgd else 1 / 256
        if sgd:
            nn.init.zeros_(self.whiten.bias)  # type: ignore[arg-type]
        else:
            self.head.weight.data /= self.head.weight.data.std()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.whiten(x)).flatten(1)) * self.scale

    @torch.no_grad()
    def set_whitening(self, images: Tensor, eps: float = 5e-4) -> None:
        """Take the eigenvectors of the 2x2 patches, scaled to variance 1, and their negatives as filters."""
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).float()
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / (values + eps).sqrt()).T.reshape(12, 3, 2, 2)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))


def orthogonalised(
    matrix: Tensor, coefficients: tuple[float, float, float], dtype: torch.dtype, steps: int = 3
) -> Tensor:
    """Return nearly the nearest orthogonal matrix, by a few Newton-Schulz iterations in ``dtype``."""
    a, b, c = coefficients
    x = matrix.to(dtype)
    x = x / (x.norm() + 1e-7)
    tall = len(x) > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Images:
    """Normalised images on the device, and their augmentation for a whole epoch at a time."""

    def __init__(self, pixels: Tensor, device: torch.device, dtype: torch.dtype) -> None:
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        images = ((pixels.float() / 255 - mean) / std).to(device, dtype)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.padded: Tensor | None = None

    def epoch(self, number: int, jitter: tuple[float, float] | None) -> Tensor:
        """Return the images of an epoch: shifted by up to 2 pixels, and mirrored every other epoch (section 3.6)."""
        count, device = len(self.images), self.images.device
        if self.padded is None:
            flip = torch.rand(count, device=device) < 0.5
            flipped = torch.where(flip[:, None, None, None], self.images.flip(3), self.images)
            self.padded = F.pad(flipped, (2, 2, 2, 2), "reflect")
        shifts = torch.randint(0, 5, (count, 2), device=device)
        images = torch.empty_like(self.images)
        for y in range(5):
            for x in range(5):
                chosen = ((shifts == torch.tensor([y, x], device=device)).all(1)).nonzero().squeeze(1)
                images[chosen] = self.padded[chosen, :, y : y + 32, x : x + 32]
        if number % 2:
            images = images.flip(3)
        if jitter:
            brightness, contrast = (torch.rand(count, 1, 1, 1, device=device) * 2 - 1 for _ in range(2))
            images = (images + (jitter[0] * brightness).to(images)) * (1 + jitter[1] * contrast).to(images)
        return images


def train(
    name: str,
    train_set: tuple[Tensor, Tensor],
    test_set: tuple[Tensor, Tensor],
    device: torch.device,
    bf16: bool,
) -> Iterator[dict[str, Any]]:
    """Train once; yield the seconds and the loss after every epoch, and at the end the accuracies.

    Args:
        name: the name of a record.
        train_set, test_set: pixels uint8 (N, 3, 32, 32) and labels (N,).
        device: the device on which the network computes.
        bf16: whether it computes in bf16 there.
    """
    record = RECORDS[name]
    sgd = record.filter_lr is None
    dtype = torch.bfloat16 if bf16 else torch.float32
    precision: AbstractContextManager[Any] = torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()
    data, labels = Images(train_set[0], device, dtype), train_set[1].to(device)
    test, test_labels = Images(test_set[0], device, dtype), test_set[1].to(device)
    model = Net(record, sgd).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    start = time.perf_counter()
    model.set_whitening(data.images[: record.whiten_images])
    per_epoch = len(labels) // record.batch
    total = math.ceil(record.epochs * per_epoch)
    step_rule = _SgdWithLookahead(model, record, total) if sgd else _Muon(name, model, total, per_epoch, dtype)
    model.train()
    for epoch in range(math.ceil(total / per_epoch)):
        images, order = data.epoch(epoch, record.jitter), torch.randperm(len(labels), device=device)
        for place in range(min(per_epoch, total - epoch * per_epoch)):
            chosen = order[place * record.batch : (place + 1) * record.batch]
            batch = images[chosen].contiguous(memory_format=torch.channels_last)
            with precision:
                logits = model(batch)
            loss = F.cross_entropy(logits.float(), labels[chosen], label_smoothing=record.smoothing, reduction="sum")
            loss.backward()
            step_rule.step(epoch * per_epoch + place)
        step_rule.end_of_epoch()
        yield {"epoch": epoch + 1, "seconds": time.perf_counter() - start, "loss": float(loss.detach()) / record.batch}
    model.eval()
    with torch.no_grad(), precision:
        plain = torch.cat([model(part).float() for part in test.images.split(500)])
        logits = plain.clone()
        certainty = plain.softmax(1).amax(1)
        for part in certainty.argsort()[: int(record.uncertain * len(plain))].split(500):
            logits[part] = views(model, test.images[part], plain[part], equal=record.uncertain < 1)
    yield {
        "seconds": time.perf_counter() - start,
        "accuracy": float((plain.argmax(1) == test_labels).double().mean()),
        "accuracy_tta": float((logits.argmax(1) == test_labels).double().mean()),
        "logits": logits.cpu(),
        "plain_logits": plain.cpu(),
    }


def views(model: nn.Module, images: Tensor, plain: Tensor, equal: bool) -> Tensor:
    """Return the mean logits of six views: mirrored or not, in place or shifted by a pixel along the diagonal.

    Args:
        model: the network, in eval mode.
        images: images (n, 3, 32, 32).
        plain: the logits (n, 10) of the images as they are, which is one of the views.
        equal: whether the views count alike; otherwise those in place count twice as much as each shifted one.
    """
    padded = F.pad(images, (1, 1, 1, 1), "reflect")
    up_left, down_right = padded[:, :, :32, :32], padded[:, :, 2:, 2:]
    in_place, shifted = (1 / 6, 1 / 6) if equal else (1 / 4, 1 / 8)
    logits = in_place * plain
    others = ((images.flip(3), in_place), *((side, shifted) for v in (up_left, down_right) for side in (v, v.flip(3))))
    for view, weight in others:
        logits = logits + weight * model(view.contiguous(memory_format=torch.channels_last)).float()
    return logits


class _SgdWithLookahead:
    """SGD with larger rates for the biases, a triangular schedule, Lookahead with a growing memory (section 3.3)."""

    def __init__(self, model: Net, record: Record, total: int) -> None:
        scale = 1024 * (1 + 1 / (1 - record.momentum))
        lr, decay = 11.5 / scale, 0.0153 * record.batch / scale
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        biases = [p for name, p in named if name.startswith("blocks") and p.ndim == 1]
        others = [p for name, p in named if not (name.startswith("blocks") and p.ndim == 1)]
        groups = [
            {"params": biases, "lr": 64 * lr, "weight_decay": decay / (64 * lr)},
            {"params": others, "lr": lr, "weight_decay": decay / lr},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=lr, momentum=record.momentum, nesterov=True)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.model, self.record, self.total = model, record, total
        self.memory: dict[str, Tensor] | None = None
        self.steps = self.epochs = 0

    def step(self, step: int) -> None:
        """Make step number ``step``."""
        peak = int(0.23 * self.total)
        share = 0.2 + 0.8 * step / peak if step < peak else 1 - 0.93 * (step - peak) / (self.total - peak)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)
        self.steps += 1
        if self.epochs >= 3 and self.steps % 5 == 0:
            self._remember(0.95**5 * (self.steps / self.total) ** 3)

    def end_of_epoch(self) -> None:
        """Continue from the remembered weights; the bias of the first layer learns for three epochs."""
        if self.memory is not None:
            self._remember(1.0)
        self.epochs += 1
        if self.epochs >= self.record.whiten_epochs:
            self.model.whiten.bias.requires_grad_(False)  # type: ignore[union-attr]

    @torch.no_grad()
    def _remember(self, decay: float) -> None:
        state = {name: value for name, value in self.model.state_dict().items() if value.is_floating_point()}
        if self.memory is None:
            self.memory = {name: value.clone() for name, value in state.items()}
            return
        for name, value in state.items():
            self.memory[name].lerp_(value, 1 - decay)
            value.copy_(self.memory[name])


class _Muon:
    """Orthogonal steps for filters that are kept at one norm, SGD for the rest; all rates fall to zero linearly."""

    def __init__(self, name: str, model: Net, total: int, per_epoch: int, dtype: torch.dtype) -> None:
        record = RECORDS[name]
        decay = record.decay * record.batch
        norms = [p for p in model.blocks.parameters() if p.ndim == 1 and p.requires_grad]
        self.filters = [p for p in model.blocks.parameters() if p.ndim == 4]
        groups = [
            {"params": [model.whiten.bias], "lr": record.bias_lr, "weight_decay": decay / record.bias_lr},
            {"params": norms, "lr": record.bias_lr, "weight_decay": decay / record.bias_lr},
            {"params": [model.head.weight], "lr": record.head_lr, "weight_decay": decay / record.head_lr},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=record.bias_lr, momentum=record.momentum, nesterov=True)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.sums = [torch.zeros_like(p) for p in self.filters]
        self.coefficients, self.dtype = NEWTON_SCHULZ[name], dtype
        self.model, self.record, self.total, self.decay = model, record, total, decay
        self.whiten_steps = math.ceil(record.whiten_epochs * per_epoch)

    @torch.no_grad()
    def step(self, step: int) -> None:
        """Make step number ``step``."""
        share = 1 - step / self.total
        shares = [max(0.0, 1 - step / self.whiten_steps), share, share]
        for group, rate, part in zip(self.optimizer.param_groups, self.rates, shares, strict=True):
            group["lr"] = rate * part
        self.optimizer.step()
        assert self.record.filter_lr is not None
        lr, momentum = self.record.filter_lr * share, self.record.filter_momentum
        for weights, running in zip(self.filters, self.sums, strict=True):
            assert weights.grad is not None
            running.mul_(momentum).add_(weights.grad)
            direction = weights.grad.add(running, alpha=momentum)
            if (step + 1) % self.record.norm_every == 0:
                weights.mul_(len(weights) ** 0.5 / weights.norm())
            update = orthogonalised(direction.flatten(1), self.coefficients, self.dtype)
            weights.add_(update.view_as(weights).to(weights), alpha=-lr)
            if self.record.decay_filters:
                weights.mul_(1 - lr * self.decay)
        self.model.zero_grad(set_to_none=True)
        if step + 1 >= self.whiten_steps:  # spares the gradients of everything before the first filters, as theirs does
            self.model.whiten.bias.requires_grad_(False)  # type: ignore[union-attr]

    def end_of_epoch(self) -> None:
        """Do nothing."""
