"""Images changed so little that nobody sees it, and so much that the network answers something else.

C. Szegedy et al.: Intriguing properties of neural networks, 2013, https://arxiv.org/abs/1312.6199 (that there are such
images); I. Goodfellow et al.: Explaining and harnessing adversarial examples, 2014, https://arxiv.org/abs/1412.6572
(one step along the sign of the gradient); A. Madry et al.: Towards deep learning models resistant to adversarial
attacks, 2017, https://arxiv.org/abs/1706.06083 (many such steps, the strongest attack that knows only gradients).

Sizes of changes are shares of the pixel range: 8/255 is eight of 255 grey levels. Every result stays inside the range
that ``mean`` and ``std`` (or ``bounds``) give, so that it is a picture that can be saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.explain.adversarial.attack import Attack, Fooled, positive
from cnnlab.explain.pixel_range import Channels

__all__ = ["Fooled", "fgsm", "fool", "pgd"]


def fool(
    model: nn.Module,
    image: Any,
    target: int | str,
    *,
    steps: int = 100,
    rate: float = 0.2,
    confidence: float = 0.9,
    classes: Sequence[str] | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    bounds: tuple[Channels, Channels] | None = None,
) -> Fooled:
    """Change an image by gradient ascent until the network takes it for ``target``.

    Each step moves the image by ``rate`` along the gradient of the target's log-probability, however long that is.

    Args:
        model: any network; it is left as it was.
        image: (C, H, W) or (1, C, H, W), as the network takes it.
        target: the class to be seen in it: its number, or its name in ``classes``.
        steps: at most.
        rate: the length of a step: the root of the summed squared changes of all pixels, black to white being 1.
        confidence: stop when the target is this likely.
        classes: names of the classes.
        mean, std: how the image was normalised; or ``bounds``, the lowest and the highest value of each channel.

    Raises:
        UnknownNameError: no class has that name.
        UsageError: an option that makes no sense, or an image outside the range.
        ModelError: the network cannot take the image, or has no gradient.
    """
    positive(rate=rate, confidence=confidence)
    attack = Attack(model, image, target, None, classes, mean, std, bounds)

    def step(now: Tensor, gradient: Tensor) -> Tensor:
        return now + rate * gradient / gradient.norm().clamp_min(1e-20)

    return attack.run("Gradient ascent", step, steps, until=confidence)


def fgsm(
    model: nn.Module,
    image: Any,
    target: int | str | None = None,
    *,
    label: int | str | None = None,
    epsilon: float = 4 / 255,
    classes: Sequence[str] | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    bounds: tuple[Channels, Channels] | None = None,
) -> Fooled:
    """Change every pixel by ``epsilon`` in the direction that hurts most: the fast gradient sign method.

    ``image + epsilon * sign(gradient of the loss for label)``, clipped to the range (Goodfellow et al. 2014, section
    4). With a target the loss for the target is lowered instead.

    Args:
        model: any network; it is left as it was.
        image: (C, H, W) or (1, C, H, W), as the network takes it.
        target: the class to be seen in the image; any wrong one when ``None``.
        label: the right answer; what the network says to the image when ``None``.
        epsilon: the change, as a share of the pixel range.
        classes: names of the classes.
        mean, std: how the image was normalised; or ``bounds``, the lowest and the highest value of each channel.

    Raises:
        UnknownNameError: no class has that name.
        UsageError: an option that makes no sense, or an image outside the range.
        ModelError: the network cannot take the image, or has no gradient.
    """
    positive(epsilon=epsilon)
    attack = Attack(model, image, target, label, classes, mean, std, bounds)
    return attack.run("FGSM", lambda now, gradient: now + epsilon * gradient.sign(), steps=1)


def pgd(
    model: nn.Module,
    image: Any,
    target: int | str | None = None,
    *,
    label: int | str | None = None,
    epsilon: float = 2 / 255,
    steps: int = 10,
    rate: float | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    bounds: tuple[Channels, Channels] | None = None,
) -> Fooled:
    """Make many small steps of FGSM, each followed by a step back to within ``epsilon``: projected gradient descent.

    Madry et al. 2017, section 2.1; the start is a random image within ``epsilon``.

    Args:
        model: any network; it is left as it was.
        image: (C, H, W) or (1, C, H, W), as the network takes it.
        target: the class to be seen in the image; any wrong one when ``None``.
        label: the right answer; what the network says to the image when ``None``.
        epsilon: the largest change of any pixel, as a share of the pixel range.
        steps: how many.
        rate: the change in each step; ``2.5 * epsilon / steps`` when ``None``, so that every corner can be reached.
        seed: of the start.
        classes: names of the classes.
        mean, std: how the image was normalised; or ``bounds``, the lowest and the highest value of each channel.

    Raises:
        UnknownNameError: no class has that name.
        UsageError: an option that makes no sense, or an image outside the range.
        ModelError: the network cannot take the image, or has no gradient.
    """
    rate = 2.5 * epsilon / max(steps, 1) if rate is None else rate
    positive(epsilon=epsilon, rate=rate)
    attack = Attack(model, image, target, label, classes, mean, std, bounds)
    low, high = attack.original - epsilon, attack.original + epsilon
    noise = torch.rand(attack.original.shape, generator=torch.Generator().manual_seed(seed))
    start = attack.original + epsilon * (2 * noise.to(attack.original) - 1)

    def step(now: Tensor, gradient: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(now + rate * gradient.sign(), low), high)

    return attack.run("PGD", step, steps, start=start)
