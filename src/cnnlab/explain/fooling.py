"""Images changed so little that nobody sees it, and so much that the network answers something else.

C. Szegedy et al.: Intriguing properties of neural networks, 2013, https://arxiv.org/abs/1312.6199 (that there are such
images); I. Goodfellow et al.: Explaining and harnessing adversarial examples, 2014, https://arxiv.org/abs/1412.6572
(one step along the sign of the gradient); A. Madry et al.: Towards deep learning models resistant to adversarial
attacks, 2017, https://arxiv.org/abs/1706.06083 (many such steps, the strongest attack that knows only gradients).

Sizes of changes are shares of the pixel range: 8/255 is eight of 255 grey levels. Every result stays inside the range
that ``mean`` and ``std`` (or ``bounds``) give, so that it is a picture that can be saved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cnnlab.errors import ModelError, UsageError
from cnnlab.explain._inputs import class_name, find_class
from cnnlab.explain._pixels import Channels, PixelRange
from cnnlab.explain._show import Shown
from cnnlab.explain.probe import Probe, gradients_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Fooled(Shown):
    """An image, the changed image, and what the network says to both.

    Attributes:
        method: how it was changed.
        image, fooled: (C, H, W), as the network takes them.
        difference: (C, H, W), their difference in shares of the pixel range.
        target: the class it was to be taken for; None when any wrong answer would do.
        label, answer: the network's answers before and after.
        before, after, saved: (K,) probabilities for the image, for the changed one, and for the changed one once it is
            rounded to 256 levels, as in a file.
        history: the probability of the target (of ``label`` without one) before every step and at the end.
        classes: their names, if given.
        pixels: what the two look like, in 0..1: (H, W, 3) or (H, W).
        seconds: it took.
    """

    method: str
    image: Array
    fooled: Array
    difference: Array
    target: int | None
    label: int
    answer: int
    before: Array
    after: Array
    saved: Array
    history: tuple[float, ...]
    classes: Sequence[str] | None
    pixels: tuple[Array, Array]
    seconds: float

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self.history) - 1

    @property
    def success(self) -> bool:
        """Whether the answer is the target (is another one, without a target)."""
        return self.answer == self.target if self.target is not None else self.answer != self.label

    @property
    def largest(self) -> float:
        """The largest change of a pixel, as a share of the pixel range."""
        return float(np.abs(self.difference).max())

    @property
    def confidence(self) -> tuple[float, float]:
        """The probabilities of the two answers, before and after."""
        return float(self.before[self.label]), float(self.after[self.answer])

    def caption(self) -> str:
        """Say in a sentence what happened."""
        name = class_name(self.answer if self.target is None else self.target, self.classes)
        share = float(self.saved[self.answer])
        kept = "" if int(self.saved.argmax()) == self.answer else " not"
        done = f"{self.method}, {self.steps} step{'s' * (self.steps != 1)}: no pixel changed by more than "
        done += f"{self.largest * 255:.1f} of 255 levels. "
        if not self.success:
            return done + ("The answer stayed the same." if self.target is None else f"It is not taken for {name}.")
        return done + f"Saved with 8 bits it is{kept} taken for {name} ({share:.0%})."

    def figure(self) -> Figure:
        """Draw image + magnified difference = changed image, with the network's answers."""
        from cnnlab import figures

        answers = [
            f"{class_name(index, self.classes)}, {p:.0%}"
            for index, p in zip((self.label, self.answer), self.confidence, strict=True)
        ]
        return figures.fooling(*self.pixels, self.difference, answers=answers, caption=self.caption())


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
    _positive(rate=rate, confidence=confidence)
    attack = _Attack(model, image, target, None, classes, mean, std, bounds)

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
    _positive(epsilon=epsilon)
    attack = _Attack(model, image, target, label, classes, mean, std, bounds)
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
    _positive(epsilon=epsilon, rate=rate)
    attack = _Attack(model, image, target, label, classes, mean, std, bounds)
    low, high = attack.original - epsilon, attack.original + epsilon
    noise = torch.rand(attack.original.shape, generator=torch.Generator().manual_seed(seed))
    start = attack.original + epsilon * (2 * noise.to(attack.original) - 1)

    def step(now: Tensor, gradient: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(now + rate * gradient.sign(), low), high)

    return attack.run("PGD", step, steps, start=start)


Step: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From an image (1, C, H, W) of 0..1 and the gradient of what is to grow to the next image; it is clipped after it."""


class _Attack:
    """The image, what is to become of it, and the loop that every method shares; images are in 0..1 here."""

    def __init__(
        self,
        model: nn.Module,
        image: Any,
        target: int | str | None,
        label: int | str | None,
        classes: Sequence[str] | None,
        mean: Channels | None,
        std: Channels | None,
        bounds: tuple[Channels, Channels] | None,
    ) -> None:
        self.started = time.perf_counter()
        self.probe, self.classes = Probe(model, image, classes=classes), classes
        self.image = self.probe.image
        self.range = PixelRange.of(self.image.shape[1], mean, std, bounds, self.image)
        self.range.check(self.image)
        self.original = self.range.to_unit(self.image).clamp(0, 1)
        with self.probe.session(), torch.no_grad():
            self.before = self.logits(self.original).softmax(1)[0]
        if len(self.before) == 1:
            raise UsageError("The network has a single output: there is no other class to take an image for.")
        self.target = None if target is None else find_class(target, classes, len(self.before))
        self.label = int(self.before.argmax()) if label is None else find_class(label, classes, len(self.before))

    def logits(self, images: Tensor) -> Tensor:
        """(N, K) for images (N, C, H, W) of 0..1."""
        return self.probe.run(self.range.clip(self.range.from_unit(images)))

    def run(self, method: str, step: Step, steps: int, start: Tensor | None = None, until: float = math.inf) -> Fooled:
        """Make ``steps`` steps, or fewer when the probability of the target reaches ``until``."""
        if steps < 1:
            raise UsageError(f"steps is {steps}; at least 1 is needed to change an image.")
        wanted, sign = (self.label, -1) if self.target is None else (self.target, 1)
        now, history = (self.original if start is None else start).clamp(0, 1), []
        with self.probe.session():
            for made in range(steps + 1):
                now = now.detach().requires_grad_()
                logs = self.logits(now).log_softmax(1)[0, wanted]
                history.append(float(logs.detach().exp()))
                if made == steps or history[-1] >= until:
                    break
                (gradient,) = gradients_of(sign * logs, [now])
                if gradient is None:
                    raise ModelError("The answer does not depend on the image in a way that has a gradient.")
                now = step(now.detach(), gradient).clamp(0, 1)
            now = now.detach()
            with torch.no_grad():
                after, saved = self.logits(torch.cat([now, (now * 255).round() / 255])).softmax(1)
        return Fooled(
            method=method,
            image=_array(self.image),
            fooled=_array(self.range.clip(self.range.from_unit(now))),
            difference=_array(now - self.original),
            target=self.target,
            label=self.label,
            answer=int(after.argmax()),
            before=self.before.float().cpu().numpy(),
            after=after.float().cpu().numpy(),
            saved=saved.float().cpu().numpy(),
            history=tuple(history),
            classes=self.classes,
            pixels=(self.range.picture(self.image), self.range.picture(self.range.from_unit(now))),
            seconds=time.perf_counter() - self.started,
        )


def _positive(**options: float) -> None:
    for name, value in options.items():
        if not value > 0:
            raise UsageError(f"{name} is {value}; it must be greater than 0.")


def _array(image: Tensor) -> Array:
    return image[0].float().cpu().numpy()
