"""The result of a method: a map with a value for each pixel, and the facts needed to interpret it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnlab import figures
from cnnlab.figures import Drawable
from cnnlab.figures.pictures import input_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ExplanationFacts:
    """The facts about a method that do not depend on the image.

    Attributes:
        title: the name of the method as people write it.
        signed: whether negative values mean that a pixel speaks against the class.
        paper: authors and year of the paper that introduced the method.
        url: the address of that paper.
        needs_layer: whether the method uses the output of a layer, so that the network must have a spatial layer.
        meaning: a sentence that says what the colours of the figure mean; ``{target}`` and ``{layer}`` stand for the
            names of the class and of the layer. Red is drawn for large values, blue for negative ones. A
            general sentence when empty.
        unit: the quantity that a value measures, in a few words.
        direction: whether the sign says in which direction a change of the pixel would raise the score. The importance
            of a pixel is then the size of its value.
        many_passes: whether a map takes dozens or hundreds of passes through the network.
    """

    title: str
    signed: bool
    paper: str
    url: str
    needs_layer: bool = False
    meaning: str = ""
    unit: str = ""
    direction: bool = False
    many_passes: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Drawable):
    """The contribution of each pixel of an image to the score of a class, according to one method.

    Attributes:
        values: float32 (H, W), or (C, H, W) where the method has a value for each channel.
        method: the registered name of the method.
        target: the index of the class that the map is about.
        target_name: the name of that class, None when no names were given.
        score: the score (logit) of the class for the image.
        probability: the probability of the class: the softmax of the scores, their sigmoid where there is only one.
        seconds: the time that the method took, in seconds.
        signed: whether negative values mean that a pixel speaks against the class.
        layer: the dotted name of the target layer, None for methods that need no layer.
        image: float32 (C, H, W), the image as the network takes it.
        notes: further remarks, a sentence each.
        faithfulness: name of a metric -> its value; filled by :mod:`cnnlab.explain.faithfulness`.
        options: the options that the method was called with.
        facts: the facts about the method; None for a map that no registered method made.
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
    faithfulness: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    facts: ExplanationFacts | None = None

    @property
    def trust(self) -> Mapping[str, float]:
        """The old name of :attr:`faithfulness`."""
        warnings.warn("Attribution.trust is now Attribution.faithfulness.", DeprecationWarning, stacklevel=2)
        return self.faithfulness

    @property
    def map(self) -> Floats:
        """The value of each pixel, (H, W): the sum over the channels where there is a value for each."""
        return self.values if self.values.ndim == 2 else self.values.sum(axis=0)

    @property
    def importance(self) -> Floats:
        """How important each pixel is for the class, (H, W): the map, or the size of values that are directions."""
        if self.facts is None or not self.facts.direction:
            return self.map
        size = np.abs(self.values)
        return size if size.ndim == 2 else size.sum(axis=0)

    @property
    def method_title(self) -> str:
        """The name of the method as people write it."""
        return self.method if self.facts is None else self.facts.title

    @property
    def subject(self) -> str:
        """The class as a sentence names it."""
        return f"class {self.target}" if self.target_name is None else f"“{figures.shorten(self.target_name, 40)}”"

    @property
    def title(self) -> str:
        """The method and the class, for the head of a figure."""
        return f"{self.method_title} for {self.subject}"

    @property
    def caption(self) -> str:
        """The meaning of the colours in the figure."""
        general = (
            "Red speaks for {target}, blue against it."
            if self.signed
            else "The redder, the more the network's answer {target} has to do with the position."
        )
        return ((self.facts and self.facts.meaning) or general).format(target=self.subject, layer=self.layer)

    def figure(self, picture: npt.ArrayLike | None = None) -> Figure:
        """Draw the map over the picture, with a colour bar and a caption.

        Args:
            picture: the image as people see it, uint8 or 0..1, (H, W) or (H, W, 3); the network's input, stretched to
                its range, when ``None``.
        """
        facts = [f"probability {self.probability:.1%}", f"score {self.score:.3g}", f"{self.seconds:.2g} s"]
        facts += [f"layer {self.layer}"] if self.layer is not None else []
        facts += [f"{name} {value:.3g}" for name, value in self.faithfulness.items()]
        return figures.overlay(
            self.map,
            input_picture(self.image) if picture is None else picture,
            signed=self.signed,
            title=self.title,
            facts="  ·  ".join(facts),
            caption=self.caption,
            notes=self.notes,
            label="" if self.facts is None else self.facts.unit,
        )

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.values.shape))
        name = "" if self.target_name is None else f" ({self.target_name})"
        return (
            f"<Attribution {self.method} {shape}, target {self.target}{name}, score {self.score:.4g}, "
            f"probability {self.probability:.3f}, {self.seconds:.2f} s>"
        )
