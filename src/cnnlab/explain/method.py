"""The registry of explanations, and the decorator that makes an explanation of a function.

A method is a file in ``cnnlab.explain.methods`` that holds one function from a :class:`~cnnlab.explain.probe.Probe` to
a map::

    @explanation(title="Saliency", signed=False, paper="Simonyan, Vedaldi, Zisserman 2014", url="https://...")
    def saliency(probe: Probe) -> Tensor:
        \"\"\"How strongly each pixel would change the score: the largest |gradient| over the channels.\"\"\"
        return probe.input_gradient[0].abs().amax(0)

The decorated function is called as ``saliency(model, image, target=None, *, layer=None, classes=None)``. Keyword-only
parameters after ``probe`` are the options of the method. :meth:`~cnnlab.explain.probe.Probe.note` adds a remark to the
answer.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from cnnlab.errors import ModelError, UnknownNameError, UsageError
from cnnlab.explain.attribution import Attribution, ExplanationFacts
from cnnlab.explain.checks import TargetLayer, layer_names
from cnnlab.explain.probe import Probe
from cnnlab.registry import Registry
from cnnlab.tracing.hooks import uncompiled


class Method(Protocol):
    """An explanation as it is called; ``compute`` is the decorated function."""

    compute: Callable[..., Tensor]
    __name__: str

    def __call__(
        self,
        model: nn.Module,
        image: Any,
        target: int | str | None = None,
        *,
        layer: TargetLayer | Sequence[TargetLayer] | None = None,
        classes: Sequence[str] | None = None,
        **options: Any,
    ) -> Attribution: ...


explanations: Registry[ExplanationFacts] = Registry(
    "explanation", "cnnlab.explain.methods", hint="`cnnlab.explain.explanations.names()` lists them."
)


def explanation(**facts: Any) -> Callable[[Callable[..., Tensor]], Method]:
    """Return a decorator that registers a function as an explanation.

    Args:
        facts: the attributes of :class:`~cnnlab.explain.attribution.ExplanationFacts`: ``title``, ``signed``, ...
    """
    about = ExplanationFacts(**facts)

    def decorate(compute: Callable[..., Tensor]) -> Method:
        options = list(inspect.signature(compute).parameters.values())[1:]
        if any(option.kind is not option.KEYWORD_ONLY for option in options):
            raise TypeError(f"{compute.__name__}: options of a method are keyword-only.")

        @functools.wraps(compute)
        def method(
            model: nn.Module,
            image: Any,
            target: int | str | None = None,
            *,
            layer: TargetLayer | Sequence[TargetLayer] | None = None,
            classes: Sequence[str] | None = None,
            **options: Any,
        ) -> Attribution:
            if layer is not None and not about.needs_layer:
                raise UsageError(f"{compute.__name__} uses the pixels and takes no layer. Leave layer out.")
            answers = []
            names: list[str | None] = [*layer_names(uncompiled(model), layer)]
            for name in names or [None]:
                probe = Probe(model, image, target, name, classes, look_inside=about.needs_layer)
                answers.append(attribute(probe, compute.__name__, **options))
            return answers[0] if len(answers) == 1 else _mean_over_layers(answers)

        common = list(inspect.signature(method, follow_wrapped=False).parameters.values())[:-1]  # without **options
        signature = inspect.Signature([*common, *options], return_annotation=Attribution)
        method.__signature__ = signature  # type: ignore[attr-defined]
        method.__annotations__ = {p.name: p.annotation for p in (*common, *options)} | {"return": Attribution}
        method.compute = compute  # type: ignore[attr-defined]
        explanations.register(about)(method)
        return method  # type: ignore[return-value]

    return decorate


def method_options(name: str) -> dict[str, Any]:
    """Return the options of the method called ``name`` with their default values."""
    parameters = inspect.signature(explanations.get(name).factory.compute).parameters  # type: ignore[attr-defined]
    return {parameter.name: parameter.default for parameter in list(parameters.values())[1:]}


def attribute(probe: Probe, name: str, **options: Any) -> Attribution:
    """Return the answer of the method called ``name``; methods that get the same probe share its forward pass.

    Args:
        probe: the network, the image, the class and the target layer.
        name: the name of a registered method.
        options: the options of the method.

    Raises:
        UnknownNameError: there is no such method, or the method has no such option.
        ModelError: the method needs a spatial layer and the network has none; a value of the network or of the map is
            not finite.
    """
    entry, defaults = explanations.get(name), method_options(name)
    for key in options:
        if key not in defaults:
            hint = "" if defaults else f"{name} takes no options."
            raise UnknownNameError(f"option of {name} called", key, defaults, hint)
    started = time.perf_counter()
    with probe.session() as notes:
        layer = probe.layer if entry.facts.needs_layer else None
        values = entry.factory.compute(probe, **options)  # type: ignore[attr-defined]
        array = np.ascontiguousarray(values.detach().float().cpu().numpy())
        if not np.isfinite(array).all():
            raise ModelError(
                f"The map of {name} is not finite. Look for NaN or infinite numbers in the weights, or use float32."
            )
        if layer is not None and probe.layer_row is not None and probe.layer_row.calls > 1:
            probe.note(f'The layer "{layer}" runs {probe.layer_row.calls} times; its last call is shown.')
        if not array.any():
            probe.note("The map is zero everywhere: no quantity that the method uses speaks for the class.")
        score = probe.score  # the network has run by now
        if probe.gives_probabilities:
            probe.note("The network ends in softmax: the score is the logarithm of the probability.")
    return Attribution(
        values=array,
        method=name,
        target=probe.target,
        target_name=probe.target_name,
        score=score,
        probability=probe.probability,
        seconds=time.perf_counter() - started,
        signed=entry.facts.signed,
        layer=layer,
        image=probe.image[0].float().cpu().numpy(),
        notes=tuple(notes),
        options=options,
        facts=entry.facts,
    )


def _mean_over_layers(answers: Sequence[Attribution]) -> Attribution:
    """Return one answer for several layers: the mean of their maps, each divided by its largest value."""
    sizes = [float(np.abs(answer.values).max()) or 1.0 for answer in answers]
    scaled = [answer.values / size for answer, size in zip(answers, sizes, strict=True)]
    note = f"This is the mean over {len(answers)} layers, the map of each divided by its largest value."
    return replace(
        answers[0],
        values=np.mean(scaled, axis=0, dtype=np.float32),
        layer=", ".join(answer.layer or "" for answer in answers),
        seconds=sum(answer.seconds for answer in answers),
        notes=(*dict.fromkeys(text for answer in answers for text in answer.notes), note),
    )
