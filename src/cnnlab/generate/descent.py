"""Gradient descent on the pixels of an image, from small to large.

Large structures form in few steps at small sizes, and each stage begins with the enlarged image of the one before.
Adam's moments of each pixel are enlarged with the image, and the result is a moving average of the iterates, which
reduces the noise of the steps. All three are as in K. Crowson's style-transfer-pytorch
(https://github.com/crowsonkb/style-transfer-pytorch), whose sizes grow by the square root of 2 too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cnnlab.errors import DivergedError, ModelError, UsageError
from cnnlab.generate.events import Event, Finished, Size, Started, StepDone
from cnnlab.generate.extractor import Extractor
from cnnlab.hardware import out_of_memory

Losses = Mapping[str, Tensor]
Objective = Callable[[Tensor], Losses]
"""A function from an image (1, C, H, W) of 0..1 to the weighted terms of the loss, scalars."""


@dataclass(frozen=True)
class Descent:
    """The settings of gradient descent on an image.

    Attributes:
        size: length of the longer side of the result, in pixels.
        smallest: length of the longer side in the first stage, in pixels.
        steps: number of steps in each stage after the first.
        first_steps: number of steps in the first stage.
        rate: learning rate of Adam, for pixels within 0..1.
        averaging: decay of the moving average of the iterates; 0 for no averaging.
        carry_moments: whether Adam's moments are enlarged with the image; else they start at 0 in each stage.
        seed: the seed of a start from noise.

    Raises:
        UsageError: a value is out of its range.
    """

    size: int = 512
    smallest: int = 128
    steps: int = 80
    first_steps: int = 160
    rate: float = 0.02
    averaging: float = 0.9
    carry_moments: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.size, self.smallest, self.steps, self.first_steps) < 1:
            raise UsageError(
                f"size {self.size}, smallest {self.smallest}, steps {self.steps} and first_steps {self.first_steps} "
                "must all be at least 1."
            )
        if not (self.rate > 0 and 0 <= self.averaging < 1):
            raise UsageError(f"rate is {self.rate} and averaging {self.averaging}; expected above 0, and 0 to below 1.")

    @property
    def sides(self) -> tuple[int, ...]:
        """The longer side of the image in each stage, in pixels: ``size`` divided by powers of the root of 2."""
        smallest, sides, side = min(self.smallest, self.size), [self.size], self.size / math.sqrt(2)
        while round(side) >= smallest:
            sides.append(round(side))
            side /= math.sqrt(2)
        return tuple(reversed(sides))


@dataclass(frozen=True, eq=False)
class Job:
    """The task of making an image: where it starts, and what is minimised at each size.

    Attributes:
        start: a function from a size to the image with which the first stage begins, (1, C, H, W) of 0..1.
        shape: height and width of the result in pixels.
        objective: a function from a size to the :data:`Objective` that is minimised at that size.
        extractor: the extractor of the layer outputs that the objective compares.
        descent: the settings of the optimisation.
        finish: a function from the optimised image to the result, (1, C, H, W) of 0..1 both.
    """

    start: Callable[[Size], Tensor]
    shape: Size
    objective: Callable[[Size], Objective]
    extractor: Extractor
    descent: Descent
    finish: Callable[[Tensor], Tensor] = lambda image: image

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Height and width of the image in each stage, in pixels."""
        return tuple(scaled(self.shape, side) for side in self.descent.sides)

    @property
    def steps(self) -> tuple[int, ...]:
        """The number of steps in each stage."""
        return (self.descent.first_steps, *[self.descent.steps] * (len(self.sizes) - 1))


class Canvas:
    """An image that Adam optimises, and the moving average of its iterates.

    Args:
        image: the image to begin with, (1, C, H, W) of 0..1.
        descent: the settings.
    """

    def __init__(self, image: Tensor, descent: Descent) -> None:
        self.descent = descent
        self.pixels = image.detach().clone().requires_grad_()
        self.adam = self._adam()
        self._sum, self._weight = torch.zeros_like(image), 0.0

    def _adam(self) -> torch.optim.Adam:
        return torch.optim.Adam([self.pixels], lr=self.descent.rate, betas=(0.9, 0.99))

    def step(self, objective: Objective) -> Losses:
        """Make a step of Adam on the pixels, which stay within 0..1.

        Args:
            objective: the function whose terms are summed and minimised.

        Returns:
            The terms of the loss before the step, detached scalars.

        Raises:
            DivergedError: the loss is not finite; the image is unchanged.
            ModelError: the memory does not suffice.
        """
        with torch.inference_mode(False), torch.enable_grad():
            try:
                losses = objective(self.pixels)
                loss = torch.stack(list(losses.values())).sum()
                if not torch.isfinite(loss):
                    raise DivergedError(f"The loss became {float(loss.detach())}. Lower the rate or a weight.")
                (self.pixels.grad,) = torch.autograd.grad(loss, [self.pixels])
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                height, width = self.pixels.shape[2:]
                side = max(32, int(max(height, width) / math.sqrt(2)))
                raise ModelError(
                    f"The memory does not suffice for {width} x {height} pixels. Try {side} pixels (--size {side})."
                ) from None
        self.adam.step()
        with torch.no_grad():
            self.pixels.clamp_(0, 1)
            past = self.descent.averaging
            self._sum = past * self._sum + (1 - past) * self.pixels
            self._weight = past * self._weight + 1 - past
        return {name: value.detach() for name, value in losses.items()}

    def image(self) -> Tensor:
        """Return the average of the iterates of this stage, (1, C, H, W) of 0..1."""
        return (self._sum / self._weight).clamp(0, 1) if self._weight else self.pixels.detach().clone()

    def resize(self, size: Size) -> None:
        """Go on at another size, from the average of the iterates; at the same size nothing happens."""
        if self.pixels.shape[2:] == size:
            return
        state = self.adam.state[self.pixels]
        self.pixels = resized(self.image(), size).requires_grad_()
        self.adam = self._adam()
        if self.descent.carry_moments and state:
            moments = {
                "step": state["step"].clone(),
                "exp_avg": F.interpolate(state["exp_avg"], size=size, mode="bicubic"),
                "exp_avg_sq": F.interpolate(state["exp_avg_sq"], size=size, mode="bilinear").clamp_min(0),
            }
            self.adam.state[self.pixels].update(moments)
        self._sum, self._weight = torch.zeros_like(self.pixels), 0.0


def optimise(job: Job) -> Iterator[Event]:
    """Make an image; yield an event at the start, after every step, and at the end.

    Closing the generator stops the optimisation; the last event then has the image so far.

    Args:
        job: the image to make.

    Raises:
        DivergedError: the loss is not finite.
        ModelError: the memory does not suffice, or the network cannot take an image of such a size.
    """
    started, done = time.perf_counter(), 0
    yield Started(job.sizes, sum(job.steps))
    canvas = Canvas(job.start(job.sizes[0]), job.descent)
    for size, steps in zip(job.sizes, job.steps, strict=True):
        canvas.resize(size)
        objective = job.objective(size)
        for _ in range(steps):
            losses = canvas.step(objective)
            done += 1
            yield StepDone(done, size, losses, lambda: job.finish(canvas.image()))
    values = {name: float(value) for name, value in losses.items()}
    yield Finished(job.finish(canvas.image()), values, time.perf_counter() - started)


def scaled(shape: Size, longer: int) -> Size:
    """Return height and width in the proportions of ``shape`` whose longer side is ``longer`` pixels."""
    factor = longer / max(shape)
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def resized(images: Tensor, size: Size) -> Tensor:
    """Return images (N, C, H, W) of 0..1 at another size, antialiased, within 0..1."""
    if images.shape[2:] == size:
        return images.detach().clone()
    return F.interpolate(images.detach(), size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def noise(channels: int, size: Size, seed: int, like: Tensor) -> Tensor:
    """Return mid-grey with Gaussian noise of standard deviation 0.1, (1, channels, H, W) within 0..1.

    Args:
        channels: the number of channels.
        size: height and width in pixels.
        seed: the seed of the noise.
        like: a tensor of the device and precision to use.
    """
    generator = torch.Generator().manual_seed(seed)
    return (0.5 + 0.1 * torch.randn(1, channels, *size, generator=generator)).clamp(0, 1).to(like)
