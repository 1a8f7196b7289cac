"""Every method on one image, side by side: maps, what they took, and how far they are to be trusted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import nn

from cnnlab.errors import ModelError, UnknownNameError
from cnnlab.explain.attribution import Attribution
from cnnlab.explain.drawable import Shown
from cnnlab.explain.faithfulness.curves import Curve
from cnnlab.explain.faithfulness.scores import Referee
from cnnlab.explain.method import attribute, explanations
from cnnlab.explain.probe import Probe

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Shown):
    """The answers of several methods to the same question; a sequence of attributions that shows itself.

    Attributes:
        attributions: the answers; with trust the best first (insertion minus deletion), else by name.
        curves: their deletion and insertion curves, those of random maps last; empty without trust.
        skipped: method -> why it has no answer for this network.
        shared_seconds: what the passes took that the methods share; it is in none of their seconds.
        seconds: what everything took.
        logits: the scores of all classes for the image, (K,).
    """

    attributions: tuple[Attribution, ...]
    curves: tuple[Curve, ...]
    skipped: Mapping[str, str]
    shared_seconds: float
    seconds: float
    logits: npt.NDArray[np.floating]

    def __iter__(self) -> Iterator[Attribution]:
        return iter(self.attributions)

    def __len__(self) -> int:
        return len(self.attributions)

    def __getitem__(self, name: str | int) -> Attribution:
        """Return the answer of a method by its name, or by its place.

        Raises:
            UnknownNameError: there is no answer of that name.
        """
        if isinstance(name, int):
            return self.attributions[name]
        found = {answer.method: answer for answer in self.attributions}
        if name not in found:
            raise UnknownNameError("answer of a method called", name, found, self.skipped.get(name, ""))
        return found[name]

    @property
    def warning(self) -> str:
        """What is to be known of the scores: where an empty image gets the class too, they say little; else ``""``."""
        left = next((curve.score[-1] for curve in self.curves if curve.kind == "deletion"), 0.0)
        if left <= 0.5:
            return ""
        return (
            f"Even an empty image keeps {left:.0%} of the probability of {self.attributions[0].subject}. Where nothing "
            "to see is answered so, deletion and insertion say little."
        )

    def figure(self, picture: npt.ArrayLike | None = None) -> Figure:
        """Draw the maps side by side over the picture, with scores and times.

        Args:
            picture: see :meth:`Attribution.figure`.
        """
        from cnnlab.figures import comparison

        return comparison(self.attributions, picture)

    def curves_figure(self) -> Figure:
        """Draw the deletion and insertion curves of all methods, and of random maps.

        Raises:
            UsageError: there are none, because the methods were compared without trust.
        """
        from cnnlab.figures import trust_curves

        return trust_curves(self.curves)

    def save(self, path: str | os.PathLike[str], picture: npt.ArrayLike | None = None) -> Path:
        """Write the figure to a file whose suffix says the format; return the path."""
        from cnnlab.figures import save

        return save(self.figure(picture), os.fspath(path))

    def __repr__(self) -> str:
        columns = list(dict.fromkeys(name for answer in self.attributions for name in answer.trust))
        table = [["method", *columns, "seconds"]]
        for answer in self.attributions:
            scores = [f"{answer.trust[name]:.3f}" if name in answer.trust else "" for name in columns]
            table.append([answer.method, *scores, f"{answer.seconds:.2f}"])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        lines += [f"{name}: {why}" for name, why in self.skipped.items()] + [self.warning] * bool(self.warning)
        return "\n".join(line.rstrip() for line in lines)


def explain_all(
    model: nn.Module,
    image: Any,
    target: int | str | None = None,
    methods: Sequence[str] | None = None,
    *,
    layer: str | None = None,
    classes: Sequence[str] | None = None,
    trust: bool = True,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    begins: Callable[[str, int, int], None] = lambda name, place, count: None,
) -> Comparison:
    """Ask many methods why the network answers as it does; what they have in common is computed once.

    Args:
        model: any module that takes images (N, C, H, W) and returns logits (N, K).
        image: (C, H, W) or (1, C, H, W) as the model takes it.
        target: index or name of the class; the predicted one when ``None``.
        methods: their names; every method that this network allows when ``None``.
        layer: dotted name of the layer that class activation maps look at; the last spatial one when ``None``.
        classes: the names of the classes.
        trust: score every map, see :func:`cnnlab.explain.trust`. That takes longer than the maps themselves, since each
            method runs on a shuffled network too.
        options: method -> its options.
        begins: is called before each method with its name, its place from 0 on and how many there are.

    Raises:
        UnknownNameError: a method, layer, class or option that is not there.
        ModelError: the model cannot take the image, or a method that was named cannot be used with it.
    """
    started = time.perf_counter()
    names = explanations.names() if methods is None else [explanations.get(name).name for name in methods]
    wanted = {explanations.get(name).name: given for name, given in (options or {}).items()}
    probe = Probe(model, image, target, layer, classes)
    _ = probe.score
    with suppress(ModelError):  # methods that need it say what is missing
        _ = probe.input_gradient
    shared = time.perf_counter() - started
    referee = Referee(probe)
    found: list[tuple[Attribution, tuple[Curve, ...]]] = []
    skipped: dict[str, str] = {}
    for place, name in enumerate(names):
        begins(name, place, len(names))
        try:
            answer = attribute(probe, name, **wanted.get(name, {}))
        except ModelError as error:
            if methods is not None:
                raise
            skipped[name] = str(error)
            continue
        scores, curves = referee.judge(answer) if trust else ({}, ())
        found.append((replace(answer, trust=scores), curves))
    if trust:
        found.sort(key=lambda one: one[0].trust["deletion"] - one[0].trust["insertion"])
    curves = tuple(curve for _, pair in found for curve in pair) + (referee.random if trust and found else ())
    answers, logits = tuple(answer for answer, _ in found), probe.logits[0].float().cpu().numpy()
    return Comparison(answers, curves, skipped, shared, time.perf_counter() - started, logits)
