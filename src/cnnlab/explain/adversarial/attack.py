"""What every way to fool a network shares: the image and what becomes of it, the loop, and the answer."""

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
from cnnlab.explain.drawable import Drawable
from cnnlab.explain.inputs import class_name, find_class
from cnnlab.explain.pixel_range import Channels, PixelRange
from cnnlab.explain.probe import Probe, gradients_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Fooled(Drawable):
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


Step: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From an image (1, C, H, W) of 0..1 and the gradient of what is to grow to the next image; it is clipped after it."""


class Attack:
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


def positive(**options: float) -> None:
    """Raise a UsageError for an option that is not above 0."""
    for name, value in options.items():
        if not value > 0:
            raise UsageError(f"{name} is {value}; it must be greater than 0.")


def _array(image: Tensor) -> Array:
    return image[0].float().cpu().numpy()
