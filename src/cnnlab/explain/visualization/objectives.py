"""What an invented image is to bring about in a network; objectives add, subtract and scale.

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

from torch import Tensor

from cnnlab.errors import UsageError


@dataclass(frozen=True)
class Seen:
    """What an objective may look at: images (N, C, H, W) of 0..1, logits (N, K), and the outputs of its layers."""

    image: Tensor
    logits: Tensor
    layers: Mapping[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """A number that is to grow.

    Attributes:
        name: what it is, for captions.
        compute: from :class:`Seen` to a scalar tensor.
        layers: the dotted names of the layers it looks at.
    """

    name: str
    compute: Callable[[Seen], Tensor]
    layers: tuple[str, ...] = ()

    def __call__(self, seen: Seen) -> Tensor:
        return self.compute(seen)

    def __add__(self, other: Objective) -> Objective:
        return Objective(
            f"{self.name} + {other.name}",
            lambda seen: self(seen) + other(seen),
            tuple(dict.fromkeys((*self.layers, *other.layers))),
        )

    def __mul__(self, factor: float) -> Objective:
        return Objective(f"{factor:g} × {self._grouped}", lambda seen: factor * self(seen), self.layers)

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return Objective(f"−{self._grouped}", lambda seen: -self(seen), self.layers)

    def __sub__(self, other: Objective) -> Objective:
        return Objective(f"{self.name} − {other._grouped}", (self + -other).compute, (self + other).layers)

    @property
    def _grouped(self) -> str:
        return f"({self.name})" if " + " in self.name or " − " in self.name else self.name


def logit(index: int, name: str = "") -> Objective:
    """The score of class ``index`` before softmax; ``name`` is what captions call it."""

    def compute(seen: Seen) -> Tensor:
        return _entry(seen.logits, index, "class").mean()

    return Objective(name or f"class {index}", compute)


def channel(layer: str, index: int) -> Objective:
    """The mean of one channel of a layer, wherever in the image."""

    def compute(seen: Seen) -> Tensor:
        return _entry(seen.layers[layer], index, f'channel of "{layer}"').mean()

    return Objective(f"{layer}, channel {index}", compute, (layer,))


def neuron(layer: str, index: int, row: int | None = None, column: int | None = None) -> Objective:
    """One output of a layer: channel ``index`` at a row and column, by default in the middle."""

    def compute(seen: Seen) -> Tensor:
        maps = _entry(seen.layers[layer], index, f'channel of "{layer}"')
        if maps.ndim != 3:
            return maps.mean()
        height, width = maps.shape[1:]
        y, x = height // 2 if row is None else row, width // 2 if column is None else column
        if not (0 <= y < height and 0 <= x < width):
            raise UsageError(f'"{layer}" gives maps of {height} x {width}; ({y}, {x}) is outside.')
        return maps[:, y, x].mean()

    place = "" if row is None and column is None else f" at {row}, {column}"
    return Objective(f"{layer}, unit {index}{place}", compute, (layer,))


def energy(layer: str) -> Objective:
    """The mean square of all outputs of a layer: whatever it sees, more of it (what deep dream maximises)."""
    return Objective(f"everything in {layer}", lambda seen: seen.layers[layer].square().mean(), (layer,))


def l2() -> Objective:
    """The mean square distance of the pixels from mid-grey; subtract it to keep colours pale."""
    return Objective("L2", lambda seen: (seen.image - 0.5).square().mean())


def total_variation() -> Objective:
    """The mean difference between neighbouring pixels; subtract it to keep the image smooth."""

    def compute(seen: Seen) -> Tensor:
        down, across = seen.image.diff(dim=2), seen.image.diff(dim=3)
        return down.abs().mean() + across.abs().mean()

    return Objective("total variation", compute)


def _entry(values: Tensor, index: int, what: str) -> Tensor:
    """Channel ``index`` of (N, C), (N, C, H, W), or of tokens (N, T, C)."""
    dim = 2 if values.ndim == 3 else 1
    if not 0 <= index < values.shape[dim]:
        raise UsageError(f"There is no {what} with number {index}: there are {values.shape[dim]}, from 0.")
    return values.select(dim, index)
