"""Baselines: the image that replaces removed pixels, and the choice of one that the network finds neutral."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cnnlab.errors import UsageError
from cnnlab.explain.checks import probabilities
from cnnlab.explain.probe import Probe

Fill = float | Literal["mean", "blur", "grey"]
"""A number in the units of the network's input, the mean of each channel, the blurred image, or one grey."""

CANDIDATES: tuple[Fill, ...] = ("mean", "grey", 0.0, "blur")
_WORDS = {
    "mean": "the mean colour",
    "grey": "one grey",
    "blur": "the blurred image",
    0.0: "0, the mean of the data",
}


def filled(image: Tensor, fill: Fill) -> Tensor:
    """Return the baseline of an image.

    Args:
        image: the image (1, C, H, W).
        fill: a finite number; ``"mean"``: the mean of each channel over the image; ``"grey"``: the mean over all
            channels and pixels; ``"blur"``: the image under a Gaussian with a standard deviation of a 14th of the
            shorter side, which leaves colours and removes shapes.

    Returns:
        The baseline (1, C, H, W).

    Raises:
        UsageError: another ``fill``.
    """
    if fill == "mean":
        return image.mean(dim=(2, 3), keepdim=True).expand_as(image).contiguous()
    if fill == "grey":
        return torch.full_like(image, float(image.mean()))
    if fill == "blur":
        return blurred(image, min(image.shape[2:]) / 14)
    if isinstance(fill, str | bool) or not math.isfinite(fill):
        raise UsageError(f'fill is {fill!r}; give a finite number, "mean", "grey" or "blur".')
    return torch.full_like(image, fill)


def as_baseline(baseline: Any, image: Tensor) -> Tensor:
    """Return a baseline as an image (1, C, H, W).

    Args:
        baseline: a fill of :func:`filled`, or an image (C, H, W), a tensor or an array.
        image: the image (1, C, H, W) that the baseline belongs to.

    Raises:
        UsageError: another type, another shape than that of the image, or values that are not finite.
    """
    if isinstance(baseline, str | int | float):
        return filled(image, baseline)  # type: ignore[arg-type]  # it checks them
    try:
        array = np.asarray(baseline.detach().cpu() if isinstance(baseline, Tensor) else baseline)
        values = torch.as_tensor(array).to(image)
        values = values.reshape(-1, *values.shape[-3:])
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"A baseline is a number, mean, grey, blur or an image (C, H, W), not {baseline!r}."
        ) from error
    if values.shape != image.shape:
        raise UsageError(f"The baseline has shape {tuple(values.shape[1:])}, the image {tuple(image.shape[1:])}.")
    if not torch.isfinite(values).all():
        raise UsageError("The baseline holds NaN or infinite numbers.")
    return values


@dataclass(frozen=True)
class NeutralBaseline:
    """The baseline that replaces pixels in deletion and insertion.

    Attributes:
        fill: the fill of :func:`filled`.
        note: a sentence that names the baseline where it is not the mean; empty for the mean.
    """

    fill: Fill
    note: str = ""


def choose_baseline(probe: Probe) -> NeutralBaseline:
    """Return a baseline that the network finds neutral: the mean, or where it favours the class a measured choice.

    A network of few classes may give one of them even to an empty image; deletion and insertion against that image then
    say little. Where the mean keeps the class (see :func:`keeps_class`), the candidate with the flattest answer is
    taken, that with the largest entropy over the classes. The mean stays where the network is
    undecided about the image itself.

    Args:
        probe: the network, the image and the class.
    """

    def shares(images: Tensor) -> Tensor:
        answers = probabilities(probe.logits_of(images))
        return answers if answers.shape[1] > 1 else torch.cat([answers, 1 - answers], 1)

    (mean,) = shares(filled(probe.image, "mean")).tolist()
    target = probe.target
    undecided = probe.probability <= 1.5 / len(mean)
    if undecided or not keeps_class(mean[target], probe.probability, len(mean)):
        return NeutralBaseline("mean")
    answers = shares(torch.cat([filled(probe.image, fill) for fill in CANDIDATES]))
    flattest = int(torch.special.entr(answers).sum(1).argmax())
    fill, probability = CANDIDATES[flattest], float(answers[flattest, target])
    if fill == "mean":
        return NeutralBaseline("mean")
    return NeutralBaseline(
        fill,
        f"Pixels are replaced by {_WORDS[fill]}: the network's answer is flattest there ({probability:.0%} for the "
        f"class), while the mean colour keeps {mean[target]:.0%}.",
    )


def keeps_class(probability: float, whole: float, classes: int) -> bool:
    """Return whether a baseline keeps a class: more than half of its probability, and clearly more than by chance.

    Args:
        probability: the probability of the class for the baseline.
        whole: the probability of the class for the image.
        classes: the number of classes.
    """
    return probability > whole * max(0.5, min(0.9, 1.2 / classes / whole))


def blurred(image: Tensor, sigma: float, border: str = "reflect") -> Tensor:
    """Return images under a Gaussian filter.

    Args:
        image: the images (N, C, H, W).
        sigma: the standard deviation in pixels.
        border: the pixels beyond the border, a mode of ``torch.nn.functional.pad``; mirrored by default.
    """
    for axis in (2, 3):
        radius = min(math.ceil(3 * sigma), image.shape[axis] - 1)
        if radius < 1:
            continue
        steps = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
        weights = torch.exp(-(steps**2) / (2 * sigma**2))
        kernel = (weights / weights.sum()).view(1, 1, *((-1, 1) if axis == 2 else (1, -1)))
        around = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        channels = image.shape[1]
        image = F.conv2d(F.pad(image, around, mode=border), kernel.expand(channels, 1, -1, -1), groups=channels)
    return image
