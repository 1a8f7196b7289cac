"""Attacks: gradient ascent, the fast gradient sign method, and projected gradient descent.

C. Szegedy et al.: Intriguing properties of neural networks, 2013, https://arxiv.org/abs/1312.6199 (adversarial examples
exist); I. Goodfellow et al.: Explaining and harnessing adversarial examples, 2014, https://arxiv.org/abs/1412.6572 (one
step along the sign of the gradient); A. Madry et al.: Towards deep learning models resistant to adversarial attacks,
2017, https://arxiv.org/abs/1706.06083 (many such steps, the strongest attack that knows only gradients).

Sizes of changes are shares of the pixel range: 8/255 is eight of 255 grey levels. Every result stays inside the pixel
range, so that it is a picture that can be saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.explain.adversarial.ascent import AdversarialExample, Ascent
from cnnlab.explain.pixel_range import PixelRange

__all__ = ["AdversarialExample", "PGDSettings", "fgsm", "fool", "pgd"]


def fool(
    model: nn.Module,
    image: Any,
    target: int | str,
    *,
    steps: int = 100,
    rate: float = 0.2,
    confidence: float = 0.9,
    classes: Sequence[str] | None = None,
    pixels: PixelRange | None = None,
) -> AdversarialExample:
    """Change an image by gradient ascent until the network takes it for ``target``.

    Each step moves the image by ``rate`` along the gradient of the target's log-probability, whatever its length.

    Args:
        model: the network; it is left as it was.
        image: the image (C, H, W) or (1, C, H, W) as the network takes it.
        target: the class that the image is to be taken for: its index, or its name in ``classes``.
        steps: the largest number of steps.
        rate: the length of a step: the root of the summed squared changes of all pixels, black to white being 1.
        confidence: the probability of the target that is enough.
        classes: the names of the classes.
        pixels: the values of black and white in the network's input; 0 and 1 when ``None``.

    Raises:
        UnknownNameError: no class has that name.
        UsageError: an option that makes no sense, or an image outside the range.
        ModelError: the network cannot take the image, or has no gradient.
    """
    _check_positive(rate=rate, confidence=confidence)
    ascent = Ascent(model, image, target, None, classes, pixels)

    def update(image: Tensor, gradient: Tensor) -> Tensor:
        return image + rate * gradient / gradient.norm().clamp_min(1e-20)

    return ascent.run("Gradient ascent", update, steps, until=confidence)


def fgsm(
    model: nn.Module,
    image: Any,
    target: int | str | None = None,
    *,
    label: int | str | None = None,
    epsilon: float = 4 / 255,
    classes: Sequence[str] | None = None,
    pixels: PixelRange | None = None,
) -> AdversarialExample:
    """Change every pixel by ``epsilon`` in the direction that raises the loss: the fast gradient sign method.

    ``image + epsilon * sign(gradient of the loss for label)``, clipped to the range (Goodfellow et al. 2014, section
    4). With a target the loss for the target is lowered instead.

    Args:
        model, image, classes, pixels: see :func:`fool`.
        target: the class that the image is to be taken for; any wrong class when ``None``.
        label: the right class; the answer to the image when ``None``.
        epsilon: the change of every pixel, as a share of the pixel range.

    Raises:
        UnknownNameError, UsageError, ModelError: see :func:`fool`.
    """
    _check_positive(epsilon=epsilon)
    ascent = Ascent(model, image, target, label, classes, pixels)
    return ascent.run("FGSM", lambda image, gradient: image + epsilon * gradient.sign(), steps=1)


@dataclass(frozen=True)
class PGDSettings:
    """The steps of projected gradient descent.

    Attributes:
        epsilon: the largest change of any pixel, as a share of the pixel range.
        steps: the number of steps.
        rate: the change of a pixel in each step; ``2.5 * epsilon / steps`` when ``None``, so that every corner can be
            reached.
        seed: the seed of the random start.

    Raises:
        UsageError: ``epsilon`` or ``rate`` is not above 0.
    """

    epsilon: float = 2 / 255
    steps: int = 10
    rate: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_positive(epsilon=self.epsilon, rate=self.step_size)

    @property
    def step_size(self) -> float:
        """The change of a pixel in each step, as a share of the pixel range."""
        return 2.5 * self.epsilon / max(self.steps, 1) if self.rate is None else self.rate


def pgd(
    model: nn.Module,
    image: Any,
    target: int | str | None = None,
    *,
    label: int | str | None = None,
    classes: Sequence[str] | None = None,
    pixels: PixelRange | None = None,
    **settings: Any,
) -> AdversarialExample:
    """Make many small steps of FGSM, each followed by a projection to within ``epsilon``: projected gradient descent.

    Madry et al. 2017, section 2.1; the start is a random image within ``epsilon``.

    Args:
        model, image, target, label, classes, pixels: see :func:`fgsm`.
        settings: the fields of :class:`PGDSettings`: ``epsilon``, ``steps``, ``rate``, ``seed``.

    Raises:
        UnknownNameError, UsageError, ModelError: see :func:`fool`.
    """
    options = PGDSettings(**settings)
    ascent = Ascent(model, image, target, label, classes, pixels)
    low, high = ascent.original - options.epsilon, ascent.original + options.epsilon
    noise = torch.rand(ascent.original.shape, generator=torch.Generator().manual_seed(options.seed))
    start = ascent.original + options.epsilon * (2 * noise.to(ascent.original) - 1)

    def update(image: Tensor, gradient: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(image + options.step_size * gradient.sign(), low), high)

    return ascent.run("PGD", update, options.steps, start=start)


def _check_positive(**options: float) -> None:
    for name, value in options.items():
        if not value > 0:
            raise UsageError(f"{name} is {value}; it must be greater than 0.")
