"""What every explanation shares: the answer it gives, the registry, and the decorator that makes one of a function.

A method is a file of this room that holds one function from a :class:`~cnnlab.explain.probe.Probe` to a map::

    @explanation(title="Saliency", signed=False, paper="Simonyan, Vedaldi, Zisserman 2014", url="https://...")
    def saliency(probe: Probe) -> Tensor:
        \"\"\"How strongly each pixel would change the score: the largest |gradient| over the channels.\"\"\"
        return probe.input_gradient[0].abs().amax(0)

The decorator makes of it what is called: ``saliency(model, image, target=None, *, layer=None, classes=None)``.
Keyword-only parameters after ``probe`` are the method's options; it says something beside the map by
:meth:`~cnnlab.explain.probe.Probe.note`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain._inputs import as_batch, check_logits, class_name, find_class
from cnnlab.explain.probe import Probe
from cnnlab.registry import Entry, Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Attribution",
    "ExplanationFacts",
    "Method",
    "as_batch",
    "attribute",
    "check_logits",
    "class_name",
    "enlarged",
    "explanation",
    "explanations",
    "find_class",
    "method_options",
]

Floats = npt.NDArray[np.float32]


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
        trust: scores that say how far the map can be trusted; filled by the functions of ``cnnlab.explain.trust``.
        options: of the method, those that were given; :func:`cnnlab.explain.trust.trust` runs the method again.
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
        if self.method in explanations:
            return explanations.get(self.method).facts
        return ExplanationFacts(self.method, self.signed, "", "", self.layer is not None)  # of somebody's own

    def figure(self, picture: npt.ArrayLike | None = None) -> Figure:
        """Draw the map over the picture, with a colour bar and a caption.

        Args:
            picture: what the model saw as people see it, uint8 or 0..1, (H, W) or (H, W, 3); drawn from the model's
                input, stretched to its range, when ``None``.
        """
        from cnnlab.figures import maps

        facts = [f"probability {self.probability:.1%}", f"score {self.score:.3g}", f"{self.seconds:.2g} s"]
        facts += [f"layer {self.layer}"] if self.layer is not None else []
        facts += [f"{name} {value:.3g}" for name, value in self.trust.items()]
        return maps.overlay(
            self.map,
            maps.picture_of(self.image) if picture is None else picture,
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


class Method(Protocol):
    """What people call; ``compute`` is the function that the decorator was given."""

    compute: Callable[..., Tensor]
    __name__: str

    def __call__(
        self,
        model: nn.Module,
        image: Any,
        target: int | str | None = None,
        *,
        layer: str | None = None,
        classes: Sequence[str] | None = None,
        **options: Any,
    ) -> Attribution: ...


class Explanations(Registry[ExplanationFacts]):
    """The registry of methods; a method has its file's name, and ``cnnlab.explain.name`` is the method."""

    def discover(self) -> None:
        super().discover()
        room = importlib.import_module(self.package)
        for name, entry in self._entries.items():
            if isinstance(getattr(room, name, None), ModuleType):  # importing the file has put it there
                setattr(room, name, entry.factory)


explanations = Explanations("explanation", "cnnlab.explain", hint="`cnnlab.explain.explanations.names()` lists them.")


def explanation(
    *,
    title: str,
    signed: bool,
    paper: str,
    url: str,
    needs_layer: bool = False,
    meaning: str = "",
    unit: str = "",
    direction: bool = False,
) -> Callable[[Callable[..., Tensor]], Method]:
    """Register the decorated function and make of it what people call; see :class:`ExplanationFacts`."""

    def decorate(compute: Callable[..., Tensor]) -> Method:
        options = list(inspect.signature(compute).parameters.values())[1:]
        if any(option.kind is not option.KEYWORD_ONLY for option in options):
            raise TypeError(f"{compute.__name__}: options of a method are keyword-only.")
        name = compute.__name__

        @functools.wraps(compute)
        def method(
            model: nn.Module,
            image: Any,
            target: int | str | None = None,
            *,
            layer: str | None = None,
            classes: Sequence[str] | None = None,
            **options: Any,
        ) -> Attribution:
            if layer is not None and not needs_layer:
                raise UsageError(f"{name} looks at the pixels and takes no layer, got layer={layer!r}. Leave it out.")
            return _attribute(Probe(model, image, target, layer, classes, look_inside=needs_layer), entry, options)

        shown = [
            p
            for p in inspect.signature(method, follow_wrapped=False).parameters.values()
            if p.kind is not p.VAR_KEYWORD
        ]
        method.__signature__ = inspect.Signature([*shown, *options], return_annotation=Attribution)  # type: ignore[attr-defined]
        method.__annotations__ = {p.name: p.annotation for p in (*shown, *options)} | {"return": Attribution}
        method.compute = compute  # type: ignore[attr-defined]
        facts = ExplanationFacts(title, signed, paper, url, needs_layer, meaning, unit, direction)
        entry = Entry(name, method, facts)
        explanations.register(entry.facts)(method)
        return method  # type: ignore[return-value]

    return decorate


def enlarged(maps: Tensor, probe: Probe, aligned: bool = True) -> Tensor:
    """Return the map (1, h, w) of the probe's layer at the size of the image, (H, W), bilinearly.

    Args:
        maps: of the layer.
        probe: of the image.
        aligned: put each position where the middle of what it sees is. ``False`` stretches the map over the image, as
            the papers do it; padding makes the two differ, by half a position in most ResNets, which is said in a note.
            On photos the heat of aligned maps lies on the animal more often (``tests/explain/test_photos.py``).
    """
    size = probe.image.shape[2:]
    centres = probe.centres
    if centres is None:
        if aligned:
            probe.note(f'Where the positions of the layer "{probe.layer}" look cannot be told: the map is stretched.')
    elif aligned:
        axes = []
        for pixels, (first, step), count in zip(size, centres, maps.shape[1:], strict=True):
            position = (torch.arange(pixels, dtype=maps.dtype, device=maps.device) - first) / step
            axes.append(2 * position / max(count - 1, 1) - 1)
        grid = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), dim=-1)[None]
        return functional.grid_sample(maps[None], grid, padding_mode="border", align_corners=True)[0, 0]
    else:
        moves = [
            (pixels / count - 1) / 2 - first
            for pixels, (first, _), count in zip(size, centres, maps.shape[1:], strict=True)
        ]
        if max(abs(move) / step for move, (_, step) in zip(moves, centres, strict=True)) > 0.25:
            way = " and ".join(
                f"{abs(move):.0f} pixels further {words[move < 0]}"
                for move, words in zip(moves, (("up", "down"), ("left", "right")), strict=True)
                if abs(move) >= 1
            )
            probe.note(f"What the layer sees lies {way} than the map is drawn; aligned=True puts it there.")
    return functional.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0, 0]


def method_options(name: str) -> dict[str, Any]:
    """Return the options of the method called ``name`` with their defaults."""
    return _options(explanations.get(name))


def _options(entry: Entry[ExplanationFacts]) -> dict[str, Any]:
    compute = entry.factory.compute  # type: ignore[attr-defined]
    return {p.name: p.default for p in list(inspect.signature(compute).parameters.values())[1:]}


def attribute(probe: Probe, name: str, **options: Any) -> Attribution:
    """Explain by the method called ``name`` what the probe holds; methods that get the same probe share its pass.

    Args:
        probe: model, image and target.
        name: of a registered method.
        options: of the method.

    Raises:
        UnknownNameError: no such method, or no such option of it.
        ModelError: the method needs a layer with positions and the network has none; what the network or the method
            computes is not finite.
    """
    return _attribute(probe, explanations.get(name), options)


def _attribute(probe: Probe, entry: Entry[ExplanationFacts], options: Mapping[str, Any]) -> Attribution:
    name, known = entry.name, _options(entry)
    for key in options:
        if key not in known:
            hint = "" if known else f"{name} takes no options."
            raise UnknownNameError(f"option of {name} called", key, known, hint)
    started = time.perf_counter()
    with probe.session() as notes:
        layer = probe.layer if entry.facts.needs_layer else None
        values = entry.factory.compute(probe, **options).detach()  # type: ignore[attr-defined]
        image = probe.image[0].detach().float().cpu().numpy()
        array = np.ascontiguousarray(values.float().cpu().numpy())
        array = array[0] if array.ndim == 4 and len(array) == 1 else array
        if not np.isfinite(array).all():
            raise ModelError(
                f"The map of {name} is not finite. Look for NaN or infinite numbers in the weights, or use float32."
            )
        if probe.found is not None and layer is not None and probe.found.calls > 1:
            probe.note(f'The layer "{layer}" runs {probe.found.calls} times; its last call is shown.')
        if not array.any():
            probe.note("The map is zero everywhere: nothing that the method looks at speaks for the class.")
        score, probability = probe.score, probe.probability
    return Attribution(
        values=array,
        method=name,
        target=probe.target,
        target_name=probe.target_name,
        score=score,
        probability=probability,
        seconds=time.perf_counter() - started,
        signed=entry.facts.signed,
        layer=layer,
        image=image,
        notes=tuple(notes),
        options=dict(options),
    )
