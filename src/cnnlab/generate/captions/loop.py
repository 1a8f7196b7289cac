"""Training a captioning network: :func:`fit_captions` is a generator of events, as :func:`cnnlab.training.fit` is.

The consumer of the events decides what to show and what to save; closing the generator stops the training::

    for event in fit_captions(load_caption_recipe("attention")):
        if isinstance(event, CaptionEpoch):
            print(event.epoch, event.train_loss, event.val_bleu)

Randomness is a pure function of the seed and the position in the run, so a run that is stopped anywhere and resumed
gives the same bits as one that was not.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cnnlab.errors import TrainingError
from cnnlab.generate.captions.data import CaptionData
from cnnlab.generate.captions.decoders import coverage_penalty, word_loss
from cnnlab.generate.captions.evaluation import judge_validation
from cnnlab.generate.captions.events import CaptionEpoch, CaptionsFinished, CaptionStep
from cnnlab.generate.captions.loader import CaptionBatch
from cnnlab.generate.captions.recipe import CaptionRecipe
from cnnlab.generate.captions.session import CaptionSession, check_weights, compute_features, diverged, prepare_captions
from cnnlab.hardware import out_of_memory
from cnnlab.training.events import Event, FeaturesComputed, Started
from cnnlab.training.loop import CHECK_EVERY
from cnnlab.training.optim import set_learning_rate
from cnnlab.training.rules import onecycle
from cnnlab.training.seeding import seeded


def fit_captions(
    recipe: CaptionRecipe, *, data: CaptionData | None = None, session: CaptionSession | None = None
) -> Iterator[Event]:
    """Train a captioning network, yielding an event per step and per epoch.

    Args:
        recipe: the recipe of the training.
        data: the captioned images to use instead of loading ``recipe.data``.
        session: the state from which the training goes on, instead of starting anew.

    Raises:
        DivergedError: the loss is not finite any more.
        TrainingError: the memory does not suffice.
        UsageError, DataError, DeviceError: see :func:`~cnnlab.generate.captions.session.prepare_captions`.
    """
    session = session or prepare_captions(recipe, data)
    epochs = session.recipe.epochs
    yield Started(
        session,  # type: ignore[arg-type]  # that of captions
        epochs=epochs,
        steps_per_epoch=len(session.train_loader),
        parameters=sum(session.network.parameter_counts),
        notes=tuple(session.notes),
    )
    if session.caches_features:
        for done, total in compute_features(session):
            yield FeaturesComputed(session, done, total)  # type: ignore[arg-type]
    while session.epoch < epochs:
        yield from _train_epoch(session)
        yield _finish_epoch(session)
    best = session.best
    session.network.load_state_dict(best.weights)
    yield CaptionsFinished(
        session, kept_epoch=best.epoch, val_loss=best.loss, val_bleu=best.bleu, seconds=session.position.seconds
    )


def _train_epoch(session: CaptionSession) -> Iterator[CaptionStep]:
    """Make the remaining steps of the current epoch, and yield an event for each."""
    recipe, loader, position = session.recipe, session.train_loader, session.position
    session.network.train()
    started = time.perf_counter()
    for batch in loader.epoch(position.epoch, start_step=position.step):
        total_step = position.epoch * len(loader) + position.step
        lr = learning_rate(recipe, total_step, len(loader))
        set_learning_rate(session.optimizer, lr)
        try:
            with seeded(session.device, recipe.seed, total_step):
                sums = caption_step(session, batch)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise too_large(session, len(batch)) from None
        position.step += 1
        position.sums += sums
        loss = sums[0] / sums[1]
        checked = session.device.type == "cpu" or position.step % CHECK_EVERY == 0 or position.step == len(loader)
        if checked and not math.isfinite(loss.item()):
            raise diverged(session, f"The loss became {loss.item()}")
        now = time.perf_counter()
        position.epoch_seconds, started = position.epoch_seconds + now - started, now
        yield CaptionStep(session, position.epoch + 1, position.step, len(batch), lr, loss)
        session.network.train()  # the consumer may have looked at the network in eval mode
        started = time.perf_counter()  # what the consumer did is not training time


def caption_step(session: CaptionSession, batch: CaptionBatch) -> Tensor:
    """Make a training step with teacher forcing: every word of the captions is predicted from the words before it.

    Args:
        session: the state of the training, whose network and optimizer change.
        batch: images or features, with their captions.

    Returns:
        Three numbers on the device: the sum of the losses of the words, the number of words, the number of images.
    """
    recipe, null = session.recipe, session.data.vocabulary.null
    scores, attention = session.score(batch.inputs, batch.captions)
    words = (batch.captions[:, 1:] != null).sum()
    losses = word_loss(scores.float(), batch.captions, null)
    objective = losses / words
    if recipe.coverage and attention is not None:
        objective = objective + recipe.coverage * coverage_penalty(attention, batch.captions, null) / len(
            batch.captions
        )
    session.optimizer.zero_grad(set_to_none=True)
    objective.backward()
    if recipe.clip_norm:
        nn.utils.clip_grad_norm_(session.network.parameters(), recipe.clip_norm)
    session.optimizer.step()
    return torch.stack([losses.detach(), words, words.new_tensor(len(batch))]).to(session.position.sums)


def learning_rate(recipe: CaptionRecipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of ``step`` (0-based, over the whole run): a linear rise, then a linear fall to zero."""
    return onecycle(step, recipe.epochs * steps_per_epoch, 0, recipe.lr, recipe.warmup_fraction)


def _finish_epoch(session: CaptionSession) -> CaptionEpoch:
    position, best = session.position, session.best
    started = time.perf_counter()
    check_weights(session)
    losses, words, images = position.sums.tolist()
    lr = session.optimizer.param_groups[0]["lr"]
    val_loss, val_bleu = judge_validation(session)
    training_seconds = position.epoch_seconds
    seconds = training_seconds + time.perf_counter() - started
    is_best = val_loss < best.loss
    position.next_epoch(seconds)
    if is_best:
        best.loss, best.bleu, best.epoch = val_loss, val_bleu, position.epoch
        best.weights = {name: copy.deepcopy(t.detach().cpu()) for name, t in session.network.state_dict().items()}
    return CaptionEpoch(
        session,
        epoch=position.epoch,
        step=position.epoch * len(session.train_loader),
        lr=lr,
        train_loss=losses / max(words, 1),
        val_loss=val_loss,
        val_bleu=val_bleu,
        seconds=seconds,
        images_per_second=images / max(training_seconds, 1e-9),
        is_best=is_best,
    )


def too_large(session: CaptionSession, images: int) -> TrainingError:
    """Return the error whose message has the number of images that did not fit, and a batch size to try."""
    recipe = session.recipe
    if recipe.batch_size == 1:
        return TrainingError(f"The memory of {session.device} does not suffice for a single image. Take a smaller one.")
    return TrainingError(
        f"The memory of {session.device} does not suffice for a step of {images} images with "
        f"{recipe.captions_per_image} captions each. Try batch_size={recipe.batch_size // 2}."
    )
