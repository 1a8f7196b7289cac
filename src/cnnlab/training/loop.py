"""The training loop: :func:`fit` is the run, :func:`train_epoch` an epoch, :func:`evaluate` one pass over a split.

A single step is :func:`cnnlab.training.step.train_step`.
``fit`` is a generator of events: whoever consumes it decides what to show and what to save. Stopping is closing it::

    for event in fit(recipe):
        if isinstance(event, EpochDone) and event.val_accuracy > 0.99:
            break

Randomness is a pure function of the seed and the position in the run (see :func:`cnnlab.training.seeding.seeded`), so
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

from cnnlab.data import ImageData, Loader, Split
from cnnlab.errors import TrainingError
from cnnlab.hardware import out_of_memory
from cnnlab.training import distributed
from cnnlab.training.build import prepare
from cnnlab.training.by_clock import follow_machine, forecast_epochs, has_time_to_evaluate, on_free_cores, start_clock
from cnnlab.training.clock import Clock
from cnnlab.training.evaluation import SixViews, evaluate, loss_and_accuracy, outputs_of
from cnnlab.training.events import EpochDone, Event, FeaturesComputed, Finished, Started, StepDone
from cnnlab.training.feature_cache import Body, FeatureLoader
from cnnlab.training.optim import learning_rate, set_learning_rate
from cnnlab.training.recipe import Recipe
from cnnlab.training.seeding import seeded
from cnnlab.training.session import Session, check_weights, diverged, evaluation_loader, unfreeze_when_due
from cnnlab.training.state import check_same_start
from cnnlab.training.step import train_step
from cnnlab.training.transfer import trained_tail

# A GPU and other processes are asked only this often whether the loss is still a number: each look waits for them.
CHECK_EVERY = 10

# The number of steps of a training that the clock ends, as long as nothing is known about it.
MANY_STEPS = 1_000_000


def fit(
    recipe: Recipe, *, data: ImageData | None = None, session: Session | None = None, clock: Clock | None = None
) -> Iterator[Event]:
    """Train as ``recipe`` says, yielding an event per step and per epoch.

    Args:
        recipe: the recipe of the training.
        data: the images to use instead of loading ``recipe.data``.
        session: the state to go on from instead of starting anew (see :func:`cnnlab.training.build.prepare`).
        clock: the time of a training whose recipe gives it minutes; from now on when ``None``.

    Raises:
        TrainingError: the recipe and the data do not fit together, the memory does not suffice, torch.compile
            failed, or the time was over before the first step.
        DivergedError: the loss is not a number any more.
        ProcessLostError: another process of the training does not answer any more.
        DataError, ModelError, DeviceError: from building what the recipe names.
    """
    session = session or prepare(recipe, data, clock=clock)
    recipe = session.recipe
    trained = session.position.seconds + session.position.epoch_seconds
    check_same_start(session)
    yield Started(
        session,
        epochs=recipe.total_epochs,
        steps_per_epoch=len(session.train_loader),
        parameters=sum(p.numel() for p in session.model.parameters()),
        notes=tuple(session.notes),
    )
    if session.feature_shape and not session.on_features:
        yield from cache_features(session, session.feature_shape)
    with on_free_cores(session.clock):
        start_clock(session, trained)
        while session.step or not (session.at_end or session.out_of_patience):  # an epoch that has begun is finished
            unfreeze_when_due(session)
            yield from train_epoch(session)
            yield finish_epoch(session)
        forecast_epochs(session)
        yield finish_run(session, "completed" if session.at_end else "early_stopping")


def train_epoch(session: Session) -> Iterator[StepDone]:
    """Make the remaining steps of the current epoch, and yield an event for each."""
    recipe, loader = session.recipe, session.train_loader
    position, rank, world = session.position, distributed.rank(), distributed.world()
    started = time.perf_counter()
    for batch in loader.epoch(
        position.epoch, start_step=position.step, side=lambda step: side_of_images(session, step)
    ):
        if session.look_at_clock() >= 1 and position.step:  # an epoch that has begun has a step
            break
        started += follow_machine(session)  # that is not training time either
        total_step = position.epoch * len(loader) + position.step
        lr = rate_at(session, total_step)
        set_learning_rate(session.optimizer, lr)
        images = loader.images_in(position.step)
        # Processes average their gradients as equals, so one with a smaller part of a batch must count less.
        share = len(batch.labels) * world / images
        parts = recipe.parts(images // world)  # the same on every process
        try:
            with seeded(session.device, recipe.seed, total_step, rank):
                session.set_modes()
                loss, logits = train_step(session, batch.images, batch.targets, share, parts)
        except RuntimeError as error:
            if distributed.is_loss_of_process(error):
                raise distributed.lost_process(error) from error
            if recipe.compile and isinstance(error, torch._dynamo.exc.TorchDynamoException):
                cause = getattr(error, "inner_exception", error)
                reason = f"{type(cause).__name__}: {cause}".partition("\n")[0]
                raise TrainingError(
                    f"torch.compile failed ({reason}). With compile=false the network trains as it is."
                ) from error
            if not out_of_memory(error):
                raise
            raise out_of_memory_error(session, len(batch.labels), parts) from None
        if session.ema:
            session.ema.update(session.model, total_step)
        position.step += 1
        position.add(loss, logits, batch.targets)
        cheap = session.device.type == "cpu" and world == 1
        if cheap or position.step % CHECK_EVERY == 0 or position.step == len(loader):
            check_finite(loss, session)
        now = time.perf_counter()
        position.epoch_seconds, started = position.epoch_seconds + now - started, now
        yield StepDone(session, position.epoch + 1, position.step, len(batch.labels), lr, loss)
        started = time.perf_counter()  # what the consumer did is not training time
        if session.clock:
            session.clock.step_done()  # but it is time all the same
    session.look_at_clock()


def side_of_images(session: Session, step: int) -> int | None:
    """Return the side in pixels of the training images in a step of this epoch; None where it is the usual one."""
    recipe = session.recipe
    if not recipe.image_sizes:
        return None
    share = session.time_share if session.clock else (session.epoch + step / len(session.train_loader)) / recipe.epochs
    return recipe.image_sizes[min(int(share * len(recipe.image_sizes)), len(recipe.image_sizes) - 1)]


def rate_at(session: Session, step: int) -> float:
    """Return the learning rate of a step of the run, counted from 0."""
    total: float | None = None
    if session.clock:
        # As many steps as fit into the time at the mean pace so far: the share of them is the share of the time.
        # Not rounded, or the rate would rise where a step takes a smaller share of the time than the rounding does.
        total = max(step + 1, step / session.time_share) if step and session.time_share else MANY_STEPS
    return learning_rate(session.recipe, step, len(session.train_loader), total)


def cache_features(session: Session, shape: tuple[int, ...]) -> Iterator[FeaturesComputed]:
    """Run the frozen part over the images once; the steps and evaluations to come run only the last layer.

    Each process fills in the features of its own images; at the end all have all. There is never a second copy.

    Args:
        session: the training, whose loaders and network change.
        shape: the shape of one image's features.
    """
    started = time.perf_counter()
    device, held_out = session.device, session.data.val or session.data.test
    splits = [split for split in (session.data.train, held_out) if split is not None]
    total = sum(len(split) for split in splits)
    body = Body(session.model)
    filled, done = [], 0
    for split in splits:
        features = torch.zeros(len(split), *shape, device=device)
        for outputs, _, positions in outputs_of(body, evaluation_loader(session, split), device, session.precision):
            features[positions.to(device)] = outputs.to(device)
            done += len(outputs) * distributed.world()
            yield FeaturesComputed(session, min(done, total), total)
        distributed.add_up(features)
        filled.append(features)
    session.train_loader = FeatureLoader(session.train_loader, filled[0])
    if session.val_loader:
        session.val_loader = FeatureLoader(session.val_loader, filled[1])
    session.network = session.wrapped(trained_tail(session.model))
    session.position.seconds += time.perf_counter() - started


def finish_epoch(session: Session) -> EpochDone:
    """Evaluate after an epoch, decide whether its weights are the ones to keep, and move to the next epoch.

    A value that :class:`~cnnlab.training.events.EpochDone` declares is a column of ``metrics.csv``.
    """
    started = time.perf_counter()
    position = session.position
    distributed.share_buffers(session.model)
    if session.ema:
        distributed.share_buffers(session.ema.model)
    check_weights(session)
    loss_sum, correct, images = sum(distributed.gather(position.sums.cpu())).tolist()
    split, val_loss, val_accuracy = evaluate_epoch(session)
    is_best = keep_if_best(session, val_loss, val_accuracy)
    training_seconds = position.epoch_seconds
    seconds = training_seconds + time.perf_counter() - started
    total_steps = position.epoch * len(session.train_loader) + position.step
    lr = rate_at(session, max(total_steps - 1, 0))
    position.next_epoch(seconds)
    session.look_at_clock()
    forecast_epochs(session)
    return EpochDone(
        session,
        epoch=position.epoch,
        step=total_steps,
        lr=lr,
        train_loss=loss_sum / max(images, 1),
        train_accuracy=correct / max(images, 1),
        split=split,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        seconds=seconds,
        images_per_second=images / max(training_seconds, 1e-9),
        is_best=is_best,
    )


def evaluate_epoch(session: Session) -> tuple[str, float, float]:
    """Return the name of the split that is evaluated after every epoch ("" without one), the loss and the accuracy.

    Raises:
        DivergedError: the loss is not a number.
    """
    if session.val_loader is None or not evaluation_due(session):
        return "", math.nan, math.nan
    split = "val" if session.selects else "test"
    network = trained_tail(session.evaluated) if session.on_features else session.evaluated
    outputs = timed_evaluation(session, network, session.val_loader)
    loss, accuracy = loss_and_accuracy(*outputs)
    session.position.evaluated_epoch = session.epoch + 1
    session.test_outputs = None if session.selects or session.on_features else (session.epoch + 1, *outputs)
    if not math.isfinite(loss):
        raise diverged(session, f"The loss on {split} became {loss}")
    return split, loss, accuracy


def timed_evaluation(session: Session, network: nn.Module, loader: Loader) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (N, K) and labels (N,) of all images of ``loader``, and tell the clock how long that took.

    Args:
        session: the training.
        network: the network that is evaluated, or its last part where features are cached.
        loader: images, or features, in their order.
    """
    started = time.perf_counter()
    outputs = evaluate(network, loader, session.device, session.precision)
    if session.clock:
        seconds = time.perf_counter() - started
        session.clock.evaluated(seconds, len(loader.split) // distributed.world(), whole=network is session.evaluated)
    return outputs


def evaluation_due(session: Session) -> bool:
    """Return whether the epoch that ends here is evaluated, by the recipe and by what the clock has time for."""
    recipe, done = session.recipe, session.epoch + 1
    last = session.at_end if session.clock else done >= recipe.total_epochs
    return (done % recipe.evaluate_every == 0 or last) and has_time_to_evaluate(session)


def keep_if_best(session: Session, loss: float, accuracy: float) -> bool:
    """Keep the weights of the epoch that ends here if none was better; return whether they are kept."""
    best = session.best
    if session.selects and (math.isnan(accuracy) or (accuracy, -loss) <= (best.accuracy, -best.loss)):
        return False
    best.accuracy, best.loss, best.epoch = accuracy, loss, session.epoch + 1
    if session.selects:
        best.weights = {k: v.detach().cpu().clone() for k, v in session.evaluated.state_dict().items()}
    return True


def finish_run(session: Session, reason: str) -> Finished:
    """Put the kept weights into ``session.evaluated`` and evaluate them on the test split, or on val without one."""
    if session.best.weights:
        session.evaluated.load_state_dict(session.best.weights)
    split = "test" if session.data.test is not None else "val"
    held_out = session.data.test or session.data.val
    if held_out is None:
        split, held_out = "train", session.data.train
    if session.test_outputs and session.test_outputs[0] == session.epoch:
        logits, labels = session.test_outputs[1:]  # the last epoch, whose weights are kept, is evaluated already
    else:
        logits, labels = timed_evaluation(session, session.evaluated, evaluation_loader(session, held_out))
    loss, accuracy = loss_and_accuracy(logits, labels)
    kept_epoch, tta_accuracy = session.best.epoch or session.epoch, None
    if session.recipe.tta:
        tta_accuracy = loss_and_accuracy(tta_logits(session, held_out, logits), labels)[1]
    seconds = session.position.seconds
    return Finished(session, reason, kept_epoch, split, accuracy, loss, logits, labels, seconds, tta_accuracy)


def tta_logits(session: Session, split: Split, logits: np.ndarray) -> np.ndarray:
    """Return logits (N, K) float32 with test-time augmentation of the unsure answers.

    Images whose largest softmax probability is below the recipe's ``tta`` get the logits of :class:`SixViews`; only
    they pass through the network again. Hiverge's trainings look at the least certain images only, too
    (https://github.com/hiverge/cifar10-speedrun). Where the clock ends the training, it is as many as there is time
    for, the least certain first.

    Args:
        session: the training, whose evaluated network answers.
        split: N images.
        logits: the network's logits (N, K) float32 for them.
    """
    probabilities = torch.from_numpy(logits).softmax(1).amax(1)
    unsure = (probabilities < session.recipe.tta).nonzero().flatten()
    if session.clock:
        most = distributed.broadcast(session.clock.images_left) * distributed.world()
        unsure = unsure[probabilities[unsure].argsort()[:most]].sort().values
    if not len(unsure):
        return logits
    loader = evaluation_loader(session, split.subset(unsure))
    better, _ = evaluate(SixViews(session.evaluated), loader, session.device, session.precision)
    result = logits.copy()
    result[unsure.numpy()] = better
    return result


def out_of_memory_error(session: Session, images: int, parts: int) -> TrainingError:
    """Return the error that says what to try where a step needs too much memory.

    Args:
        session: the training.
        images, parts: the number of images of the step, and of the parts in which they were computed.
    """
    batch = session.recipe.batch_size
    smaller = f"batch_size={batch // 2}" if batch >= 4 else "a smaller image_size"
    if 2 * parts <= images // 2:  # a part has two images at least
        smaller = f"accumulate={2 * parts} (the same batch in smaller parts) or {smaller}"
    at_a_time = f", {-(-images // parts)} at a time" if parts > 1 else ""
    return TrainingError(
        f"The memory of {session.device} does not suffice for a step of {images} images{at_a_time}. Try {smaller}."
    )


def check_finite(loss: torch.Tensor, session: Session) -> None:
    """Stop a training, on every process, when the loss of one is not a number.

    Raises:
        DivergedError: naming the step and what to try.
    """
    if distributed.any_process(not math.isfinite(float(loss))):
        raise diverged(session, f"The loss became {float(loss)}")
