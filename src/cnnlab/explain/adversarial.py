"""Attacks: gradient ascent, the fast gradient sign method, and projected gradient descent.

C. Szegedy et al.: Intriguing properties of neural networks, 2013, https://arxiv.org/abs/1312.6199 (adversarial examples
exist); I. Goodfellow et al.: Explaining and harnessing adversarial examples, 2014, https://arxiv.org/abs/1412.6572 (one
step along the sign of the gradient); A. Madry et al.: Towards deep learning models resistant to adversarial attacks,
2017, https://arxiv.org/abs/1706.06083 (many such steps, the strongest attack that knows only gradients).

Sizes of changes are shares of the pixel range: 8/255 is eight of 255 grey levels. Every result stays inside the pixel
range, so that it is a picture that can be saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cnnlab import figures
from cnnlab.errors import UsageError
from cnnlab.explain.checks import class_name, find_class, gradient_of
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.explain.probe import Probe
from cnnlab.figures import Drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AdversarialExample(Drawable):
    """An image, the changed image, and the answers of the network to both.

    Attributes:
        method: the name of the attack.
        image: float32 (C, H, W), the image as the network takes it.
        changed: float32 (C, H, W), the changed image as the network takes it.
        difference: float32 (C, H, W), their difference as a share of the pixel range.
        target: the index of the class that the image was to be taken for; None when any wrong class would do.
        label: the right class, by default the answer to the image.
        answer: the answer to the changed image.
        before: the probabilities for the image, (K,).
        after: the probabilities for the changed image, (K,).
        saved: the probabilities for the changed image rounded to 256 levels, as in a file, (K,).
        history: the probability of the target (of ``label`` without a target) before every step and at the end.
        classes: the names of the classes, or None.
        pixels: both images as people see them, (H, W, 3) or (H, W) of 0..1.
        seconds: the time that it took, in seconds.
    """

    method: str
    image: Array
    changed: Array
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
        """The number of steps that were made."""
        return len(self.history) - 1

    @property
    def success(self) -> bool:
        """Whether the answer is the target; without a target, whether it is another than ``label``."""
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
        """Return in two sentences by how much the image was changed, and what for."""
        name = class_name(self.answer if self.target is None else self.target, self.classes)
        change = (
            f"{self.method}, {self.steps} step{'s' * (self.steps != 1)}: no pixel changed by more than "
            f"{self.largest * 255:.1f} of 255 levels. "
        )
        if not self.success:
            return change + ("The answer stayed the same." if self.target is None else f"It is not taken for {name}.")
        negation = "" if int(self.saved.argmax()) == self.answer else " not"
        return change + f"Saved with 8 bits it is{negation} taken for {name} ({float(self.saved[self.answer]):.0%})."

    def figure(self) -> Figure:
        """Draw image + magnified difference = changed image, with the network's answers."""
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
    confidence: float | None = 0.9,
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
        confidence: the probability of the target that is enough; when ``None``, that it is the most probable class.
        classes: the names of the classes.
        pixels: the values of black and white in the network's input; 0 and 1 when ``None``.

    Raises:
        UnknownNameError: no class has that name.
        UsageError: an option that makes no sense, or an image outside the range.
        ModelError: the network cannot take the image, or has no gradient.
    """
    _check_positive(rate=rate, confidence=1.0 if confidence is None else confidence)
    ascent = _Ascent(model, image, target, None, classes, pixels)

    def update(image: Tensor, gradient: Tensor) -> Tensor:
        return image + rate * gradient / gradient.norm().clamp_min(1e-20)

    def enough(probabilities: Tensor) -> bool:
        if confidence is None:
            return int(probabilities.argmax()) == ascent.target
        return float(probabilities[ascent.target]) >= confidence

    return ascent.run("Gradient ascent", update, steps, until=enough)


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
    ascent = _Ascent(model, image, target, label, classes, pixels)
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
    ascent = _Ascent(model, image, target, label, classes, pixels)
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


class _Ascent:
    """An image, the class that it is to be taken for, and the loop; images are in 0..1 here.

    Args:
        model, image, target, label, classes, pixels: see :func:`fgsm`.

    Raises:
        UnknownNameError, UsageError: no such class, or an image outside the range.
        ModelError: the network cannot take the image.
    """

    def __init__(
        self,
        model: nn.Module,
        image: Any,
        target: int | str | None,
        label: int | str | None,
        classes: Sequence[str] | None,
        pixels: PixelRange | None,
    ) -> None:
        self.started = time.perf_counter()
        self.probe, self.classes = Probe(model, image, classes=classes), classes
        self.image = self.probe.image
        self.range = (pixels or PixelRange()).on(self.image)
        self.range.check(self.image)
        self.original = self.range.to_unit(self.image).clamp(0, 1)
        with self.probe.session(), torch.no_grad():
            self.before = self.logits(self.original).softmax(1)[0]
        if len(self.before) == 1:
            raise UsageError("The network has a single output: there is no other class to take an image for.")
        self.target = None if target is None else find_class(target, classes, len(self.before))
        self.label = int(self.before.argmax()) if label is None else find_class(label, classes, len(self.before))

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (N, K) for images (N, C, H, W) of 0..1."""
        return self.probe.run(self.range.clip(self.range.from_unit(images)))

    def run(
        self,
        method: str,
        update: Callable[[Tensor, Tensor], Tensor],
        steps: int,
        start: Tensor | None = None,
        until: Callable[[Tensor], bool] = lambda probabilities: False,
    ) -> AdversarialExample:
        """Make steps until the last one, or until ``until`` says that it is enough.

        Args:
            method: the name of the attack.
            update: the step: a function from an image (1, C, H, W) of 0..1 and the gradient to the next image, which is
                clipped afterwards.
            steps: the largest number of steps.
            start: the image (1, C, H, W) of 0..1 to start from; the original when ``None``.
            until: a function from the probabilities (K,) to whether they are as wanted.
        """
        if steps < 1:
            raise UsageError(f"steps is {steps}; at least 1 is needed to change an image.")
        followed, sign = (self.label, -1) if self.target is None else (self.target, 1)
        image, history = (self.original if start is None else start).clamp(0, 1), []
        with self.probe.session():
            for step in range(steps + 1):
                image = image.detach().requires_grad_()
                log_probabilities = self.logits(image).log_softmax(1)[0]
                probabilities = log_probabilities.detach().exp()
                history.append(float(probabilities[followed]))
                if step == steps or until(probabilities):
                    break
                gradient = gradient_of(sign * log_probabilities[followed], image, "answer")
                image = update(image.detach(), gradient).clamp(0, 1)
            image = image.detach()
            with torch.no_grad():
                after, saved = self.logits(torch.cat([image, (image * 255).round() / 255])).softmax(1)
        return AdversarialExample(
            method=method,
            image=_array(self.image),
            changed=_array(self.range.clip(self.range.from_unit(image))),
            difference=_array(image - self.original),
            target=self.target,
            label=self.label,
            answer=int(after.argmax()),
            before=self.before.float().cpu().numpy(),
            after=after.float().cpu().numpy(),
            saved=saved.float().cpu().numpy(),
            history=tuple(history),
            classes=self.classes,
            pixels=(self.range.picture(self.image), self.range.picture(self.range.from_unit(image))),
            seconds=time.perf_counter() - self.started,
        )


def _array(image: Tensor) -> Array:
    return image[0].float().cpu().numpy()
