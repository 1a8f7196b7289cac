"""The answer of every method: a map, and what belongs to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ExplanationFacts:
    """What is known about a method.

    Attributes:
        title: the method as people call it.
        signed: whether negative values mean "against the class".
        paper, url: where it comes from.
        needs_layer: whether it looks at a layer, and so needs a network with positions.
        meaning: a sentence that says what the colours of the figure mean, with ``{target}`` and ``{layer}`` for their
            names; red is for large values, and blue for negative ones where there are any.
        unit: what a value measures, in a few words.
        direction: whether the sign says which way a pixel's value would have to move, and not whether the pixel speaks
            for or against the class: then its size alone says how important the pixel is.
    """

    title: str
    signed: bool
    paper: str
    url: str
    needs_layer: bool = False
    meaning: str = ""
    unit: str = ""
    direction: bool = False

    def __post_init__(self) -> None:
        if not self.meaning:
            plain = "The redder, the more the network's answer {target} has to do with the place."
            meaning = "Red speaks for {target}, blue against it." if self.signed else plain
            object.__setattr__(self, "meaning", meaning)


@dataclass(frozen=True, eq=False, repr=False)
class Attribution:
    """How much each pixel of an image has to do with a class, by one method.

    Attributes:
        values: float32 (H, W), or (C, H, W) where the method tells the channels apart.
        method: its registered name.
        target: index of the class that was asked about.
        target_name: its name, None when no names were given.
        score: the class's logit for the image.
        probability: the same after softmax.
        seconds: what it took.
        signed: whether there are negative values, which mean that a pixel speaks against the class.
        layer: dotted name of the layer that was looked at, None for methods that need none.
        image: float32 (C, H, W) as the model took it.
        notes: what else there is to say, a sentence each.
        trust: scores that say how far the map can be trusted; filled by :mod:`cnnlab.explain.faithfulness`.
        options: of the method, those that were given; :mod:`cnnlab.explain.faithfulness` runs the method again.
        facts: what is known about the method; None for a map that was made in another way.
    """

    values: Floats
    method: str
    target: int
    target_name: str | None
    score: float
    probability: float
    seconds: float
    signed: bool
    layer: str | None
    image: Floats
    notes: tuple[str, ...] = ()
    trust: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    facts: ExplanationFacts | None = None

    @property
    def map(self) -> Floats:
        """The values of each pixel, (H, W): summed over the channels where the method tells them apart."""
        return self.values if self.values.ndim == 2 else self.values.sum(axis=0)

    @property
    def importance(self) -> Floats:
        """How much each pixel speaks for the class, (H, W): the map, or its size where the sign says something else."""
        if not self._facts.direction:
            return self.map
        size = np.abs(self.values)
        return size if size.ndim == 2 else size.sum(axis=0)

    @property
    def title(self) -> str:
        """The method and the class, as people call them."""
        return f"{self.method_title} for {self.subject}"

    @property
    def method_title(self) -> str:
        """The method as people call it."""
        return self._facts.title

    @property
    def subject(self) -> str:
        """The class as it is called in sentences."""
        from cnnlab.figures import shorten

        return f"class {self.target}" if self.target_name is None else f"“{shorten(self.target_name, 40)}”"

    @property
    def caption(self) -> str:
        """What the colours of the figure mean."""
        return self._facts.meaning.format(target=self.subject, layer=self.layer)

    @property
    def _facts(self) -> ExplanationFacts:
        return self.facts or ExplanationFacts(self.method, self.signed, "", "", self.layer is not None)

    def figure(self, picture: npt.ArrayLike | None = None) -> Figure:
        """Draw the map over the picture, with a colour bar and a caption.

        Args:
            picture: what the model saw as people see it, uint8 or 0..1, (H, W) or (H, W, 3); drawn from the model's
                input, stretched to its range, when ``None``.
        """
        from cnnlab.figures import maps
        from cnnlab.figures.images import input_picture

        facts = [f"probability {self.probability:.1%}", f"score {self.score:.3g}", f"{self.seconds:.2g} s"]
        facts += [f"layer {self.layer}"] if self.layer is not None else []
        facts += [f"{name} {value:.3g}" for name, value in self.trust.items()]
        return maps.overlay(
            self.map,
            input_picture(self.image) if picture is None else picture,
            signed=self.signed,
            title=self.title,
            facts="  ·  ".join(facts),
            caption=self.caption,
            notes=self.notes,
            label=self._facts.unit,
        )

    def save(self, path: str | os.PathLike[str], picture: npt.ArrayLike | None = None) -> Path:
        """Write the figure to a file whose suffix says the format; return the path."""
        from cnnlab.figures import save

        return save(self.figure(picture), os.fspath(path))

    def _repr_png_(self) -> bytes:
        from cnnlab.figures import to_png

        return to_png(self.figure())

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.values.shape))
        name = "" if self.target_name is None else f" ({self.target_name})"
        return (
            f"<Attribution {self.method} {shape}, target {self.target}{name}, score {self.score:.4g}, "
            f"probability {self.probability:.3f}, {self.seconds:.2f} s>"
        )
