"""The training loop: :func:`fit` is the run, :func:`train_epoch` an epoch, :func:`evaluate` one pass over a split.

A single step is :func:`cnnlab.training.step.train_step`.
``fit`` is a generator of events: whoever consumes it decides what to show and what to save. Stopping is closing it::

    for event in fit(recipe):
        if isinstance(event, EpochDone) and event.val_accuracy > 0.99:
            break

Randomness is a pure function of the seed and the position in the run (see :func:`cnnlab.training.session.seeded`), so
a run that is stopped anywhere and resumed gives the same bits as one that was not, and two networks trained with
``zip`` do not disturb each other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from cnnlab.data import ImageData, Loader
from cnnlab.errors import TrainingError
from cnnlab.hardware import Precision
from cnnlab.tracing.hooks import evaluating
from cnnlab.training import distributed
from cnnlab.training.events import EpochDone, Event, FeaturesComputed, Finished, Started, StepDone
from cnnlab.training.optim import learning_rate, set_learning_rate
from cnnlab.training.recipe import Recipe
from cnnlab.training.session import (
    Session,
    check_weights,
    diverged,
    evaluation_loader,
    prepare,
    seeded,
    unfreeze_when_due,
)
from cnnlab.training.step import train_step
from cnnlab.training.transfer import Body, FeatureLoader, trained_tail

# A GPU and other processes are asked only this often whether the loss is still a number: each look waits for them.
CHECK_EVERY = 10


def fit(recipe: Recipe, *, data: ImageData | None = None, session: Session | None = None) -> Iterator[Event]:
    """Train as ``recipe`` says, yielding an event per step and per epoch.

    Args:
        recipe: what to do.
        data: use this instead of loading ``recipe.data``.
        session: go on from this state instead of starting anew (see :func:`prepare`).

    Raises:
        TrainingError: the recipe and the data do not fit together.
        DivergedError: the loss is not a number any more.
        DataError, ModelError, DeviceError: from building what the recipe names.
    """
    session = session or prepare(recipe, data)
    recipe = session.recipe
    yield Started(
        session,
        epochs=recipe.total_epochs,
        steps_per_epoch=len(session.train_loader),
        parameters=sum(p.numel() for p in session.model.parameters()),
        notes=tuple(session.notes),
    )
    if session.features is not None:
        yield from cache_features(session, session.features)
    while session.epoch < recipe.total_epochs and not session.out_of_patience:
        unfreeze_when_due(session)
        yield from train_epoch(session)
        yield finish_epoch(session)
    yield finish_run(session, "early_stopping" if session.epoch < recipe.total_epochs else "completed")


def train_epoch(session: Session) -> Iterator[StepDone]:
    """Make the remaining steps of the current epoch."""
    recipe, loader = session.recipe, session.train_loader
    rank, world = distributed.rank(), distributed.world()
    started = time.perf_counter()
    for batch in loader.epoch(session.epoch, start_step=session.step):
        total_step = session.epoch * len(loader) + session.step
        lr = learning_rate(recipe, total_step, len(loader))
        set_learning_rate(session.optimizer, lr)
        images = loader.images_in(session.step)
        # Processes average their gradients as equals, so one with a smaller part of a batch must count less.
        share = len(batch.labels) * world / images
        # The same on every process, and never parts of a single image: BatchNorm cannot train on one.
        parts = max(1, min(recipe.accumulate, images // world // 2))
        try:
            with seeded(session.device, recipe.seed, total_step, rank):
                session.set_modes()
                loss, correct = train_step(session, batch.images, batch.targets, share, parts)
        except torch.OutOfMemoryError:
            raise TrainingError(
                f"The memory of {session.device} does not suffice for a step of {len(batch.labels)} images. Try "
                f"accumulate={2 * recipe.accumulate} (the same batch in smaller parts) or "
                f"batch_size={max(1, recipe.batch_size // 2)}."
            ) from None
        if session.average:
            session.average.update(session.model, total_step)
        session.step += 1
        session.sums += torch.stack([loss * len(batch.labels), correct, torch.full_like(loss, len(batch.labels))])
        cheap = session.device.type == "cpu" and world == 1
        if cheap or session.step % CHECK_EVERY == 0 or session.step == len(loader):
            check_finite(loss, session)
        now = time.perf_counter()
        session.epoch_seconds, started = session.epoch_seconds + now - started, now
        yield StepDone(session, session.epoch + 1, session.step, len(batch.labels), lr, loss)
        started = time.perf_counter()  # what the consumer did is not training time


def evaluate(
    model: nn.Module, loader: Loader | FeatureLoader, device: torch.device, precision: Precision
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (N, K) float32 and labels (N,) int64 of a whole split, in its order, on every process.

    Every part of the network is left in the mode it was in.
    """
    parts = list(_outputs(model, loader, device, precision))
    mine = tuple(torch.cat(column) for column in zip(*parts, strict=True)) if parts else None
    shares = [share for share in distributed.gather(mine) if share is not None]
    outputs, labels, positions = (torch.cat(column) for column in zip(*shares, strict=True))
    order = positions.argsort()
    return outputs[order].numpy(), labels[order].numpy()


Part = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Outputs (n, ...) float32, labels (n,) and positions in the split (n,) of a batch, on the CPU."""


@torch.no_grad()
def _outputs(
    model: nn.Module, loader: Loader | FeatureLoader, device: torch.device, precision: Precision
) -> Iterator[Part]:
    """Yield what the network in eval mode makes of each batch."""
    with evaluating(model):
        for batch in loader.epoch(0):
            with precision.autocast(device):
                outputs = model(batch.images).float().cpu()
            yield outputs, batch.labels.cpu(), batch.indices.cpu()


def cache_features(session: Session, shape: tuple[int, ...]) -> Iterator[FeaturesComputed]:
    """Run the frozen part over the images once, and let the steps and epochs to come see only what follows it.

    Args:
        session: its loaders and network change.
        shape: of the features of an image.
    """
    started = time.perf_counter()
    shown = session.data.val or session.data.test
    splits = [split for split in (session.data.train, shown) if split is not None]
    total = sum(len(split) for split in splits)
    body = Body(session.model)
    features, done = [], 0
    for split in splits:
        # Filled in place, by each process at its positions: there is never a second copy.
        kept = torch.zeros(len(split), *shape, device=session.device)
        for outputs, _, indices in _outputs(body, evaluation_loader(session, split), session.device, session.precision):
            kept[indices.to(session.device)] = outputs.to(session.device)
            done += len(outputs) * distributed.world()
            yield FeaturesComputed(session, min(done, total), total)
        distributed.add_up(kept)
        features.append(kept)
    assert isinstance(session.train_loader, Loader)
    session.train_loader = FeatureLoader(session.train_loader, features[0])
    if isinstance(session.val_loader, Loader):
        session.val_loader = FeatureLoader(session.val_loader, features[1])
    session.network = session.wrapped(trained_tail(session.model))
    session.on_features = True
    session.seconds += time.perf_counter() - started


def finish_epoch(session: Session) -> EpochDone:
    """Evaluate after an epoch, decide whether its weights are the ones to keep, and move to the next epoch."""
    started = time.perf_counter()
    distributed.share_buffers(session.model)
    if session.average:
        distributed.share_buffers(session.average.model)
    check_weights(session)
    sums = sum(distributed.gather(session.sums.cpu()))
    loss_sum, correct, seen = sums.tolist()
    training_seconds = session.epoch_seconds
    split = "" if session.val_loader is None else "val" if session.selects else "test"
    val_loss = val_accuracy = math.nan
    if session.val_loader is not None:
        logits, labels = evaluate(session.shown, session.val_loader, session.device, session.precision)
        val_loss, val_accuracy = loss_and_accuracy(logits, labels)
        if not math.isfinite(val_loss):
            raise diverged(session, f"The loss on {split} became {val_loss}")
    session.epoch += 1
    is_best = not session.selects or (val_accuracy, -val_loss) > (session.best_accuracy, -session.best_loss)
    if is_best:
        session.best_accuracy, session.best_loss, session.best_epoch = val_accuracy, val_loss, session.epoch
        if session.selects:
            session.best_weights = {k: v.detach().cpu().clone() for k, v in session.evaluated.state_dict().items()}
    seconds = training_seconds + time.perf_counter() - started
    session.seconds += seconds
    total_steps = session.epoch * len(session.train_loader)
    lr = learning_rate(session.recipe, total_steps - 1, len(session.train_loader))
    session.step, session.epoch_seconds = 0, 0.0
    session.sums = torch.zeros_like(session.sums)
    return EpochDone(
        session,
        epoch=session.epoch,
        step=total_steps,
        lr=lr,
        train_loss=loss_sum / max(seen, 1),
        train_accuracy=correct / max(seen, 1),
        split=split,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        seconds=seconds,
        images_per_second=seen / max(training_seconds, 1e-9),
        is_best=is_best,
    )


def finish_run(session: Session, reason: str) -> Finished:
    """Put the kept weights into ``session.evaluated`` and evaluate them on the test split, or on val without one."""
    if session.best_weights:
        session.evaluated.load_state_dict(session.best_weights)
    split = "test" if session.data.test is not None else "val"
    held_out = session.data.test or session.data.val
    if held_out is None:
        split, held_out = "train", session.data.train
    loader = evaluation_loader(session, held_out)
    logits, labels = evaluate(session.evaluated, loader, session.device, session.precision)
    loss, accuracy = loss_and_accuracy(logits, labels)
    return Finished(
        session, reason, session.best_epoch or session.epoch, split, accuracy, loss, logits, labels, session.seconds
    )


def loss_and_accuracy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross entropy and accuracy of ``logits`` (N, K) for ``labels`` (N,)."""
    scores, truth = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    return float(nn.functional.cross_entropy(scores, truth)), float((scores.argmax(1) == truth).double().mean())


def check_finite(loss: torch.Tensor, session: Session) -> None:
    """Stop a training, on every process, when the loss of one is not a number.

    Raises:
        DivergedError: naming the step and what to try.
    """
    if distributed.any_process(not math.isfinite(float(loss))):
        raise diverged(session, f"The loss became {float(loss)}")
