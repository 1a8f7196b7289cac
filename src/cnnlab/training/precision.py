"""Which precision and memory layout are fastest here? Measured, not guessed.

A network is timed for a moment with fp32 and bf16, with the channels in the second and in the last place, on the
device and batch size of the run. The answer is printed, saved in the run and can be overridden in the recipe.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from cnnlab.hardware import has_fast_bf16, synchronize
from cnnlab.training.recipe import Recipe
from cnnlab.zoo import loss_with_auxiliary

# Leaving fp32 and NCHW has to be worth it: smaller gains are noise of the trial, and would differ from run to run.
WORTHWHILE = 1.1


@dataclass(frozen=True)
class Speed:
    """The settings a run uses.

    Attributes:
        bf16: whether the forward pass runs under bf16 autocast.
        channels_last: whether images and weights are stored NHWC.
        measured: images/s of a training step per setting tried; empty when nothing was measured.
        cut_short: the time did not suffice to try every setting, so the hardware decided.
    """

    bf16: bool = False
    channels_last: bool = False
    measured: dict[str, float] = field(default_factory=dict)
    cut_short: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        """The context that a forward pass runs in."""
        return torch.autocast(device.type, dtype=torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    @property
    def label(self) -> str:
        return f"{'bf16' if self.bf16 else 'fp32'}{' channels_last' if self.channels_last else ''}"

    def describe(self) -> str:
        """One line for the terminal: what is used, and what the alternatives gave."""
        if not self.measured:
            return self.label
        if self.cut_short:
            return f"{self.label} (chosen by the hardware: a trial of every setting would take too long)"
        trials = ", ".join(f"{name} {rate:,.0f}" for name, rate in self.measured.items())
        return f"{self.label} (training images/s in a short trial: {trials})"


def choose_speed(
    recipe: Recipe,
    model: nn.Module,
    input_shape: tuple[int, int, int],
    num_classes: int,
    device: torch.device,
    budget: float = 2.0,
) -> Speed:
    """Decide precision and memory format for ``recipe``, by a trial of at most ``budget`` seconds where it says auto.

    Args:
        recipe: its ``precision`` and ``channels_last`` are obeyed when they are not ``auto``.
        model: the network, on ``device``; it is copied, not changed, and no random state is consumed.
        input_shape: (C, H, W) of an image.
        num_classes: how many outputs the network has.
        device: where it will run.
        budget: seconds for the whole trial.
    """
    precisions = [recipe.precision] if recipe.precision != "auto" else ["fp32", "bf16"][: 1 + has_fast_bf16(device)]
    formats = [recipe.channels_last] if recipe.channels_last != "auto" else [False, True]
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()) and len(formats) > 1:
        formats = [False]  # without a convolution the layout makes no difference
    choices = [Speed(precision == "bf16", bool(last)) for precision in precisions for last in formats]
    if len(choices) == 1:
        return choices[0]
    if Speed(True, True) in choices and len(choices) == 4:
        choices.remove(Speed(True, False))  # never the fastest: bf16 kernels are written for NHWC
    rates: dict[str, float] = {}
    deadline = time.perf_counter() + budget
    for position, choice in enumerate(choices):
        share = (deadline - time.perf_counter()) / (len(choices) - position)
        if share <= 0:
            # One setting took all the time (a large network or a busy machine): go by what the processor can do.
            fast = has_fast_bf16(device) and recipe.precision == "auto"
            best = choices[-1] if fast else choices[0]
            return Speed(best.bf16, best.channels_last, rates, cut_short=True)
        try:
            rates[choice.label] = _images_per_second(
                copy.deepcopy(model), choice, recipe.batch_size, input_shape, num_classes, device, share
            )
        except torch.OutOfMemoryError:
            rates[choice.label] = 0.0  # another setting may need less
    best = choices[0]
    for choice in choices[1:]:
        if rates.get(choice.label, 0.0) > WORTHWHILE * rates.get(best.label, 0.0):
            best = choice
    return Speed(best.bf16, best.channels_last, rates)


def to_memory_format(model: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Store the weights of ``model`` in ``memory_format``, in place."""
    return model.to(memory_format=memory_format)  # type: ignore[call-overload]


def _images_per_second(
    model: nn.Module,
    choice: Speed,
    batch_size: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
    device: torch.device,
    seconds: float,
) -> float:
    """Time training steps for about ``seconds``; the first (memory, kernel choice) does not count.

    The batch grows from 4 images until a step fills a tenth of the time or is as large as the run's: a slow network
    is judged on a small batch, a fast one on the real one.
    """
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    model = to_memory_format(model, choice.memory_format).train()
    step: Callable[[int], float] = lambda n: _timed_step(  # noqa: E731
        model, choice, torch.rand((n, *input_shape), generator=generator), num_classes, device
    )
    n = min(max(batch_size, 2), 4)  # BatchNorm cannot train on a single image
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        took = step(n)
        while n < batch_size and took < seconds / 10 and time.perf_counter() - start < seconds / 2:
            n = min(batch_size, n * 4)
            step(n)
            took = step(n)
        times = [took]
        while time.perf_counter() - start + min(times) < seconds and len(times) < 30:
            times.append(step(n))
    return n / min(times)


def _timed_step(model: nn.Module, choice: Speed, images: torch.Tensor, num_classes: int, device: torch.device) -> float:
    images = images.to(device).contiguous(memory_format=choice.memory_format)
    labels = torch.arange(len(images), device=device) % num_classes
    synchronize(device)
    start = time.perf_counter()
    with choice.autocast(device):
        outputs = model(images)
    loss_with_auxiliary(model, outputs, labels, nn.functional.cross_entropy).backward()
    model.zero_grad()
    synchronize(device)
    return time.perf_counter() - start
