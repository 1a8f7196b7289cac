"""Training a GAN: :func:`fit_gan` is a generator of events, as :func:`cnnlab.training.fit` is for classifiers.

The consumer of the events decides what to show and what to save; closing the generator stops the training::

    for event in fit_gan(load_gan_recipe("dcgan")):
        if isinstance(event, GanEpoch):
            print(event.epoch, event.discriminator_loss, event.generator_loss)

Randomness is a pure function of the seed and the position in the run, so a run that is stopped anywhere and resumed
gives the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from torch import Tensor

from cnnlab.data import ImageData
from cnnlab.errors import TrainingError
from cnnlab.generate.gans.events import GanEpoch, GanFinished, GanStep
from cnnlab.generate.gans.recipe import GanRecipe
from cnnlab.generate.gans.session import GanSession, diverged, prepare_gan
from cnnlab.generate.gans.step import gan_step
from cnnlab.hardware import out_of_memory
from cnnlab.training.events import Event, Started
from cnnlab.training.loop import CHECK_EVERY
from cnnlab.training.seeding import seeded


def fit_gan(recipe: GanRecipe, *, data: ImageData | None = None, session: GanSession | None = None) -> Iterator[Event]:
    """Train a generator and a discriminator, yielding an event per step and per epoch.

    Args:
        recipe: the recipe of the training.
        data: the images to use instead of loading ``recipe.data``.
        session: the state from which the training goes on, instead of starting anew.

    Raises:
        DivergedError: a loss is not finite any more.
        TrainingError: the memory does not suffice.
        DataError, ShapeError, DeviceError: from building what the recipe names.
    """
    session = session or prepare_gan(recipe, data)
    epochs = session.recipe.epochs
    yield Started(
        session,  # type: ignore[arg-type]  # that of a GAN
        epochs=epochs,
        steps_per_epoch=len(session.train_loader),
        parameters=sum(session.gan.parameter_counts),
        notes=tuple(session.notes),
    )
    while session.epoch < epochs:
        yield from _train_epoch(session)
        yield _finish_epoch(session)
    yield GanFinished(session, seconds=session.position.seconds)


def _train_epoch(session: GanSession) -> Iterator[GanStep]:
    """Make the remaining steps of the current epoch, and yield an event for each."""
    recipe, loader, position = session.recipe, session.train_loader, session.position
    started = time.perf_counter()
    for batch in loader.epoch(position.epoch, start_step=position.step):
        total_step = position.epoch * len(loader) + position.step
        penalised = recipe.r1 > 0 and total_step % recipe.r1_every == 0
        try:
            with seeded(session.device, recipe.seed, total_step):
                sums = gan_step(session, batch.images, penalised)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            smaller = f"batch_size={recipe.batch_size // 2}" if recipe.batch_size >= 4 else "a smaller image_size"
            raise TrainingError(
                f"The memory of {session.device} does not suffice for a step of {len(batch)} images. Try {smaller}."
            ) from None
        if session.ema:
            session.ema.update(session.gan.generator, total_step)
        position.step += 1
        position.sums += sums
        if session.device.type == "cpu" or position.step % CHECK_EVERY == 0 or position.step == len(loader):
            _check_finite(session, sums)
        now = time.perf_counter()
        position.epoch_seconds, started = position.epoch_seconds + now - started, now
        losses = sums[:2] / len(batch)
        yield GanStep(session, position.epoch + 1, position.step, len(batch), recipe.lr, losses[0], losses[1])
        started = time.perf_counter()  # what the consumer did is not training time


def _finish_epoch(session: GanSession) -> GanEpoch:
    position = session.position
    sums = position.sums.tolist()
    images, seconds = sums[5], position.epoch_seconds
    discriminator_loss, generator_loss, real_logit, fake_logit = (value / max(images, 1) for value in sums[:4])
    position.next_epoch(seconds)
    return GanEpoch(
        session,
        epoch=position.epoch,
        step=position.epoch * len(session.train_loader),
        discriminator_loss=discriminator_loss,
        generator_loss=generator_loss,
        real_logit=real_logit,
        fake_logit=fake_logit,
        penalty=sums[4] / sums[6] if sums[6] else math.nan,
        seconds=seconds,
        images_per_second=images / max(seconds, 1e-9),
    )


def _check_finite(session: GanSession, sums: Tensor) -> None:
    """Stop the training when a loss is not finite.

    Raises:
        DivergedError: a loss is not finite; the message has the step, and settings to try.
    """
    for name, value in zip(("discriminator", "generator"), sums.tolist(), strict=False):
        if not math.isfinite(value):
            raise diverged(session, f"The loss of the {name} became {value}")
