"""Deletion and insertion: how fast the probability of a class falls, and comes back, with the pixels of a map.

Petsiuk, Das, Saenko: RISE: randomized input sampling for explanation of black-box models. BMVC 2018.
https://arxiv.org/abs/1806.07421 (section 4.2)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from cnnlab import figures
from cnnlab.errors import UsageError
from cnnlab.explain.checks import probabilities
from cnnlab.explain.perturbation.baselines import Fill, filled
from cnnlab.explain.probe import Probe
from cnnlab.figures import Drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["deletion", "insertion"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve(Drawable):
    """The probability of a class while pixels are replaced, or put back, the most important ones first.

    Attributes:
        kind: ``"deletion"`` or ``"insertion"``.
        name: the name of the method whose map says which pixels are important.
        share: the share of the pixels that have been changed, from 0 to 1, (steps + 1,).
        score: the probability at that share, divided by that for the whole image, (steps + 1,).
    """

    kind: Kind
    name: str
    share: Floats
    score: Floats

    @property
    def auc(self) -> float:
        """The area under the curve: low is good for deletion, high for insertion."""
        return float(np.trapezoid(self.score, self.share))

    def figure(self) -> Figure:
        """Draw the curve."""
        return figures.faithfulness_curves([self])


def perturbation_curve(probe: Probe, heat: npt.NDArray[Any], kind: Kind, steps: int, fill: Fill, name: str) -> Curve:
    """Change the pixels of the image in the order of a map, equally many in each step, and follow the probability.

    Args:
        probe: the network, the image and the class.
        heat: the map (H, W); the largest value is the most important pixel, and of equal ones the upper left one.
        kind: whether pixels of the image are replaced by the baseline, or those of the baseline by the image.
        steps: the number of points of the curve after the first one.
        fill: the baseline, see :func:`~cnnlab.explain.perturbation.baselines.filled`.
        name: the name of the method.

    Raises:
        UsageError: a map of another size, or ``steps`` below 1.
    """
    size = probe.image.shape[2:]
    if heat.shape != tuple(size):
        raise UsageError(f"The map has shape {heat.shape}, the image {tuple(size)}. Give the map of this image.")
    if steps < 1:
        raise UsageError(f"steps is {steps}; give at least 1.")
    order = np.argsort(-heat.ravel(), kind="stable")
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    ranks = torch.from_numpy(rank).view(1, 1, *size).to(probe.image.device)
    # Whole pixels: the last point has all of them.
    counts = torch.tensor([round(order.size * step / steps) for step in range(steps + 1)], device=ranks.device)
    baseline = filled(probe.image, fill)
    before, after = (probe.image, baseline) if kind == "deletion" else (baseline, probe.image)

    def changed(start: int, end: int) -> Tensor:
        images = torch.where(ranks < counts[start:end, None, None, None], after, before)
        return images.contiguous(memory_format=torch.channels_last)

    score = probabilities(probe.logits_for(steps + 1, changed))[:, probe.target]
    whole = score[0 if kind == "deletion" else -1]
    return Curve(kind, name, counts.cpu().numpy() / order.size, (score / whole).cpu().numpy())


def random_map(height: int, width: int, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return a smooth random map (H, W), a baseline for the scores of maps with information.

    A coarse grid of seven by seven random numbers is enlarged. Random numbers for every pixel would be no fair
    comparison: an image is destroyed faster by changes of single pixels everywhere than by covering its object.
    """
    coarse = torch.from_numpy(generator.standard_normal((1, 1, min(7, height), min(7, width)))).float()
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)[0, 0].numpy()
