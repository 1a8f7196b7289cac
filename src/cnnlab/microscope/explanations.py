"""Explanations of an answer, asked for from the page: a map over the photo, and how faithful it is to the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor, nn

from cnnlab.errors import ModelError, ProtocolError
from cnnlab.explain.faithfulness.curves import perturbation_curve
from cnnlab.explain.faithfulness.scores import STEPS, FaithfulnessScorer
from cnnlab.explain.method import attribute, explanations
from cnnlab.explain.probe import Probe
from cnnlab.microscope.graph import NetworkGraph
from cnnlab.runs.classifier import Classifier
from cnnlab.tracing.hooks import calling_before_modules

Cancelled = Callable[[], bool]


def explanation_methods(graph: NetworkGraph) -> list[dict[str, Any]]:
    """Return the methods that can explain the answers of a network: name, title, and two properties.

    Args:
        graph: the network; methods that need a target layer fit one that has layers with positions on the image.
    """
    nodes = [node for node in graph.nodes.values() if node.kind not in ("move", "opaque")]
    maps = [node for node in nodes if len(node.shape) == 3 and min(node.shape[1:]) > 1]
    has_maps = any(node.field is not None and not node.field.whole for node in maps)
    return [
        {
            "name": entry.name,
            "title": entry.facts.title,
            "signed": entry.facts.signed,
            "needs_layer": entry.facts.needs_layer,
        }
        for entry in explanations
        if has_maps or not entry.facts.needs_layer
    ]


def explanation(
    classifier: Classifier, image: Tensor, method: str, target: int | None, scores: bool, cancelled: Cancelled
) -> dict[str, Any]:
    """Return the reply to the request ``explanation``.

    Args:
        classifier: the network.
        image: the image (1, C, H, W) as the network takes it.
        method: the name of a method.
        target: the index of the class that is asked about; the likeliest class when ``None``.
        scores: whether the map is scored by deletion and insertion, which takes longer than the map itself.
        cancelled: a function that says whether nobody waits for the result any more.

    Raises:
        ProtocolError: ``not_found``: there is no such method or class. ``cancelled``: nobody waits any more.
        ModelError: the method needs what the network does not have.
    """
    if method not in explanations:
        names = ", ".join(explanations.names())
        raise ProtocolError("not_found", f"There is no method {method!r}. Expected one of {names}.")
    if target is not None and not 0 <= target < len(classifier.classes):
        raise ProtocolError("not_found", f"There are classes 0 to {len(classifier.classes) - 1}, not {target}.")
    with ending_when(cancelled, classifier.model):
        probe = Probe(classifier.model, image, target, classes=classifier.classes)
        return _explained(probe, method, FaithfulnessScorer(probe) if scores else None)


def scored_explanations(
    classifier: Classifier, image: Tensor, methods: Iterable[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield names of methods with their replies to the request ``explanation``: scored, for the likeliest class.

    What the methods share, such as the scores of random maps, is computed once. Methods that need what the network does
    not have are left out.

    Args:
        classifier: the network.
        image: the image (1, C, H, W) as the network takes it.
        methods: the names of the methods.
    """
    probe = Probe(classifier.model, image, None, classes=classifier.classes)
    scorer = FaithfulnessScorer(probe)
    for method in methods:
        with suppress(ModelError):
            yield method, _explained(probe, method, scorer)


def _explained(probe: Probe, method: str, scorer: FaithfulnessScorer | None) -> dict[str, Any]:
    answer = attribute(probe, method)
    metrics, notes = None, list(answer.notes)
    if scorer is not None:
        deleted, inserted = (
            perturbation_curve(probe, answer.importance, kind, STEPS, scorer.baseline.fill, method)
            for kind in ("deletion", "insertion")
        )
        metrics = {"deletion": deleted.auc, "insertion": inserted.auc, "random": scorer.random[0].auc}
        notes += [scorer.baseline.note] if scorer.baseline.note else []
    return {
        "map": answer.map,
        "signed": answer.signed,
        "title": answer.method_title,
        "caption": answer.caption,
        "layer": answer.layer,
        "target": answer.target,
        "target_name": answer.target_name,
        "probability": answer.probability,
        "seconds": answer.seconds,
        "notes": notes,
        "scores": metrics,
    }


@contextmanager
def ending_when(cancelled: Cancelled, model: nn.Module) -> Iterator[None]:
    """Let every module of a network ask before it runs whether that is still wanted, while the context is open.

    Args:
        cancelled: a function that says whether nobody waits for the result any more.
        model: the network.

    Raises:
        ProtocolError: ``cancelled``, from the module that begins after ``cancelled`` has become true.
    """

    def ask() -> None:
        if cancelled():
            raise ProtocolError("cancelled", "Nobody waits for it any more.")

    with calling_before_modules(model, ask):
        yield
