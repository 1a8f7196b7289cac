"""Objectives of feature visualisation: quantities of a network that are to grow. They add, subtract and scale.

::

    logit(84)                                            # looks like a peacock
    channel("blocks.3", 7) - 0.5 * channel("blocks.3", 9)    # excites one channel and not another
    logit(84) - 2 * total_variation()                    # ... and is smooth

D. Erhan et al.: Visualizing higher-layer features of a deep network, 2009 (maximise a unit); K. Simonyan et al.: Deep
inside convolutional networks, 2013, https://arxiv.org/abs/1312.6034 (maximise the score of a class, not its
probability, which also grows when the others fall).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cnnlab.errors import ModelError, UsageError
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.explain.probe import Probe
from cnnlab.tracing.hooks import recording


@dataclass(frozen=True)
class Observation:
    """The quantities that an objective is computed from.

    Attributes:
        image: the images (N, C, H, W) of 0..1.
        logits: the logits (N, K).
        layers: dotted name of a layer -> its output.
    """

    image: Tensor
    logits: Tensor
    layers: Mapping[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """A quantity that is to grow.

    Attributes:
        name: the name of the objective, for captions.
        compute: a function from :class:`Observation` to a scalar tensor.
        layers: the dotted names of the layers whose outputs it uses.
    """

    name: str
    compute: Callable[[Observation], Tensor]
    layers: tuple[str, ...] = ()

    def __call__(self, observed: Observation) -> Tensor:
        return self.compute(observed)

    def measure(self, probe: Probe, pixels: PixelRange, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run a network on an image (1, C, H, W) of 0..1; return the objective, a scalar, and the logits (1, K).

        Args:
            probe: the network.
            pixels: the values of black and white in its input.
            image: the image.

        Raises:
            ModelError: the network cannot take the image, or the objective is not finite.
        """
        with recording(probe.model, self.layers) as layers:
            logits = probe.run(pixels.from_unit(image))
        value = self(Observation(image, logits, layers))
        if not torch.isfinite(value).all():
            raise ModelError(f"The objective ({self.name}) became {float(value)}. Try a smaller rate.")
        return value, logits

    def __add__(self, other: Objective) -> Objective:
        return Objective(
            f"{self.name} + {other.name}",
            lambda observed: self(observed) + other(observed),
            tuple(dict.fromkeys((*self.layers, *other.layers))),
        )

    def __mul__(self, factor: float) -> Objective:
        return Objective(f"{factor:g} × {self._grouped}", lambda observed: factor * self(observed), self.layers)

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return Objective(f"−{self._grouped}", lambda observed: -self(observed), self.layers)

    def __sub__(self, other: Objective) -> Objective:
        return Objective(f"{self.name} − {other._grouped}", (self + -other).compute, (self + other).layers)

    @property
    def _grouped(self) -> str:
        return f"({self.name})" if " + " in self.name or " − " in self.name else self.name


def logit(index: int, name: str = "") -> Objective:
    """Return the logit of the class ``index``; ``name`` stands in captions."""

    def compute(observed: Observation) -> Tensor:
        return _entry(observed.logits, index, "class").mean()

    return Objective(name or f"class {index}", compute)


def channel(layer: str, index: int) -> Objective:
    """Return the mean of one channel of a layer over all positions."""

    def compute(observed: Observation) -> Tensor:
        return _entry(observed.layers[layer], index, f'channel of "{layer}"').mean()

    return Objective(f"{layer}, channel {index}", compute, (layer,))


def neuron(layer: str, index: int, row: int | None = None, column: int | None = None) -> Objective:
    """Return one output of a layer: channel ``index`` at a row and column, by default in the middle."""

    def compute(observed: Observation) -> Tensor:
        maps = _entry(observed.layers[layer], index, f'channel of "{layer}"')
        if maps.ndim != 3:
            return maps.mean()
        height, width = maps.shape[1:]
        y, x = height // 2 if row is None else row, width // 2 if column is None else column
        if not (0 <= y < height and 0 <= x < width):
            raise UsageError(f'"{layer}" gives maps of {height} x {width}; ({y}, {x}) is outside.')
        return maps[:, y, x].mean()

    position = "" if row is None and column is None else f" at {row}, {column}"
    return Objective(f"{layer}, unit {index}{position}", compute, (layer,))


def energy(layer: str) -> Objective:
    """Return the mean square of all outputs of a layer, which deep dream maximises."""
    return Objective(f"everything in {layer}", lambda observed: observed.layers[layer].square().mean(), (layer,))


def l2() -> Objective:
    """Return the mean square distance of the pixels from mid-grey; subtracted, it keeps colours pale."""
    return Objective("L2", lambda observed: (observed.image - 0.5).square().mean())


def total_variation() -> Objective:
    """Return the mean difference between neighbouring pixels; subtracted, it keeps the image smooth."""

    def compute(observed: Observation) -> Tensor:
        down, across = observed.image.diff(dim=2), observed.image.diff(dim=3)
        return down.abs().mean() + across.abs().mean()

    return Objective("total variation", compute)


def _entry(values: Tensor, index: int, what: str) -> Tensor:
    """Return channel ``index`` of outputs (N, C), (N, C, H, W), or of tokens (N, T, C)."""
    dim = 2 if values.ndim == 3 else 1
    if not 0 <= index < values.shape[dim]:
        raise UsageError(f"There is no {what} with number {index}: there are {values.shape[dim]}, from 0.")
    return values.select(dim, index)
