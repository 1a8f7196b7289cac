"""Deep dream: show a network an image, and give it more of whatever it sees in it.

A. Mordvintsev, C. Olah, M. Tyka: Inceptionism, 2015, https://research.google/blog/inceptionism-going-deeper-into-neural-networks.
Gradient ascent starts from the image, small at first, then larger and larger (octaves): what a network finds in a small
image becomes a large form, to which each octave adds finer ones. Shifting the image at every step hides the grid of the
network's strides.
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

from cnnlab.errors import ModelError, UsageError
from cnnlab.explain.drawable import Drawable
from cnnlab.explain.pixel_range import Channels, PixelRange
from cnnlab.explain.probe import Probe, gradients_of
from cnnlab.explain.visualization.objectives import Objective, Seen, energy
from cnnlab.explain.visualization.transforms import jitter
from cnnlab.tracing.hooks import recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Dream(Drawable):
    """An image and what a network dreamed into it.

    Attributes:
        image: float32 (C, H, W), as the network takes it.
        pictures: before and after as people see them, float32 (H, W, 3) or (H, W) of 0..1.
        objective: what there was to be more of.
        history: its value before each step, over all octaves.
        sizes: (height, width) of each octave.
        seconds: it took.
    """

    image: Array
    pictures: tuple[Array, Array]
    objective: str
    history: tuple[float, ...]
    sizes: tuple[tuple[int, int], ...]
    seconds: float

    def figure(self) -> Figure:
        """Draw the image before and after."""
        from cnnlab import figures

        return figures.before_and_after(*self.pictures, f"more of {self.objective}")


def dream(
    model: nn.Module,
    image: Any,
    what: str | Objective,
    *,
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 10,
    rate: float = 0.01,
    shift: int = 16,
    seed: int = 0,
    mean: Channels | None = None,
    std: Channels | None = None,
    bounds: tuple[Channels, Channels] | None = None,
) -> Dream:
    """Change an image so that a network sees more of what it sees in it already.

    Args:
        model: any network that takes images of several sizes; it is left as it was. Layers early in it dream of strokes
            and eyes, late ones of things.
        image: (C, H, W) or (1, C, H, W), normalised as the network takes it; it may be larger than in training.
        what: dotted name of a layer, all of whose outputs are to grow; or an objective, such as ``logit(84)``.
        octaves: how many sizes, the last of which is the image's. Those below 32 pixels are left out.
        ratio: of the sizes of one octave and the next.
        steps: in each octave.
        rate: by how much the mean pixel changes in a step, as a share of the pixel range.
        shift: how far the image is shifted at most, in pixels.
        seed: of the shifts.
        mean, std: how the image was normalised; or ``bounds``, the lowest and the highest value of each channel.

    Raises:
        UnknownNameError: there is no such layer.
        UsageError: an option that makes no sense, or an image outside the range.
        ModelError: the network cannot take the image in these sizes.
    """
    begun = time.perf_counter()
    if octaves < 1 or steps < 1:
        raise UsageError(f"octaves is {octaves} and steps {steps}; both must be at least 1.")
    if not ratio > 1 or not rate > 0:
        raise UsageError(f"ratio is {ratio} and rate {rate}; ratio must be above 1 and rate above 0.")
    objective = energy(what) if isinstance(what, str) else what
    probe = Probe(model, image)
    given = probe.image
    pixels = PixelRange.of(given.shape[1], mean, std, bounds, given)
    pixels.check(given)
    original = pixels.to_unit(given).clamp(0, 1)
    sizes = octave_sizes(original.shape[2:], octaves, ratio)
    generator, move, history = torch.Generator().manual_seed(seed), jitter(shift), []

    def gradient_at(now: Tensor) -> Tensor:
        now = now.detach().requires_grad_()
        with recording(model, objective.layers) as layers:
            logits = probe.run(pixels.from_unit(move(now, generator)))
        value = objective(Seen(now, logits, layers))
        history.append(float(value.detach()))
        (gradient,) = gradients_of(value, [now])
        if gradient is None:
            raise ModelError(f"The objective ({objective.name}) does not depend on the image.")
        return gradient

    detail = torch.zeros_like(original)
    with probe.session():
        for size in sizes:
            base = _resized(original, size)
            now = (base + _resized(detail, size)).clamp(0, 1)
            for _ in range(steps):
                gradient = gradient_at(now)
                now = (now + rate * gradient / gradient.abs().mean().clamp_min(1e-20)).clamp(0, 1)
            detail = now - base
    result = pixels.from_unit(now)
    return Dream(
        image=pixels.clip(result)[0].float().cpu().numpy(),
        pictures=(pixels.picture(given), pixels.picture(result)),
        objective=objective.name,
        history=tuple(history),
        sizes=sizes,
        seconds=time.perf_counter() - begun,
    )


def octave_sizes(size: tuple[int, ...], octaves: int, ratio: float) -> tuple[tuple[int, int], ...]:
    """Return (height, width) of each octave, the smallest first; the last is ``size``."""
    height, width = size
    found = [(round(height / ratio**k), round(width / ratio**k)) for k in reversed(range(octaves))]
    return tuple(each for each in found if min(each) >= 32 or each == (height, width))


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
