"""Several methods for one image, side by side: maps, seconds, and metrics of faithfulness."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import nn

from cnnlab import figures
from cnnlab.errors import ModelError, UnknownNameError
from cnnlab.explain.attribution import Attribution
from cnnlab.explain.checks import TargetLayer
from cnnlab.explain.faithfulness.curves import Curve
from cnnlab.explain.faithfulness.scores import FaithfulnessScorer
from cnnlab.explain.method import attribute, explanations
from cnnlab.explain.perturbation.baselines import keeps_class
from cnnlab.explain.probe import Probe
from cnnlab.figures import Drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ExplainSettings:
    """The class that is explained, and the settings of the methods; one value that is passed on unchanged.

    Attributes:
        target: index or name of the class that the maps are about; the predicted class when ``None``.
        layer: the target layer of class activation maps, its dotted name or the module; the last spatial layer when
            ``None``.
        options: name of a method -> its keyword arguments, such as ``{"occlusion": {"window": 32}}``.
        faithfulness: whether every map is scored by deletion, insertion and randomised weights, which takes longer
            than the maps themselves.
    """

    target: int | str | None = None
    layer: TargetLayer | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    faithfulness: bool = True


@dataclass(frozen=True, eq=False, repr=False)
class MethodComparison(Drawable):
    """The answers of several methods to the same question; a sequence of attributions that shows itself.

    Attributes:
        attributions: the answers; with metrics of faithfulness the best first (insertion minus deletion), else in the
            order of the methods.
        curves: the deletion and insertion curves of the maps, those of random maps last; empty without metrics.
        skipped: name of a method -> why it has no answer for this network.
        shared_seconds: the time of the passes that the methods share, in seconds; it is in none of their seconds.
        seconds: the time that everything took, in seconds.
        probabilities: float64 (K,), the probabilities of the classes for the image.
        baseline_note: a sentence that names the baseline of deletion and insertion where it is not the mean colour.
    """

    attributions: tuple[Attribution, ...]
    curves: tuple[Curve, ...]
    skipped: Mapping[str, str]
    shared_seconds: float
    seconds: float
    probabilities: npt.NDArray[np.float64]
    baseline_note: str = ""

    def __iter__(self) -> Iterator[Attribution]:
        return iter(self.attributions)

    def __len__(self) -> int:
        return len(self.attributions)

    def __getitem__(self, name: str | int) -> Attribution:
        """Return the answer of a method by its name, or by its position.

        Raises:
            UnknownNameError: there is no answer of that name.
        """
        if isinstance(name, int):
            return self.attributions[name]
        answers = {answer.method: answer for answer in self.attributions}
        if name not in answers:
            raise UnknownNameError("answer of a method called", name, answers, self.skipped.get(name, ""))
        return answers[name]

    @property
    def warning(self) -> str:
        """Remarks on the metrics: which baseline they use, and whether it keeps the class; ``""`` for none."""
        left = next((curve.score[-1] for curve in self.curves if curve.kind == "deletion"), None)
        if left is None:
            return ""
        whole = self.attributions[0].probability
        if not keeps_class(left * whole, whole, max(2, len(self.probabilities))):
            return self.baseline_note
        return (
            f"{self.baseline_note} Even an empty image keeps {left:.0%} of the probability of "
            f"{self.attributions[0].subject}: deletion and insertion say little about this network."
        ).strip()

    def figure(self, picture: npt.ArrayLike | None = None) -> Figure:
        """Draw the maps side by side over the picture, with metrics and times.

        Args:
            picture: see :meth:`Attribution.figure`.
        """
        return figures.comparison(self.attributions, picture)

    def curves_figure(self) -> Figure:
        """Draw the deletion and insertion curves of all methods, and of random maps.

        Raises:
            UsageError: there are none, because the methods were compared without metrics of faithfulness.
        """
        return figures.faithfulness_curves(self.curves)

    def __repr__(self) -> str:
        columns = list(dict.fromkeys(name for answer in self.attributions for name in answer.faithfulness))
        table = [["method", *columns, "seconds"]]
        for answer in self.attributions:
            scores = [f"{answer.faithfulness[name]:.3f}" if name in answer.faithfulness else "" for name in columns]
            table.append([answer.method, *scores, f"{answer.seconds:.2f}"])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        lines += [f"{name}: {why}" for name, why in self.skipped.items()] + [self.warning] * bool(self.warning)
        return "\n".join(line.rstrip() for line in lines)


def explain_all(
    model: nn.Module,
    image: Any,
    methods: Sequence[str] | None = None,
    settings: ExplainSettings | None = None,
    *,
    classes: Sequence[str] | None = None,
    begins: Callable[[str, int, int], None] = lambda name, position, count: None,
) -> MethodComparison:
    """Explain an image by several methods; quantities that they share are computed once.

    Args:
        model: a module that takes images (N, C, H, W) and returns logits (N, K).
        image: the image (C, H, W) or (1, C, H, W) as the model takes it.
        methods: the names of the methods; all that can be used with the network when ``None``.
        settings: the class, the target layer, the options of the methods, and whether the maps are scored.
        classes: the names of the classes.
        begins: a function that is called before each method with its name, its position from 0 on and the number of
            methods.

    Raises:
        UnknownNameError: there is no such method, layer, class or option.
        ModelError: the model cannot take the image, or a method that was named cannot be used with it.
    """
    started, settings = time.perf_counter(), settings or ExplainSettings()
    names = explanations.names() if methods is None else [explanations.get(name).name for name in methods]
    options = {explanations.get(name).name: values for name, values in settings.options.items()}
    needs_layer = any(explanations.get(name).facts.needs_layer for name in names)
    probe = Probe(model, image, settings.target, settings.layer, classes, look_inside=needs_layer)
    _ = probe.score
    if len(names) > 1:  # else nothing is shared
        with suppress(ModelError):  # methods that need it say what is missing
            _ = probe.input_gradient
    shared = time.perf_counter() - started
    scorer = FaithfulnessScorer(probe) if settings.faithfulness else None
    answers: list[tuple[Attribution, tuple[Curve, ...]]] = []
    skipped: dict[str, str] = {}
    for position, name in enumerate(names):
        begins(name, position, len(names))
        try:
            answer = attribute(probe, name, **options.get(name, {}))
        except ModelError as error:
            if methods is not None:
                raise
            skipped[name] = str(error)
            continue
        scores, curves = scorer.score(answer) if scorer else ({}, ())
        answers.append((replace(answer, faithfulness=scores), curves))
    if scorer and answers:
        answers.sort(key=lambda one: one[0].faithfulness["deletion"] - one[0].faithfulness["insertion"])
    return MethodComparison(
        attributions=tuple(answer for answer, _ in answers),
        curves=tuple(curve for _, pair in answers for curve in pair) + (scorer.random if scorer and answers else ()),
        skipped=skipped,
        shared_seconds=shared,
        seconds=time.perf_counter() - started,
        probabilities=probe.probabilities.cpu().numpy(),
        baseline_note=scorer.baseline.note if scorer and answers else "",
    )
