"""Metrics of faithfulness: how well a map agrees with what the network computes.

- :func:`deletion`, :func:`insertion`: the probability falls, and comes back, with the pixels that the map ranks first.
- :func:`completeness`: the values add up to the difference between the score and that of the baseline.
- :func:`randomisation`: the map changes when the weights of the network are shuffled.

:func:`score_faithfulness` takes all of them together, beside the scores of random maps::

    answer = score_faithfulness(model, gradcam(model, image))
    answer.faithfulness        # {"deletion": 0.09, "insertion": 0.64, "random": 0.26, ...}
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from cnnlab.errors import ModelError, UsageError
from cnnlab.explain.attribution import Attribution
from cnnlab.explain.faithfulness.curves import Curve, Kind, perturbation_curve, random_map
from cnnlab.explain.faithfulness.randomisation import agreement, shuffled_networks
from cnnlab.explain.method import explanations, method_options
from cnnlab.explain.perturbation.baselines import Fill, NeutralBaseline, as_baseline, choose_baseline
from cnnlab.explain.perturbation.precision import without_batchnorm
from cnnlab.explain.probe import Probe

STEPS = 24  # points of a curve
RANDOMS = 4
KINDS: tuple[Kind, ...] = ("deletion", "insertion")


def deletion(
    model: nn.Module, image: Any, attribution: Attribution, *, steps: int = STEPS, fill: Fill = "mean"
) -> Curve:
    """Replace the pixels of the image, those first that the map says are the most important: a good map's curve falls.

    Petsiuk, Das, Saenko 2018 (https://arxiv.org/abs/1806.07421, section 4.2).

    Args:
        model: the network that was explained.
        image: the image that was explained, (C, H, W) or (1, C, H, W).
        attribution: the answer of a method.
        steps: the number of steps; equally many pixels are replaced in each.
        fill: the replacement: ``"mean"``, ``"grey"``, a number, or ``"blur"`` (which leaves much of what is large).

    Returns:
        The curve; its ``auc`` is the score, the lower the better.

    Raises:
        UsageError: the map is that of an image of another size, or ``steps`` is below 1.
    """
    return _curve(Probe(model, image, attribution.target), attribution, "deletion", steps, fill)


def insertion(
    model: nn.Module, image: Any, attribution: Attribution, *, steps: int = STEPS, fill: Fill = "mean"
) -> Curve:
    """Put the pixels into an empty image, the most important ones first: a good map's curve rises.

    Args and errors are those of :func:`deletion`.

    Returns:
        The curve; its ``auc`` is the score, the higher the better.
    """
    return _curve(Probe(model, image, attribution.target), attribution, "insertion", steps, fill)


def completeness(model: nn.Module, image: Any, attribution: Attribution, *, baseline: Any = None) -> float:
    """Return the completeness gap: the sum of the values minus the change of the score, as a share of that change.

    The change is that from the baseline to the image; a gap of 0 is complete. Methods that share the score out among
    the pixels promise it; of others the number says nothing. Sundararajan, Taly, Yan 2017
    (https://arxiv.org/abs/1703.01365, proposition 1).

    Args:
        model, image, attribution: see :func:`deletion`.
        baseline: the baseline, a number or an image (C, H, W); the baseline of the method, or 0, when ``None``.

    Raises:
        UsageError: a baseline that is neither.
    """
    return _gap(Probe(model, image, attribution.target), attribution, baseline)


def randomisation(
    model: nn.Module, image: Any, attribution: Attribution, *, cascade: int = 1, seed: int = 0
) -> dict[str, float]:
    """Shuffle the weights of a copy of the network, and compare the map with the map of the shuffled network.

    A map that stays the same shows the image and not what the network learned.

    Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity checks for saliency maps. NeurIPS 2018.
    https://arxiv.org/abs/1810.03292 (section 3; here each tensor of weights is shuffled, not drawn again)

    Args:
        model, image: see :func:`deletion`.
        attribution: the answer of a method; the method runs again with the options of the attribution.
        cascade: the number of stages in which the weights are shuffled, from the output down to the input; 1 shuffles
            all weights at once.
        seed: the seed of the shuffling.

    Returns:
        For each stage the dotted name of the deepest layer shuffled by then, and the rank correlation of the sizes of
        both maps: 1 means that the map has not changed, 0 that both have nothing in common. It is 0 as well where the
        map of the shuffled network is zero.

    Raises:
        ModelError: the network cannot be copied, or has no weights.
    """
    if cascade < 1:
        raise UsageError(f"cascade is {cascade}; give at least 1 stage.")
    probe = Probe(model, image, attribution.target, _first_layer(attribution))
    return {name: agreement(attribution, shuffled) for name, shuffled in shuffled_networks(probe, cascade, seed)}


def score_faithfulness(
    model: nn.Module, attribution: Attribution, *, steps: int = STEPS, randoms: int = RANDOMS, seed: int = 0
) -> Attribution:
    """Return the attribution with its metrics of faithfulness.

    Args:
        model: the network that was explained.
        attribution: the answer of a method.
        steps: the number of steps of the curves.
        randoms: the number of random maps that the curves are compared with: an even number of them, since each is
            also taken with its sign changed.
        seed: the seed of the random maps and of the shuffling.

    Returns:
        A copy whose ``faithfulness`` holds ``"deletion"`` and ``"insertion"`` (areas under the curves), ``"random"``
        (the mean area for random maps of the same image, which is the same for both), ``"randomised agreement"`` (see
        :func:`randomisation`), and for methods that promise it ``"completeness gap"``. A note says by what pixels are
        replaced where it is not the mean.
    """
    probe = Probe(model, attribution.image, attribution.target, _first_layer(attribution))
    scorer = FaithfulnessScorer(probe, steps=steps, randoms=randoms, seed=seed)
    scores, _ = scorer.score(attribution)
    notes = (*attribution.notes, *([scorer.baseline.note] if scorer.baseline.note else []))
    return replace(attribution, faithfulness=scores, notes=notes)


class FaithfulnessScorer:
    """Scores maps of one image; what does not depend on the map is computed once.

    Args:
        probe: the network, the image, the class and the target layer.
        steps, randoms, seed: see :func:`score_faithfulness`.
    """

    def __init__(self, probe: Probe, *, steps: int = STEPS, randoms: int = RANDOMS, seed: int = 0) -> None:
        if randoms < 1:
            raise UsageError(f"randoms is {randoms}; give at least 1 random map to compare with.")
        self.probe, self.steps, self.randoms, self.seed = probe, steps, randoms, seed

    def score(self, attribution: Attribution) -> tuple[dict[str, float], tuple[Curve, ...]]:
        """Return the metrics of a map, and its deletion and insertion curves."""
        curves = tuple(_curve(self.fast, attribution, kind, self.steps, self.baseline.fill) for kind in KINDS)
        scores: dict[str, float] = {one.kind: one.auc for one in curves} | {"random": self.random[0].auc}
        if attribution.method in explanations:  # a map of another origin cannot be computed again
            if "baseline" in method_options(attribution.method):
                scores["completeness gap"] = _gap(self.probe, attribution)
            with suppress(ModelError):  # shuffled weights may give numbers that are not finite
                scores["randomised agreement"] = agreement(attribution, self.shuffled)
        return scores, curves

    @cached_property
    def fast(self) -> Probe:
        """The same question to a copy without BatchNorm, whose scores are the same but for rounding.

        It computes in the precision of the model: in bf16 the area under a curve of EfficientNet-Lite0 was wrong by up
        to 0.5, where the network is undecided.
        """
        return without_batchnorm(self.probe)

    @cached_property
    def baseline(self) -> NeutralBaseline:
        """The replacement of pixels in deletion and insertion."""
        return choose_baseline(self.probe)

    @cached_property
    def random(self) -> tuple[Curve, ...]:
        """The mean deletion and insertion curves of random maps of this image, and of their negatives.

        The pixels that a map leaves are those that its negative inserts: with both, one curve is the other backwards,
        and need not be computed. A mean of curves is smooth: half of the points do.
        """
        steps = math.ceil(self.steps / 2)
        generator = np.random.default_rng(self.seed)
        height, width = self.probe.image.shape[2:]
        firsts = [random_map(height, width, generator) for _ in range(math.ceil(self.randoms / 2))]
        maps = [heat for first in firsts for heat in (first, -first)]
        fill, name = self.baseline.fill, "random maps"
        curves = [perturbation_curve(self.fast, heat, "deletion", steps, fill, name) for heat in maps]
        deleted = replace(curves[0], score=np.mean([curve.score for curve in curves], axis=0))
        return deleted, replace(deleted, kind="insertion", score=deleted.score[::-1])

    @cached_property
    def shuffled(self) -> Probe:
        """The same question to a copy of the network whose weights are shuffled."""
        return next(probe for _, probe in shuffled_networks(self.probe, 1, self.seed))


def _first_layer(attribution: Attribution) -> str | None:
    """Return the target layer; of an answer for several layers the first."""
    return None if attribution.layer is None else attribution.layer.split(", ")[0]


def _curve(probe: Probe, attribution: Attribution, kind: Kind, steps: int, fill: Fill) -> Curve:
    return perturbation_curve(probe, attribution.importance, kind, steps, fill, attribution.method)


def _gap(probe: Probe, attribution: Attribution, baseline: Any = None) -> float:
    fill = attribution.options.get("baseline", 0.0) if baseline is None else baseline
    change = probe.score - float(probe.logits_of(as_baseline(fill, probe.image))[0, probe.target])
    gap = abs(float(attribution.values.sum(dtype=np.float64)) - change)
    return gap / abs(change) if change else gap
