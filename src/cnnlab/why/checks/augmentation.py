"""Augmentation that destroys the image, or what the label says about it."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from cnnlab.why.check import check
from cnnlab.why.diagnosis import Finding, Plot
from cnnlab.why.exam import Exam


@check("augmented images still show their class", place=140)
def augmentation(exam: Exam) -> Iterator[Finding]:
    """Look at augmented images, and train with augmentation and without."""
    if exam.subject.augment is None:
        return
    torch.manual_seed(0)
    images = exam.batch[0]
    changed = exam.subject.augment(images.clone())
    plot = _beside(images, changed)
    if not torch.isfinite(changed.float()).all():
        yield _finding("augmented images hold NaN or infinite values", {}, plot)
        return
    flat = float((changed.float().flatten(1).std(1) < 1e-6).float().mean())
    if flat > 0.1:
        yield _finding(f"{flat:.0%} of the augmented images are of a single value", {"constant": flat}, plot)
        return
    left = float(changed.float().flatten(1).var(1).mean() / images.float().flatten(1).var(1).mean().clamp_min(1e-12))
    own = exam.with_change("plain, augmented", clean=False)
    without = exam.with_change("plain", clean=True)
    numbers = {"variance left": left, "skill": own.skill, "skill without": without.skill}
    if without.skill > 0.5 and own.skill < 0.4 * without.skill:
        yield _finding(
            f"after {len(own.losses)} steps with augmentation {own.accuracy:.0%} of the original training images are "
            "right, and "
            f"without it {without.accuracy:.0%}"
            + (f"; {left:.0%} of the variance of the pixels is left" if left < 0.5 else ""),
            numbers,
            plot,
        )


def _finding(message: str, numbers: dict[str, float], plot: Plot | None) -> Finding:
    return Finding(
        "augmentation destroys the image",
        "error",
        message,
        "Look at a grid of augmented images: a person must still name the class.",
        meaning="The network is asked for the class of images that do not show it any more.",
        code="transforms.RandomCrop(28, padding=2)   # small changes",
        numbers=numbers,
        plot=plot,
    )


def _beside(images: torch.Tensor, changed: torch.Tensor) -> Plot | None:
    """Return a plot of three images beside their augmented versions."""
    if images.ndim != 4 or changed.ndim != 4:
        return None
    pictures = {}
    for i in range(min(3, len(images))):
        pictures[f"image {i}"] = images[i].float().mean(0).tolist()
        pictures[f"image {i}, augmented"] = changed[i].float().mean(0).tolist()
    return Plot("images", pictures)
