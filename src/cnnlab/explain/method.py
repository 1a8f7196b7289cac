"""What every explanation shares: the registry, and the decorator that makes one of a function.

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
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain.attribution import Attribution, ExplanationFacts
from cnnlab.explain.probe import Probe
from cnnlab.registry import Entry, Registry


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


explanations: Registry[ExplanationFacts] = Registry(
    "explanation", "cnnlab.explain.methods", hint="`cnnlab.explain.explanations.names()` lists them."
)


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
        facts=entry.facts,
    )
