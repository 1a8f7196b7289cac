"""Short trainings: the training itself for a few dozen steps, and the same with one thing changed."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cnnlab.tracing.hooks import evaluating
from cnnlab.why.observe import first_tensor, gives_classes
from cnnlab.why.subject import Subject, TrainStep, examined

Batches = Iterator[tuple[Tensor, Tensor]]
Change = Callable[[nn.Module, torch.optim.Optimizer], None]
_EXPLODED = 1e4


@dataclass(frozen=True)
class Score:
    """How well a network tells classes apart.

    Args:
        accuracy: share of right answers.
        skill: mean recall of the classes, so scaled that guessing gives 0 and no mistake gives 1.
    """

    accuracy: float
    skill: float


@dataclass
class Trial:
    """A short training.

    Attributes:
        losses: loss of each step, as the step returns it.
        rates: largest learning rate of the optimizer after each step.
        model: the network at the end.
        accuracy: share of right answers for the images that are judged, in eval mode; NaN without classes.
        skill: see :class:`Score`; without classes, the share by which the loss fell.
        seconds: processor time that it took.
        broken: whether a parameter or the loss is no finite number any more, or 10,000 times as large as at the start.
    """

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    model: nn.Module | None = None
    accuracy: float = math.nan
    skill: float = 0.0
    seconds: float = 0.0
    broken: bool = False

    @property
    def outcome(self) -> str:
        """What came of it, in words."""
        if math.isnan(self.accuracy):
            return f"the loss has fallen by {self.skill:.0%}"
        return f"{self.accuracy:.0%} are right"


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
        seconds: processor time after which the trial ends before its last step.
    """
    model, optimizer = begin(subject)
    if change is not None:
        change(model, optimizer)
    step = step or subject.step()
    base = [group["lr"] for group in optimizer.param_groups]
    began, trial = time.thread_time(), Trial(model=model)
    if steps == 0:
        return trial
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
        if time.thread_time() - began > seconds:
            break
    trial.broken |= not all(bool(torch.isfinite(one).all()) for one in model.parameters())
    score = judged(model, *judge)
    if score is None:
        trial.skill = 0.0 if trial.broken else skill_of_losses(trial.losses)
    else:
        trial.accuracy, trial.skill = score.accuracy, score.skill
    trial.seconds = time.thread_time() - began
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


def judged(model: nn.Module, images: Tensor, labels: Tensor) -> Score | None:
    """Return how well a network in eval mode tells classes apart; None where it gives no scores of classes.

    After few steps the running statistics of BatchNorm lag behind, so the better one counts of these and of those of
    the images.

    Args:
        model: the network.
        images: images (n, C, H, W).
        labels: labels (n,).
    """
    scores = [score_of(outputs_of(model, images), labels)]
    if any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in model.modules()):
        scores.append(score_of(_outputs_by_batch(model, images), labels))
    valid = [one for one in scores if one is not None]
    return max(valid, key=lambda one: one.skill) if valid else None


def _outputs_by_batch(model: nn.Module, images: Tensor) -> Tensor | None:
    """Return the outputs of a network in eval mode, except that BatchNorm uses the statistics of the images."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training = True
    with torch.no_grad():
        outputs = first_tensor(model(images))
    return None if outputs is None else outputs.float()


def score_of(outputs: Tensor | None, labels: Tensor) -> Score | None:
    """Return the score of outputs (n, K) for labels (n,); None where they are no scores of classes."""
    if outputs is None or not gives_classes(outputs, labels):
        return None
    if not torch.isfinite(outputs).all():
        return Score(0.0, 0.0)
    right = (outputs.argmax(1) == labels).float()
    classes = labels.unique()
    recall = float(torch.stack([right[labels == one].mean() for one in classes]).mean())
    guess = 1 / len(classes)
    return Score(float(right.mean()), max(0.0, (recall - guess) / (1 - guess)) if guess < 1 else recall)


def skill_of_losses(losses: list[float]) -> float:
    """Return by what share the loss fell, for networks that give no scores of classes."""
    if len(losses) < 2 or not all(math.isfinite(one) for one in losses) or losses[0] <= 0:
        return 0.0
    last = sum(losses[-5:]) / len(losses[-5:])
    return min(1.0, max(0.0, 1 - last / losses[0]))


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
