"""The loop that all attacks share: repeated steps along a gradient, and the adversarial example that they give."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from cnnlab import figures
from cnnlab.errors import UsageError
from cnnlab.explain.checks import class_name, find_class, gradient_of
from cnnlab.explain.drawable import Drawable
from cnnlab.explain.pixel_range import PixelRange
from cnnlab.explain.probe import Probe

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


UpdateRule: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A function from an image (1, C, H, W) of 0..1 and the gradient to the next image, which is clipped afterwards."""


class Ascent:
    """An image, the class that it is to be taken for, and the loop; images are in 0..1 here.

    Args:
        model, image, target, label, classes, pixels: see :func:`~cnnlab.explain.adversarial.attacks.fgsm`.

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
        self, method: str, update: UpdateRule, steps: int, start: Tensor | None = None, until: float = math.inf
    ) -> AdversarialExample:
        """Make steps until the last one, or until the probability of the target reaches ``until``.

        Args:
            method: the name of the attack.
            update: the step from an image to the next.
            steps: the largest number of steps.
            start: the image (1, C, H, W) of 0..1 to start from; the original when ``None``.
            until: the probability of the target that is enough.
        """
        if steps < 1:
            raise UsageError(f"steps is {steps}; at least 1 is needed to change an image.")
        followed, sign = (self.label, -1) if self.target is None else (self.target, 1)
        image, history = (self.original if start is None else start).clamp(0, 1), []
        with self.probe.session():
            for step in range(steps + 1):
                image = image.detach().requires_grad_()
                log_probability = self.logits(image).log_softmax(1)[0, followed]
                history.append(float(log_probability.detach().exp()))
                if step == steps or history[-1] >= until:
                    break
                gradient = gradient_of(sign * log_probability, image, "answer")
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
