"""Integrated gradients: the gradient summed up on the way from an empty image to this one.

Sundararajan, Taly, Yan: Axiomatic attribution for deep networks. ICML 2017. https://arxiv.org/abs/1703.01365
(section 3; completeness: proposition 1)
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from cnnlab.errors import UsageError, did_you_mean
from cnnlab.explain.method import explanation
from cnnlab.explain.perturbation.baselines import as_baseline
from cnnlab.explain.probe import Probe

Rule = Literal["gauss-legendre", "midpoint"]


@explanation(
    title="Integrated gradients",
    signed=True,
    paper="Sundararajan, Taly, Yan 2017",
    url="https://arxiv.org/abs/1703.01365",
    meaning="Red pixels raise the score of {target} above that of the baseline, blue ones lower it.",
    unit="contribution to the score",
)
def integrated_gradients(
    probe: Probe, *, steps: int = 64, baseline: Any = 0.0, rule: Rule = "gauss-legendre"
) -> Tensor:
    """Contribution of each pixel to the score's difference between the image and the baseline, (C, H, W).

    The contributions add up to that difference, but for the error of the sum that stands for the integral; it is said
    in the notes, and more steps make it smaller.

    Args:
        probe: model, image and target.
        steps: gradients on the way; they are taken in batches, so that memory does not grow with them.
        baseline: the image that stands for nothing: a number for all of it, ``"mean"`` of its channels, ``"blur"``, or
            an image (C, H, W). 0 is the mean colour where images are normalised.
        rule: where on the way gradients are taken: ``"gauss-legendre"`` is the most exact for smooth scores,
            ``"midpoint"`` takes equal steps.
    """
    if steps < 1:
        raise UsageError(f"steps={steps} makes no sense; give at least 1.")
    image, start_image = probe.image, as_baseline(baseline, probe.image)
    difference = image - start_image
    where, weights = (torch.as_tensor(a, dtype=image.dtype, device=image.device) for a in _points(rule, steps))

    def on_the_way(start: int, end: int) -> Tensor:
        return start_image + where[start:end, None, None, None] * difference

    total, done = torch.zeros_like(image), 0
    for gradients in probe.gradients_for(steps, on_the_way):
        total += (weights[done : done + len(gradients), None, None, None] * gradients).sum(0, keepdim=True)
        done += len(gradients)
    values = (total * difference)[0]
    change = probe.score - float(probe.forward(start_image)[0])
    gap = float(values.sum(dtype=torch.float64)) - change
    share = f"{abs(gap / change):.1%}" if change else f"{abs(gap):.3g}"
    probe.note(f"Completeness gap {share}: the values add up to {change + gap:.4g}, the score changes by {change:.4g}.")
    return values


def _points(rule: Rule, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where between 0 and 1 the gradients are taken, and their weights, which add up to 1."""
    if rule == "gauss-legendre":
        places, weights = np.polynomial.legendre.leggauss(steps)
        return (places + 1) / 2, weights / 2
    if rule == "midpoint":
        return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
    near = did_you_mean(str(rule), get_args(Rule))
    raise UsageError(f"rule={rule!r} is not known. {near} Choose one of: {', '.join(get_args(Rule))}.")
