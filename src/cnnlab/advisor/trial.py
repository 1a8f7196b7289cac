"""Short trials of a recipe: how fast it runs on this machine, and the accuracy that it reaches in that time.

A trial is a whole training in small: the real loop with its schedule, on as many images as fit into its time, and
then the accuracy on held-out images. So its result is that of an annealed network, not of one cut off in the middle.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from cnnlab.data import ImageData, Split
from cnnlab.errors import DivergedError
from cnnlab.tracing.hooks import evaluating
from cnnlab.training.build import prepare
from cnnlab.training.evaluation import evaluate
from cnnlab.training.events import EpochDone, FeaturesComputed
from cnnlab.training.loop import fit
from cnnlab.training.metrics import wilson_interval
from cnnlab.training.precision import images_per_second, to_memory_format, training_rate, usual_precision
from cnnlab.training.recipe import Recipe
from cnnlab.training.session import Session, evaluation_loader
from cnnlab.training.step import infer
from cnnlab.training.transfer import make_freeze
from cnnlab.zoo import create_model

# With fewer steps a training has hardly begun: rather smaller batches than the recipe's.
_LEAST_STEPS = 40
_SMALLEST_BATCH = 8
_SETTLING_BATCHES = 8
_INFERENCE_SECONDS = 0.15
_CAUTION = 0.8  # rates are estimates: rather less than planned than cut off


@dataclass(frozen=True)
class Rates:
    """Images per second of a training step and of inference."""

    train: float
    infer: float


@dataclass(frozen=True)
class Trial:
    """The result of training for some seconds."""

    seconds: float  #: duration of the training in seconds
    images: int  #: number of different training images
    samples: int  #: number of training images with repetitions
    rates: Rates  #: images/s, with loading and augmentation; of a frozen backbone, of its one pass over the images
    correct: np.ndarray = field(repr=False)  #: whether each held-out image was classified correctly, bool (n,)
    labels: np.ndarray = field(repr=False)  #: classes of the held-out images, int64 (n,)
    resolved: Recipe = field(repr=False)  #: recipe as it ran

    @property
    def n(self) -> int:
        """The number of held-out images."""
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        """The share of correct answers."""
        return float(self.correct.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy (Wilson 1927)."""
        return wilson_interval(int(self.correct.sum()), self.n)

    @property
    def balanced_accuracy(self) -> float:
        """The mean over the classes of the share of correct answers."""
        classes = np.unique(self.labels)
        return float(np.mean([self.correct[self.labels == label].mean() for label in classes]))


def quick_rates(recipe: Recipe, classes: int, channels: int, size: int, device: torch.device) -> Rates:
    """Estimate the speed in about half a second, with the settings that suit the hardware and without loading data.

    Args:
        recipe: the network and its options; ``freeze`` counts.
        classes, channels, size: number of classes; channels and side in pixels of the images.
        device: device to run on.
    """
    precision, shape = usual_precision(device), (channels, size, size)
    with torch.random.fork_rng(devices=[]):
        model = create_model(recipe.model, classes, channels, size, options=recipe.model_options).to(device)
    to_memory_format(model, precision.memory_format)

    def infer_on(count: int) -> Callable[[], object]:
        images = torch.rand(count, *shape).to(device).contiguous(memory_format=precision.memory_format)
        return lambda: infer(model, images, precision)

    with evaluating(model):
        rate = images_per_second(infer_on, recipe.batch_size, device, _INFERENCE_SECONDS)
    if recipe.freeze == "backbone":
        return Rates(rate, rate)  # the rest is a dense layer
    if freeze := make_freeze(recipe, model, shape):
        freeze.apply(model)
    return Rates(training_rate(model, precision, recipe.batch_size, shape, classes, device, 0.4), rate)


def try_out(
    recipe: Recipe, data: ImageData, held: Split, rates: Rates, seconds: float, *, overhead: float = 0.0
) -> Trial:
    """Train as ``recipe`` says, but for about ``seconds`` with all that goes with it, and evaluate on ``held``.

    Args:
        recipe: recipe that is tried; its epochs and, where needed, its batch size are made smaller.
        data: data set whose train split is learned from; its other splits are not used.
        held: the images to evaluate on.
        rates: estimated speed, for planning.
        seconds: time for building, training and evaluating, in seconds.
        overhead: estimated part of that time that building takes, in seconds.

    Raises:
        DivergedError: the loss became NaN.
        TrainingError, ModelError: it cannot be trained here.
    """
    begun = time.perf_counter()
    evaluation = (len(held) + _SETTLING_BATCHES * _SMALLEST_BATCH) / rates.infer
    budget = max(0.3 * seconds, _CAUTION * (seconds - overhead - evaluation)) * rates.train
    if recipe.freeze == "backbone":
        images, epochs = min(len(data.train), _rounded(budget)), recipe.epochs
    else:
        images, epochs = _plan(budget, len(data.train))
    images = max(images, min(len(data.train), max(2, len(data.classes))))
    small = replace(data.limited(train=images, seed=recipe.seed), val=None, test=None)
    session = prepare(_shortened(recipe, images, epochs), small)
    started = ready = time.perf_counter()
    stop = max(1.5 * seconds, seconds + 1)
    for event in fit(session.recipe, session=session):
        if isinstance(event, FeaturesComputed):
            ready = time.perf_counter()
        if isinstance(event, EpochDone) and event.epoch >= epochs:
            break
        if time.perf_counter() - begun > stop:  # the machine became busy: evaluate what there is
            break
    trained = time.perf_counter()
    _settle_statistics(session)
    settled = time.perf_counter()
    logits, labels = evaluate(session.evaluated, evaluation_loader(session, held), session.device, session.precision)
    done = time.perf_counter()
    if not np.isfinite(logits).all():
        raise DivergedError(f"{recipe.model}: the scores are not numbers after {trained - started:.0f} s of training.")
    if session.on_features:
        samples, trained_on = images, ready
    else:
        within = sum(session.train_loader.images_in(step) for step in range(session.step))
        samples, trained_on = max(1, session.epoch * images + within), trained
    return Trial(
        seconds=trained - started,
        images=images,
        samples=samples,
        rates=Rates(samples / max(trained_on - started, 1e-9), len(held) / max(done - settled, 1e-9)),
        correct=logits.argmax(1) == labels,
        labels=labels,
        resolved=session.recipe,
    )


@torch.no_grad()
def _settle_statistics(session: Session) -> None:
    """Let BatchNorm measure its statistics again over some batches, with the present weights.

    Its running averages need a few hundred steps to forget their start; a trial has fewer, and without this it would
    show how far the averages lag behind instead of what was learnt.
    """
    frozen = set(session.freeze.evaluating) if session.freeze else set()
    model = session.evaluated
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m not in frozen]
    if not norms or session.on_features:
        return
    with evaluating(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
            norm.train()
        for step, batch in enumerate(session.train_loader.epoch(0)):
            if step >= _SETTLING_BATCHES or len(batch.labels) < 2:
                break
            with session.precision.autocast(session.device):
                model(batch.images)


def _plan(budget: float, available: int) -> tuple[int, int]:
    """Return (images, epochs) whose product is about ``budget``."""
    if budget < available:
        return max(2, _rounded(budget)), 1
    return available, max(1, round(budget / available))


def _rounded(number: float) -> int:
    """Round to a power of 1.25, so that small differences in speed seldom change what is trained."""
    return max(1, int(1.25 ** round(math.log(max(1.0, number), 1.25))))


def _shortened(recipe: Recipe, images: int, epochs: int) -> Recipe:
    """Return the recipe for a trial on so many images: no val split, and batches small enough for some steps."""
    batch = recipe.batch_size
    while batch > _SMALLEST_BATCH and images * epochs / batch < _LEAST_STEPS:
        batch //= 2
    changes = {
        "epochs": epochs,
        "batch_size": batch,
        "warmup_epochs": min(recipe.warmup_epochs, 0.25 * epochs),
        "val_fraction": 0.0,
        "early_stopping": 0,
    }
    return recipe.model_copy(update=changes)
