"""An examination: what the checks measure, each once and only when it is asked for."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.data.nearest import Neighbours
from cnnlab.errors import ModelError
from cnnlab.why.first_pass import Pass, pass_through
from cnnlab.why.neighbours import nearest
from cnnlab.why.observe import Step, gives_classes, watching
from cnnlab.why.subject import Sample, Subject, examined, plain_step, take, take_sample
from cnnlab.why.trials import Change, Trial, begin, outputs_of, run_trial, shuffled

SLOW = 0.4  # seconds of a step above which no short training is made
STEPS = 60  # steps of a short training
LEAST_STEPS = 30  # steps of a short training that says something
JUDGED = 256  # images by which a short training is judged


class Exam:
    """The measurements of a training.

    Args:
        subject: the training.
        seconds: time that the short trainings may take together, in seconds of the processor: a busy machine must not
            shorten them, or networks that learn would look as if they did not.
    """

    def __init__(self, subject: Subject, seconds: float = 18.0) -> None:
        self.subject = subject
        self.began, self.seconds = time.thread_time(), seconds
        self._trials: dict[str, Trial] = {}

    # Data

    @cached_property
    def train(self) -> Sample:
        """A sample of the training split."""
        torch.manual_seed(0)
        return take_sample(self.subject.train, "The training data")

    @cached_property
    def val(self) -> Sample | None:
        """A sample of the validation split; None without one."""
        torch.manual_seed(0)
        return None if self.subject.val is None else take_sample(self.subject.val, "The validation data")

    @cached_property
    def batch(self) -> tuple[Tensor, Tensor]:
        """A batch of training images as the network gets them, without augmentation, and its labels."""
        torch.manual_seed(0)
        count = min(len(self.train), self.probe_size)
        chosen = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(0))[:count]
        return self.train.images[chosen], self.train.labels[chosen]

    @cached_property
    def image_seconds(self) -> float:
        """The time of a forward pass for one image, which decides how many images are passed at a time."""
        model, images = begin(self.subject)[0], self.train.images[:4]
        outputs_of(model, images)
        began = time.thread_time()
        outputs_of(model, images)
        return (time.thread_time() - began) / len(images)

    def affordable(self, most: int, least: int, seconds: float) -> int:
        """Return how many images pass forward in some seconds, between two limits."""
        return int(min(most, max(least, seconds / max(self.image_seconds, 1e-9))))

    @property
    def probe_size(self) -> int:
        """The number of images that are looked at closely."""
        return self.affordable(64, 8, 0.25)

    @cached_property
    def judge(self) -> tuple[Tensor, Tensor]:
        """The images and labels by which short trainings are judged: of the training split."""
        count = min(len(self.train), self.affordable(JUDGED, 32, 0.7))
        chosen = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(1))[:count]
        return self.train.images[chosen], self.train.labels[chosen]

    @cached_property
    def finite(self) -> bool:
        """Whether all values of the training images are finite numbers."""
        return bool(torch.isfinite(self.train.images.float()).all())

    @cached_property
    def whole_labels(self) -> bool:
        """Whether the labels are numbers of classes, one for each image."""
        labels = self.train.labels
        return labels.ndim == 1 and not labels.is_floating_point()

    @cached_property
    def classes(self) -> int:
        """The number of classes that the network has scores for; 0 when it gives no scores of classes."""
        outputs = self.first.outputs
        return outputs.shape[1] if gives_classes(outputs, self.batch[1].long()) or self._scores(outputs) else 0

    def _scores(self, outputs: Tensor) -> bool:
        return self.whole_labels and outputs.ndim == 2 and outputs.shape[1] > 1

    @cached_property
    def consecutive(self) -> tuple[Tensor, Tensor]:
        """Images and labels that follow each other as they are delivered, not in the order of a shuffled epoch."""
        images = self.whole_images
        if images is None:
            parts = take(self.subject.batches(), max(1, 1000 // (self.train.batch_size or 32)))
            return torch.cat([part for part, _ in parts]), torch.cat([part for _, part in parts])
        labels = (
            self.subject.train[1] if isinstance(self.subject.train, tuple) else self.subject.train.dataset.tensors[1]
        )
        return images[:1000], labels[:1000]

    @property
    def whole_images(self) -> Tensor | None:
        """All training images in their own order, where they are a tensor in memory."""
        if isinstance(self.subject.train, tuple):
            return self.subject.train[0]
        tensors = getattr(getattr(self.subject.train, "dataset", None), "tensors", None)
        return (
            tensors[0] if tensors and len(tensors) > 1 and tensors[0].shape[1:] == self.train.images.shape[1:] else None
        )

    # The network at the start

    @cached_property
    def evaluated(self) -> Tensor:
        """The outputs of the network in eval mode at the start, for :attr:`batch`."""
        outputs = outputs_of(begin(self.subject)[0], self.batch[0])
        if outputs is None:
            raise ModelError("The network returns no tensor with a row for each image.")
        return outputs

    @cached_property
    def model(self) -> nn.Module:
        """The network as the training begins with it; not to be trained."""
        return self._beginning[0]

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of :attr:`model`."""
        return self._beginning[1]

    @cached_property
    def _beginning(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        return begin(self.subject)

    @cached_property
    def first(self) -> Pass:
        """A forward and backward pass at the start, in train mode, with the loss of the training."""
        with examined(self.subject, "a forward pass and the loss"):
            return pass_through(begin(self.subject)[0], *self.batch, self.subject.loss)

    # The step of the training

    @cached_property
    def steps(self) -> list[Step]:
        """Three steps of the training, watched, with batches of its own."""
        model, optimizer = begin(self.subject)
        step, recorded = self.subject.step(), []
        for images, labels in take(self.small_batches(), 3):
            began = time.thread_time()
            with examined(self.subject, "the training step"), watching(model, optimizer) as record:
                record.value = step(model, optimizer, images, labels)
            record.labels, record.seconds = labels, time.thread_time() - began
            recorded.append(record)
        return recorded

    def small_batches(self, augment: bool = True) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches in the training's own order, of at most :attr:`trial_batch` images."""
        torch.manual_seed(0)
        for images, labels in self.subject.batches():
            images, labels = images[: self.trial_batch], labels[: self.trial_batch]
            if augment and self.subject.augment is not None:
                images = self.subject.augment(images)
            yield images, labels

    # Short trainings

    @cached_property
    def trial_batch(self) -> int:
        """The number of images of a batch in short trainings."""
        most = self.affordable(64, 4, 0.1)
        return min(most, self.train.batch_size or most)

    @cached_property
    def step_seconds(self) -> float:
        """The time of a step: of the quickest of those that were watched."""
        return min(step.seconds for step in self.steps)

    @cached_property
    def trial_steps(self) -> int:
        """The number of steps of a short training: as many as the time allows, none where too few would be."""
        if self.step_seconds > SLOW:
            return 0
        return int(min(STEPS, max(6, self.seconds / 9 / max(self.step_seconds, 1e-4))))

    @property
    def time_left(self) -> float:
        """The seconds that are left for short trainings."""
        return self.seconds - (time.thread_time() - self.began)

    @cached_property
    def run(self) -> Trial:
        """The training itself, for a few dozen steps."""
        return run_trial(
            self.subject, self.small_batches(), self.trial_steps, self.judge, seconds=max(2.0, self.seconds / 6)
        )

    @property
    def telling(self) -> bool:
        """Whether :attr:`run` made enough steps to say something about the training."""
        return self.run.broken or len(self.run.losses) >= LEAST_STEPS

    def with_change(
        self, name: str, change: Change | None = None, *, own_step: bool = False, clean: bool = True
    ) -> Trial:
        """Return the result of the training with one thing changed, for as many steps as :attr:`run`.

        Args:
            name: name of the change; the same name is tried once.
            change: a function that changes the network or the optimizer.
            own_step: whether to make the training's own steps, not plain ones.
            clean: whether to give it shuffled batches without augmentation instead of the training's own.
        """
        if name not in self._trials:
            images, labels = self.train.images, self.train.labels
            batches = shuffled(images, labels, max(2, self.clean_batch)) if clean else self.small_batches()
            step = None if own_step else plain_step(self.subject.loss)
            self._trials[name] = run_trial(
                self.subject, batches, self.trial_steps if self.run.broken else len(self.run.losses),
                self.judge, step=step, change=change, seconds=max(1.5, self.seconds / 6),
            )  # fmt: skip
        return self._trials[name]

    @property
    def with_adam(self) -> Subject:
        """The training with Adam at the rate 0.001, in place of its own optimizer."""

        def adam(model: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.Adam([one for one in model.parameters() if one.requires_grad], 1e-3)

        return replace(self.subject, make_optimizer=adam, rate=None)

    @cached_property
    def batch_by_heart(self) -> tuple[Trial, Trial]:
        """Two trainings on one batch alone: with the training's own step, and with a plain step and Adam."""
        images, labels = (part[: self.heart_size] for part in self.batch)
        steps, seconds = self.trial_steps, max(1.5, self.seconds / 8)
        batches = itertools.repeat((images, labels))
        own = run_trial(self.subject, batches, steps, (images, labels), seconds=seconds)
        step = plain_step(self.subject.loss)
        return own, run_trial(self.with_adam, batches, steps, (images, labels), step=step, seconds=seconds)

    @property
    def heart_size(self) -> int:
        """The number of images that are to be learned by heart."""
        return min(16, len(self.batch[0]))

    @cached_property
    def plain_step_learns(self) -> bool:
        """Whether the network gets anywhere with a plain step and Adam on shuffled images: then data and network are
        not to blame."""
        if self.run.skill > 0.3:
            return True
        batches = shuffled(self.train.images, self.train.labels, max(2, self.clean_batch))
        step = plain_step(self.subject.loss)
        seconds = max(1.5, self.seconds / 8)
        return run_trial(self.with_adam, batches, self.trial_steps, self.judge, step=step, seconds=seconds).skill > 0.2

    @cached_property
    def update_ratio(self) -> float:
        """The largest change of a weight in the watched steps, relative to the weight."""
        sizes = {name: float(one.detach().norm()) for name, one in self.model.named_parameters() if one.ndim > 1}
        ratios = [
            step.moved[name] / size
            for step in self.steps
            for name, size in sizes.items()
            if size and name in step.moved
        ]
        return max(ratios, default=0.0)

    @property
    def clean_batch(self) -> int:
        """The number of images of a clean batch, which does not depend on the training's own."""
        return self.affordable(32, 8, 0.15)

    @cached_property
    def chance_loss(self) -> float:
        """The cross entropy of guessing: log of the number of classes; NaN without classes."""
        return math.log(self.classes) if self.classes > 1 else math.nan

    # Labels and pixels

    @cached_property
    def neighbours(self) -> Neighbours:
        """The nearest other image of each image of the training sample."""
        return nearest(self.train.images)

    @cached_property
    def agreement(self) -> float:
        """The share of training images whose nearest neighbour in pixels has the same label."""
        labels = self.train.labels.numpy()
        return float((labels[self.neighbours.indices] == labels).mean())

    @cached_property
    def chance_agreement(self) -> float:
        """The agreement of labels drawn at random."""
        shares = np.unique(self.train.labels.numpy(), return_counts=True)[1] / len(self.train)
        return float((shares**2).sum())
