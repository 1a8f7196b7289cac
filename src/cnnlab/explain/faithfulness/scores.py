"""Which map is to be trusted? Scores that say how far a map has to do with what the network does.

- :func:`deletion`, :func:`insertion`: the probability goes, and comes back, with the pixels that the map names first.
- :func:`completeness`: the values add up to what the score differs from that of an empty image.
- :func:`randomisation`: the map changes when the network forgets what it has learned.

:func:`trust` takes all of them together, beside what random maps reach::

    answer = trust(model, gradcam(model, image))
    answer.trust        # {"deletion": 0.09, "insertion": 0.64, "random": 0.26, ...}
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.errors import CnnlabError, ModelError, UsageError
from cnnlab.explain.attribution import Attribution
from cnnlab.explain.faithfulness.curves import Curve, Kind, curve, mean_curve, random_map
from cnnlab.explain.method import attribute, explanations, method_options
from cnnlab.explain.methods.integrated_gradients import as_baseline
from cnnlab.explain.perturbation.baselines import Fill
from cnnlab.explain.probe import Probe
from cnnlab.explain.rank_correlation import spearman
from cnnlab.tracing.target_layer import list_layers

STEPS = 24  # points of a curve
RANDOMS = 4
KINDS: tuple[Kind, ...] = ("deletion", "insertion")


def deletion(
    model: nn.Module, image: Any, attribution: Attribution, *, steps: int = STEPS, fill: Fill = "mean"
) -> Curve:
    """Take pixels away from the image, those first that the map says are the most important: a good map's curve falls.

    Petsiuk, Das, Saenko 2018 (https://arxiv.org/abs/1806.07421, section 4.2).

    Args:
        model: that was explained.
        image: likewise, (C, H, W) or (1, C, H, W).
        attribution: the answer of a method.
        steps: equally many pixels go in each.
        fill: what stands in for them: ``"mean"``, a number, or ``"blur"`` (which leaves much of what is large).

    Returns:
        The curve; its ``auc`` is the score, the lower the better.

    Raises:
        UsageError: the map is that of an image of another size, or ``steps`` is below 1.
    """
    return _follow(Probe(model, image, attribution.target), attribution, "deletion", steps, fill)


def insertion(
    model: nn.Module, image: Any, attribution: Attribution, *, steps: int = STEPS, fill: Fill = "mean"
) -> Curve:
    """Give pixels back to an empty image, the most important ones first: a good map's curve rises.

    Args and errors are those of :func:`deletion`.

    Returns:
        The curve; its ``auc`` is the score, the higher the better.
    """
    return _follow(Probe(model, image, attribution.target), attribution, "insertion", steps, fill)


def completeness(model: nn.Module, image: Any, attribution: Attribution, *, baseline: Any = None) -> float:
    """Return by how much the sum of the values misses what the score changes from the baseline to the image.

    As a share of that change: 0 is complete. Methods that share the score out among the pixels promise it; of others
    the number says nothing. Sundararajan, Taly, Yan 2017 (https://arxiv.org/abs/1703.01365, proposition 1).

    Args:
        model, image, attribution: see :func:`deletion`.
        baseline: the image that stands for nothing, a number or (C, H, W); that of the method when ``None``, or 0.

    Raises:
        UsageError: a baseline that is neither.
    """
    return _gap(Probe(model, image, attribution.target), attribution, baseline)


def randomisation(
    model: nn.Module, image: Any, attribution: Attribution, *, cascade: int = 1, seed: int = 0
) -> dict[str, float]:
    """Shuffle the weights of a copy of the network, and compare the map with the one that the method gives then.

    A map that stays the same shows the image and not what the network learned.

    Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity checks for saliency maps. NeurIPS 2018.
    https://arxiv.org/abs/1810.03292 (section 3; here each tensor of weights is shuffled, not drawn anew)

    Args:
        model, image, attribution: see :func:`deletion`; the method runs with the options that the attribution was made
            with.
        cascade: in how many stages the weights are shuffled, from the output down to the input; 1 does all at once.
        seed: of the shuffling.

    Returns:
        For each stage the dotted name of the deepest layer shuffled by then, and the rank correlation of the sizes of
        both maps: 1 means that the map has not changed, 0 that both have nothing in common. It is 0 as well where a
        method finds nothing in the shuffled network.

    Raises:
        ModelError: the network cannot be copied, or has no weights.
    """
    if cascade < 1:
        raise UsageError(f"cascade is {cascade}; give at least 1 stage.")
    probe = Probe(model, image, attribution.target, attribution.layer)
    return {name: _agreement(attribution, shuffled) for name, shuffled in _cascade(probe, cascade, seed)}


def trust(
    model: nn.Module, attribution: Attribution, *, steps: int = STEPS, randoms: int = RANDOMS, seed: int = 0
) -> Attribution:
    """Return the attribution with scores that say how far it is to be trusted.

    Args:
        model: that was explained.
        attribution: the answer of a method.
        steps: of the curves.
        randoms: how many random maps the curves are compared with: an even number of them, since each is also turned
            around.
        seed: of the random maps and of the shuffling.

    Returns:
        A copy whose ``trust`` holds ``"deletion"`` and ``"insertion"`` (areas under the curves), ``"random"`` (the mean
        area for random maps of the same image, which is the same for both), ``"randomised agreement"`` (see
        :func:`randomisation`), and for methods that promise it ``"completeness gap"``.
    """
    probe = Probe(model, attribution.image, attribution.target, attribution.layer)
    scores, _ = Referee(probe, steps=steps, randoms=randoms, seed=seed).judge(attribution)
    return replace(attribution, trust=scores)


class Referee:
    """Judges maps of one image; what does not depend on the map is computed once.

    Args:
        probe: model, image and target.
        steps, randoms, seed: see :func:`trust`.
    """

    def __init__(self, probe: Probe, *, steps: int = STEPS, randoms: int = RANDOMS, seed: int = 0) -> None:
        if randoms < 1:
            raise UsageError(f"randoms is {randoms}; give at least 1 random map to compare with.")
        self.probe, self.steps, self.randoms, self.seed = probe, steps, randoms, seed

    def judge(self, attribution: Attribution) -> tuple[dict[str, float], tuple[Curve, ...]]:
        """Return the scores of a map, and its deletion and insertion curves."""
        curves = tuple(_follow(self.probe, attribution, kind, self.steps, "mean") for kind in KINDS)
        scores: dict[str, float] = {one.kind: one.auc for one in curves} | {"random": self.random[0].auc}
        if attribution.method in explanations:  # one of somebody's own cannot be asked again
            if "baseline" in method_options(attribution.method):
                scores["completeness gap"] = _gap(self.probe, attribution)
            with suppress(ModelError):  # shuffled weights may give numbers that are not finite
                scores["randomised agreement"] = _agreement(attribution, self.shuffled)
        return scores, curves

    @cached_property
    def random(self) -> tuple[Curve, ...]:
        """The mean deletion and insertion curves of random maps of this image, and of the same maps turned around.

        What a map leaves of the image is what the map turned around brings back: with both, one curve is the other
        backwards, and need not be computed. A mean of curves is smooth: half of the points do.
        """
        steps = math.ceil(self.steps / 2)
        generator = np.random.default_rng(self.seed)
        height, width = self.probe.image.shape[2:]
        firsts = [random_map(height, width, generator) for _ in range(math.ceil(self.randoms / 2))]
        maps = [heat for first in firsts for heat in (first, -first)]
        deleted = mean_curve([curve(self.probe, heat, "deletion", steps, "mean", "random maps") for heat in maps])
        return deleted, replace(deleted, kind="insertion", score=deleted.score[::-1])

    @cached_property
    def shuffled(self) -> Probe:
        """The same question to a copy of the network whose weights are shuffled."""
        return next(probe for _, probe in _cascade(self.probe, 1, self.seed))


def _follow(probe: Probe, attribution: Attribution, kind: Kind, steps: int, fill: Fill) -> Curve:
    return curve(probe, attribution.importance, kind, steps, fill, attribution.method)


def _gap(probe: Probe, attribution: Attribution, baseline: Any = None) -> float:
    given = attribution.options.get("baseline", 0.0) if baseline is None else baseline
    change = probe.score - float(probe.forward(as_baseline(given, probe.image))[0])
    gap = abs(float(attribution.values.sum(dtype=np.float64)) - change)
    return gap / abs(change) if change else gap


def _agreement(attribution: Attribution, shuffled: Probe) -> float:
    """Rank correlation of the sizes of a map and of what the method gives for another network."""
    other = attribute(shuffled, attribution.method, **attribution.options)
    return spearman(np.abs(attribution.importance), np.abs(other.importance))


def _cascade(probe: Probe, stages: int, seed: int) -> Iterator[tuple[str, Probe]]:
    """Shuffle a copy of the network stage by stage, from the output to the input; yield the deepest layer, and a probe.

    Statistics of normalisation are shuffled like weights: what they fit is gone.
    """
    model = probe.model
    try:
        model = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise ModelError(f"{type(model).__name__} cannot be copied, and so not be shuffled: {error}") from error
    found = _with_weights(model, probe.image)
    if not found:
        raise ModelError(f"{type(model).__name__} has no weights that could be shuffled.")
    generator = torch.Generator().manual_seed(seed)
    for names in np.array_split(np.array(list(found), dtype=object), min(stages, len(found))):
        for name in names:
            for values in found[name]:
                order = torch.randperm(values.numel(), generator=generator).to(values.device)
                with torch.no_grad():
                    values.copy_(values.flatten()[order].view_as(values))
        # Every stage is asked for the class and the layer that the network as it was is asked for.
        layer = probe.found.name if probe.found is not None and probe.found.spatial else None
        yield names[-1], Probe(model, probe.image, probe.target, layer)


def _with_weights(model: nn.Module, image: Tensor) -> dict[str, list[Tensor]]:
    """Map the dotted names of layers with weights, those near the output first, to their tensors."""
    own = {
        name: [*module.parameters(recurse=False), *(b for b in module.buffers(recurse=False) if b.is_floating_point())]
        for name, module in model.named_modules()
    }
    try:
        order = [row.name for row in list_layers(model, image)]
    except CnnlabError:  # its forward cannot be followed: as they were written down
        order = list(own)
    order += [name for name in own if name not in order]
    return {name or type(model).__name__: own[name] for name in reversed(order) if own.get(name)}
