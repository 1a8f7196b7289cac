"""Short trainings: the training itself for a few dozen steps, and the same with one thing changed."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.tracing.hooks import evaluating
from cnnlab.why.observe import first_tensor
from cnnlab.why.subject import Subject, TrainStep, examined

Batches = Iterator[tuple[Tensor, Tensor]]
Change = Callable[[nn.Module, torch.optim.Optimizer], None]
_EXPLODED = 1e4


@dataclass
class Trial:
    """A short training.

    Attributes:
        losses: loss of each step, as the step returns it.
        rates: largest learning rate of the optimizer after each step.
        model: the network at the end.
        loss: cross entropy at the end over the images that are judged, in eval mode.
        accuracy: share of right answers there.
        skill: 0 for guessing, 1 for no mistake.
        seconds: time that it took.
        broken: whether a parameter or the loss is no finite number any more, or 10,000 times as large as at the start.
    """

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    model: nn.Module | None = None
    loss: float = math.nan
    accuracy: float = math.nan
    skill: float = 0.0
    seconds: float = 0.0
    broken: bool = False


def run_trial(
    subject: Subject,
    batches: Batches,
    steps: int,
    judge: tuple[Tensor, Tensor],
    *,
    step: TrainStep | None = None,
    change: Change | None = None,
    seconds: float = 3.0,
) -> Trial:
    """Train for some steps from the beginning, and judge the network.

    Args:
        subject: the training.
        batches: the batches of images and labels.
        steps: number of steps.
        judge: the images and labels that are judged at the end.
        step: the step to make; that of the training when None.
        change: a function that changes the network or the optimizer before the first step.
        seconds: time after which the trial ends before its last step.
    """
    model, optimizer = begin(subject)
    if change is not None:
        change(model, optimizer)
    step = step or subject.step()
    base = [group["lr"] for group in optimizer.param_groups]
    began, trial = time.perf_counter(), Trial(model=model)
    for number in range(steps):
        if subject.rate is not None:
            for group, lr in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = lr * subject.rate(number / steps)
        images, labels = next(batches)
        with examined(subject, "the training step"):
            value = step(model, optimizer, images, labels)
        trial.losses.append(as_number(value))
        silent = value is None  # a step that returns nothing
        trial.rates.append(max((float(group["lr"]) for group in optimizer.param_groups), default=0.0))
        if not silent and _exploded(trial.losses):
            trial.broken = True
            break
        if time.perf_counter() - began > seconds:
            break
    trial.broken |= not all(bool(torch.isfinite(one).all()) for one in model.parameters())
    trial.loss, trial.accuracy, trial.skill = judged(model, subject, *judge)
    trial.seconds = time.perf_counter() - began
    return trial


def _exploded(losses: list[float]) -> bool:
    return not math.isfinite(losses[-1]) or abs(losses[-1]) > _EXPLODED * (abs(losses[0]) + 1)


def begin(subject: Subject, seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Make the network and its optimizer, from the same random numbers every time."""
    torch.manual_seed(seed)
    model = subject.make_model()
    return model, subject.make_optimizer(model)


@torch.no_grad()
def outputs_of(model: nn.Module, images: Tensor, batch: int = 256) -> Tensor | None:
    """Return the outputs of a network in eval mode (n, ...); None where it gives no tensor with a row per image."""
    with evaluating(model):
        parts = [first_tensor(model(part)) for part in images.split(batch)]
    if any(part is None or part.ndim == 0 for part in parts):
        return None
    return torch.cat([part for part in parts if part is not None]).float()


def judged(model: nn.Module, subject: Subject, images: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """Return cross entropy, accuracy and skill of a network; where it gives no scores of classes, loss, NaN and skill.

    Skill is the share of mistakes of guessing the commonest class that the network does not make. After few steps the
    running statistics of BatchNorm lag behind, so the better one counts of these and of those of the images.
    """
    scores = [_scores(outputs_of(model, images), subject, labels)]
    if any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in model.modules()):
        scores.append(_scores(_outputs_by_batch(model, images), subject, labels))
    return max(scores, key=lambda one: one[2])


def _outputs_by_batch(model: nn.Module, images: Tensor) -> Tensor | None:
    """Return the outputs of a network in eval mode, except that BatchNorm uses the statistics of the images."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training = True
    with torch.no_grad():
        outputs = first_tensor(model(images))
    return None if outputs is None else outputs.float()


def _scores(outputs: Tensor | None, subject: Subject, labels: Tensor) -> tuple[float, float, float]:
    if outputs is None or not torch.isfinite(outputs).all():
        return math.inf, 0.0, 0.0
    if not gives_classes(outputs, labels):
        loss = float(subject.compute_loss(outputs, labels).float().mean())
        spread = float(labels.float().var()) or 1.0
        return loss, math.nan, max(0.0, 1 - loss / spread)
    right = float((outputs.argmax(1) == labels).float().mean())
    guess = float(labels.bincount().max()) / len(labels)
    loss = float(F.cross_entropy(outputs, labels))
    return loss, right, max(0.0, (right - guess) / (1 - guess)) if guess < 1 else 0.0


def gives_classes(outputs: Tensor, labels: Tensor) -> bool:
    """Whether outputs (n, K) are scores of K classes, and the labels say which."""
    whole = labels.ndim == 1 and not labels.is_floating_point()
    return (
        whole
        and outputs.ndim == 2
        and outputs.shape[1] > 1
        and 0 <= int(labels.min()) <= int(labels.max()) < outputs.shape[1]
    )


def as_number(value: object) -> float:
    """Return the loss that a training step returns as a number; NaN where it returns none."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    if isinstance(value, Tensor):
        return float(value.detach().float().mean())
    return float(value) if isinstance(value, int | float) else math.nan


def shuffled(images: Tensor, labels: Tensor, batch: int, seed: int = 0) -> Batches:
    """Yield shuffled batches of images (n, C, H, W) and labels (n,) without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for part in torch.randperm(len(images), generator=generator).split(batch):
            if len(part) == min(batch, len(images)):
                yield images[part], labels[part]


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a network with its own parameters."""
    return copy.deepcopy(model)
