"""Integrated gradients: the integral of the gradient along the line from a baseline to the image.

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
    many_passes=True,
    meaning="Red pixels raise the score of {target} above that of the baseline, blue ones lower it.",
    unit="contribution to the score",
)
def integrated_gradients(
    probe: Probe, *, steps: int = 64, baseline: Any = 0.0, rule: Rule = "gauss-legendre"
) -> Tensor:
    """Return the contribution of each pixel to the difference of the scores of image and baseline, (C, H, W).

    The contributions add up to that difference, but for the error of the numerical integral; a note says how large it
    is, and more steps make it smaller.

    Args:
        probe: the network, the image and the class.
        steps: the number of gradients; they are taken in batches, so that memory does not grow with them.
        baseline: a number for all pixels, ``"mean"``, ``"grey"`` or ``"blur"`` of the image, or an image (C, H, W). 0
            is the mean colour of the data where images are normalised.
        rule: the rule of integration: ``"gauss-legendre"`` is the most exact for smooth scores, ``"midpoint"`` takes
            equal steps.
    """
    if steps < 1:
        raise UsageError(f"steps={steps} makes no sense; give at least 1.")
    image, start_image = probe.image, as_baseline(baseline, probe.image)
    difference = image - start_image
    positions, weights = (torch.as_tensor(a, dtype=image.dtype, device=image.device) for a in _points(rule, steps))

    def interpolated(start: int, end: int) -> Tensor:
        return start_image + positions[start:end, None, None, None] * difference

    total, done = torch.zeros_like(image), 0
    for gradients in probe.gradients_for(steps, interpolated):
        total += (weights[done : done + len(gradients), None, None, None] * gradients).sum(0, keepdim=True)
        done += len(gradients)
    values = (total * difference)[0]
    change = probe.score - float(probe.logits_of(start_image)[0, probe.target])
    gap = float(values.sum(dtype=torch.float64)) - change
    share = f"{abs(gap / change):.1%}" if change else f"{abs(gap):.3g}"
    probe.note(f"Completeness gap {share}: the values add up to {change + gap:.4g}, the score changes by {change:.4g}.")
    return values


def _points(rule: Rule, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions between 0 and 1, and their weights in the integral, which add up to 1."""
    if rule == "gauss-legendre":
        positions, weights = np.polynomial.legendre.leggauss(steps)
        return (positions + 1) / 2, weights / 2
    if rule == "midpoint":
        return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
    near = did_you_mean(str(rule), get_args(Rule))
    raise UsageError(f"rule={rule!r} is not known. {near} Choose one of: {', '.join(get_args(Rule))}.")
