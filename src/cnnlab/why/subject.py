"""What is examined: a training as six functions, and a sample of its data."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cnnlab.errors import CnnlabError, DataError, ScriptError
from cnnlab.scripts import describe, last_line
from cnnlab.why.observe import first_tensor, gives_classes

MOST_IMAGES = 2000  # images of a split that are looked at
_MOST_BYTES = 1 << 28
_SECONDS = 3.0  # for going through a split
PAIR_BATCH = 32  # images of a batch where the data are plain tensors

TrainStep = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], Any]


@contextmanager
def examined(subject: Subject, what: str) -> Iterator[None]:
    """Turn an exception of the examined code into a :class:`ScriptError` that names the line.

    Args:
        subject: the training.
        what: what runs.

    Raises:
        ScriptError: anything went wrong inside.
    """
    try:
        yield
    except CnnlabError:
        raise
    except Exception as error:
        raise ScriptError(located(error, subject.path, what)) from error


def located(error: BaseException, path: Path | None, what: str) -> str:
    """Return an exception as a message with the last line of the script that it passed.

    Args:
        error: the exception.
        path: the script; None without one.
        what: what failed.
    """
    if path is None:
        return f"{what}: {describe(error)}"
    line = last_line(error, os.path.abspath(path))
    place = f"line {line.number}, in {line.function}" if line.number else what
    return f"{path}, {place}: {describe(error)}" + (f"\n    {line.text}" if line.text else "")


@dataclass
class Subject:
    """A training to be examined.

    Args:
        name: name of the training.
        make_model: a function that makes the network as the training begins with it.
        make_optimizer: a function from the network to its optimizer.
        compute_loss: a function from the outputs and the labels of a batch to the scalar loss.
        train: the training split: a ``DataLoader``, or images and labels.
        val: the validation split likewise; None without one.
        train_step: the whole step of the training; None for the plain one of :func:`plain_step`.
        augment: the random changes of training batches; None without.
        rate: a function from the share of the run that is done to the factor of the learning rate.
        path: the file of the script; None without one.
        own: the names of the functions that the training defines itself.
        notes: lines about the training.
        classes: the names of the classes; empty when unknown.
        prepared: whether the network begins with trained weights.
    """

    name: str
    make_model: Callable[[], nn.Module]
    train: Any
    val: Any = None
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer] = lambda model: torch.optim.Adam(
        model.parameters(), 1e-3
    )
    compute_loss: Callable[[Any, Tensor], Tensor] = F.cross_entropy
    train_step: TrainStep | None = None
    augment: Callable[[Tensor], Tensor] | None = None
    rate: Callable[[float], float] | None = None
    path: Path | None = None
    own: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    prepared: bool = False

    def loss(self, returned: Any, labels: Tensor) -> Tensor:
        """Return the loss of what the network returned.

        A step of its own may hide the loss: then it is cross entropy where the network gives scores of classes, the
        squared error where it gives a number for each image, and otherwise the mean square of the outputs, by which
        gradients can be followed.
        """
        if "compute_loss" in self.own or "train_step" not in self.own:
            return self.compute_loss(returned, labels)
        outputs = first_tensor(returned)
        if outputs is None:
            return self.compute_loss(returned, labels)
        if gives_classes(outputs, labels):
            return F.cross_entropy(outputs, labels)
        if outputs.numel() == labels.numel():
            return F.mse_loss(outputs.flatten(), labels.flatten().float())
        return outputs.float().square().mean()

    def step(self) -> TrainStep:
        """Return the step of the training."""
        return self.train_step or plain_step(self.loss)

    def batches(self, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of images and labels without end, in the order in which the training gets them.

        Raises:
            DataError: the training data gives its batches only once.
        """
        if not isinstance(self.train, tuple):
            while True:
                empty = True
                for batch in self.train:
                    empty = False
                    yield images_and_labels(batch)
                if empty:
                    raise DataError(
                        "The training data gives its batches only once, as a generator does. Return a DataLoader, or "
                        "a pair (images, labels)."
                    )
        images, labels = self.train
        generator = torch.Generator().manual_seed(seed)
        while True:
            for part in torch.randperm(len(images), generator=generator).split(PAIR_BATCH):
                yield images[part], labels[part]


def plain_step(compute_loss: Callable[[Any, Tensor], Tensor]) -> TrainStep:
    """Return a training step without a fault: train mode, zeroed gradients, forward, loss, backward, update."""

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = compute_loss(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


@dataclass
class Sample:
    """A sample of a split, as the training gets it.

    Args:
        images: at most :data:`MOST_IMAGES` images (n, C, H, W).
        labels: their labels (n,).
        order: the labels of all images that were passed, in their order.
        batch_size: images of a batch; None for plain tensors.
        shuffled: whether the loader draws a new order in each epoch; None for plain tensors.
        complete: whether the order covers the whole split.
    """

    images: Tensor
    labels: Tensor
    order: Tensor
    batch_size: int | None = None
    shuffled: bool | None = None
    complete: bool = True

    def __len__(self) -> int:
        return len(self.images)


def take_sample(split: Any, what: str) -> Sample:
    """Pass through a split and return a sample of its images, spread over all of it.

    Args:
        split: a ``DataLoader``, another iterable of batches, or images and labels.
        what: name of the split in messages.

    Raises:
        DataError: the split is neither, is empty, or images and labels do not fit.
    """
    if isinstance(split, tuple | list) and len(split) == 2 and all(isinstance(part, Tensor) for part in split):
        images, labels = split
        if len(images) != len(labels) or not len(images):
            raise DataError(
                f"{what}: {len(images)} images and {len(labels)} labels; expected as many of both, and some."
            )
        chosen = torch.linspace(0, len(images) - 1, min(len(images), _most(images))).long()
        return Sample(images[chosen], labels[chosen], labels)
    if not hasattr(split, "__iter__"):
        raise DataError(f"{what} is a {type(split).__name__}; expected a DataLoader or a pair (images, labels).")
    began, parts, complete = time.perf_counter(), list[tuple[Tensor, Tensor]](), True
    size = 0
    for batch in split:
        images, labels = images_and_labels(batch)
        parts.append((images, labels))
        size += images.numel() * images.element_size()
        if size > _MOST_BYTES or time.perf_counter() - began > _SECONDS:
            complete = False
            break
    if not parts:
        raise DataError(f"{what} gives no batch: the data set is empty, or drop_last leaves nothing of it.")
    images, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    chosen = torch.linspace(0, len(images) - 1, min(len(images), _most(images))).long()
    loader = isinstance(split, DataLoader)
    shuffled = loader and not isinstance(split.sampler, torch.utils.data.SequentialSampler)
    batch_size = max(len(part) for part, _ in parts)
    return Sample(images[chosen], labels[chosen], labels, batch_size, shuffled if loader else None, complete)


def images_and_labels(batch: Any) -> tuple[Tensor, Tensor]:
    """Return the images and labels of a batch.

    Raises:
        DataError: the batch is not a pair of tensors.
    """
    if isinstance(batch, tuple | list) and len(batch) >= 2 and all(isinstance(part, Tensor) for part in batch[:2]):
        return batch[0], batch[1]
    kinds = (
        ", ".join(type(part).__name__ for part in batch) if isinstance(batch, tuple | list) else type(batch).__name__
    )
    raise DataError(f"A batch holds {kinds}; expected a pair of tensors (images, labels).")


def _most(images: Tensor) -> int:
    bytes_each = max(1, images[0].numel() * images.element_size())
    return max(2, min(MOST_IMAGES, _MOST_BYTES // bytes_each))


def take(batches: Iterator[tuple[Tensor, Tensor]], count: int) -> list[tuple[Tensor, Tensor]]:
    """Return the first ``count`` batches."""
    return list(itertools.islice(batches, count))
