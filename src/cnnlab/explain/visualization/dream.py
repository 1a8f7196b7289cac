"""Deep dream: an image is changed so that the outputs of a layer grow, whatever they stand for.

A. Mordvintsev, C. Olah, M. Tyka: Inceptionism, 2015, https://research.google/blog/inceptionism-going-deeper-into-neural-networks.
Gradient ascent starts from the image at a small size, then at larger and larger ones (octaves): a small image gives
large forms, to which each octave adds finer ones. A shift of the image at every step hides the grid of the network's
strides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnlab import figures
from cnnlab.errors import UsageError
from cnnlab.explain.checks import gradient_of
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.explain.probe import Probe
from cnnlab.explain.visualization.objectives import Objective, Observation, energy
from cnnlab.explain.visualization.transforms import jitter
from cnnlab.figures import Drawable
from cnnlab.tracing.hooks import recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class DreamSettings:
    """The settings of a deep dream.

    Attributes:
        octaves: number of sizes, the last of which is that of the image. Those below 32 pixels are left out.
        ratio: ratio of the sizes of one octave and the next.
        steps: number of steps in each octave.
        rate: mean change of a pixel in a step, as a share of the pixel range.
        shift: largest shift of the image, in pixels.
        seed: the seed of the shifts.

    Raises:
        UsageError: a value that makes no sense.
    """

    octaves: int = 4
    ratio: float = 1.4
    steps: int = 10
    rate: float = 0.01
    shift: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.octaves < 1 or self.steps < 1:
            raise UsageError(f"octaves is {self.octaves} and steps {self.steps}; both must be at least 1.")
        if not self.ratio > 1 or not self.rate > 0:
            raise UsageError(f"ratio is {self.ratio} and rate {self.rate}; ratio must be above 1 and rate above 0.")


@dataclass(frozen=True, eq=False)
class Dream(Drawable):
    """The result of a deep dream.

    Attributes:
        image: float32 (C, H, W), the changed image as the network takes it.
        pictures: the images before and after as people see them, float32 (H, W, 3) or (H, W) of 0..1.
        objective: the name of the objective that grew.
        history: the value of the objective before each step, over all octaves.
        sizes: height and width of each octave in pixels.
        seconds: the time that it took, in seconds.
    """

    image: Array
    pictures: tuple[Array, Array]
    objective: str
    history: tuple[float, ...]
    sizes: tuple[tuple[int, int], ...]
    seconds: float

    def figure(self) -> Figure:
        """Draw the image before and after."""
        return figures.before_and_after(*self.pictures, f"more of {self.objective}")


def dream(
    model: nn.Module, image: Any, what: str | Objective, *, pixels: PixelRange | None = None, **settings: Any
) -> Dream:
    """Change an image so that the outputs of a layer, or another objective, grow.

    Args:
        model: a network that takes images of several sizes; it is left as it was. Early layers give strokes and eyes,
            late layers give objects.
        image: the image (C, H, W) or (1, C, H, W) as the network takes it; it may be larger than in training.
        what: the dotted name of a layer, the mean square of whose outputs is to grow; or an objective, such as
            ``logit(84)``.
        pixels: the values of black and white in the network's input; 0 and 1 when ``None``.
        settings: the fields of :class:`DreamSettings`: ``octaves``, ``steps``, ``rate``, ``seed``, ...

    Raises:
        UnknownNameError: there is no such layer.
        UsageError: an option that makes no sense, or an image outside the range.
        ModelError: the network cannot take the image in these sizes.
    """
    started, options = time.perf_counter(), DreamSettings(**settings)
    objective = energy(what) if isinstance(what, str) else what
    probe = Probe(model, image)
    values = (pixels or PixelRange()).on(probe.image)
    values.check(probe.image)
    original = values.to_unit(probe.image).clamp(0, 1)
    sizes = octave_sizes(original.shape[2:], options.octaves, options.ratio)
    generator, move = torch.Generator().manual_seed(options.seed), jitter(options.shift)
    history: list[float] = []

    def gradient_at(unit: Tensor) -> Tensor:
        unit = unit.detach().requires_grad_()
        with recording(probe.model, objective.layers) as layers:
            logits = probe.run(values.from_unit(move(unit, generator)))
        value = objective(Observation(unit, logits, layers))
        history.append(float(value.detach()))
        return gradient_of(value, unit, f"objective ({objective.name})")

    detail = torch.zeros_like(original)
    with probe.session():
        for size in sizes:
            base = _resized(original, size)
            unit = (base + _resized(detail, size)).clamp(0, 1)
            for _ in range(options.steps):
                gradient = gradient_at(unit)
                unit = (unit + options.rate * gradient / gradient.abs().mean().clamp_min(1e-20)).clamp(0, 1)
            detail = unit - base
    result = values.from_unit(unit)
    return Dream(
        image=values.clip(result)[0].float().cpu().numpy(),
        pictures=(values.picture(probe.image), values.picture(result)),
        objective=objective.name,
        history=tuple(history),
        sizes=sizes,
        seconds=time.perf_counter() - started,
    )


def octave_sizes(size: tuple[int, ...], octaves: int, ratio: float) -> tuple[tuple[int, int], ...]:
    """Return (height, width) of each octave in pixels, the smallest first; the last is ``size``."""
    height, width = size
    sizes = [(round(height / ratio**k), round(width / ratio**k)) for k in reversed(range(octaves))]
    return tuple(each for each in sizes if min(each) >= 32 or each == (height, width))


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
