"""The training loop: four short functions and the state they work on.

:func:`fit` is the run, :func:`train_epoch` an epoch, :func:`train_step` a step, :func:`evaluate` a look at a split.
``fit`` is a generator of events: whoever consumes it decides what to show and what to save. Stopping is closing it::

    for event in fit(recipe):
        if isinstance(event, EpochDone) and event.val_accuracy > 0.99:
            break

Randomness is a pure function of the seed and the position in the run (see :func:`seeded`), so a run that is stopped
anywhere and resumed gives the same bits as one that was not, and two networks trained with ``zip`` do not disturb
each other.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from cnnlab.data import ImageData, Loader, Preprocess, Split, channel_statistics, load_data
from cnnlab.data.doctor import class_findings
from cnnlab.errors import DataError, DivergedError, TrainingError, UsageError
from cnnlab.training import distributed
from cnnlab.training.events import EpochDone, Event, Finished, Started, StepDone
from cnnlab.training.optim import WeightAverage, learning_rate, make_optimizer, set_learning_rate
from cnnlab.training.recipe import Recipe
from cnnlab.training.speed import Speed, choose_device, choose_speed, to_memory_format
from cnnlab.zoo import create_model, models

# A GPU is asked for the loss only this often, to see whether it is still a number: each look waits for it.
CHECK_EVERY = 50


@dataclass
class Session:
    """The live state of a training: everything that changes, and what it was built from."""

    recipe: Recipe  # resolved: precision, memory format, image size and device are decided
    data: ImageData
    model: nn.Module
    network: nn.Module  # what the steps call: the model, compiled or wrapped for several processes
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None
    criterion: nn.CrossEntropyLoss
    device: torch.device
    speed: Speed
    preprocess: Preprocess
    train_loader: Loader
    val_loader: Loader | None  # shown after every epoch
    notes: list[str] = field(default_factory=list)

    # Position in the run
    epoch: int = 0  # epochs completed
    step: int = 0  # steps made in the current epoch
    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))  # loss, correct, seen
    seconds: float = 0.0  # of training, over all sittings
    epoch_seconds: float = 0.0

    # The weights to keep
    best_loss: float = math.inf
    best_accuracy: float = -1.0
    best_epoch: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and kept: the weight average where there is one."""
        return self.average.model if self.average else self.model

    @property
    def selects(self) -> bool:
        """Whether a validation split chooses the weights; otherwise those of the last epoch are kept."""
        return self.data.val is not None


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
    reason = "completed"
    while session.epoch < recipe.total_epochs:
        yield from train_epoch(session)
        yield finish_epoch(session)
        if recipe.early_stopping and session.epoch - session.best_epoch >= recipe.early_stopping:
            reason = "early_stopping"
            break
    yield finish_run(session, reason)


def train_epoch(session: Session) -> Iterator[StepDone]:
    """Make the remaining steps of the current epoch."""
    recipe, loader = session.recipe, session.train_loader
    rank, world = distributed.rank(), distributed.world()
    started = time.perf_counter()
    for batch in loader.epoch(session.epoch, start_step=session.step):
        total_step = session.epoch * len(loader) + session.step
        lr = learning_rate(recipe, total_step, len(loader))
        set_learning_rate(session.optimizer, lr)
        # Processes average their gradients as equals, so one with a smaller part of a batch must count less.
        share = len(batch.labels) * world / loader.images_in(session.step)
        with seeded(session.device, recipe.seed, total_step, rank):
            loss, correct = train_step(session, batch.images, batch.targets, batch.labels, share)
        if session.average:
            session.average.update(session.model, total_step)
        session.step += 1
        session.sums += torch.stack([loss * len(batch.labels), correct, torch.full_like(loss, len(batch.labels))])
        if session.device.type == "cpu" or session.step % CHECK_EVERY == 0 or session.step == len(loader):
            check_finite(loss, session, lr)
        now = time.perf_counter()
        session.epoch_seconds, started = session.epoch_seconds + now - started, now
        yield StepDone(session, session.epoch + 1, session.step, len(batch.labels), lr, loss)
        started = time.perf_counter()  # what the consumer did is not training time


def train_step(
    session: Session, images: torch.Tensor, targets: torch.Tensor, labels: torch.Tensor, share: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward, backward, clip, step.

    Args:
        session: the state; its weights and optimizer change.
        images: (N, C, H, W) float32, normalised.
        targets: (N,) class indices, or (N, K) probabilities when images were mixed.
        labels: (N,) class indices.
        share: weight of these images in the gradient, 1 unless several processes have unequal parts of a batch.

    Returns:
        The mean loss and the number of correct answers, as float64 scalars on the device.
    """
    if not session.network.training:  # walking through all modules costs more than asking
        session.network.train()
    session.optimizer.zero_grad(set_to_none=True)
    loss_sum = torch.zeros((), dtype=torch.float64, device=session.device)
    correct = torch.zeros((), dtype=torch.float64, device=session.device)
    # Never parts of a single image: BatchNorm cannot train on one.
    parts = max(1, min(session.recipe.accumulate, len(images) // 2))
    chunks = [(images, targets, labels)]
    if parts > 1:
        chunks = list(zip(images.chunk(parts), targets.chunk(parts), labels.chunk(parts), strict=True))
    for part, target, label in chunks:
        with session.speed.autocast(session.device):
            logits = session.network(part)
        loss = session.criterion(logits.float(), target)
        weight = len(part) / len(images)
        (loss if weight * share == 1 else loss * (weight * share)).backward()
        loss_sum += loss.detach() * weight
        correct += (logits.detach().argmax(1) == label).sum()
    if session.recipe.clip_norm:
        nn.utils.clip_grad_norm_(session.model.parameters(), session.recipe.clip_norm)
    session.optimizer.step()
    return loss_sum, correct


@torch.no_grad()
def evaluate(model: nn.Module, loader: Loader, device: torch.device, speed: Speed) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (N, K) float32 and labels (N,) int64 of a whole split, in its order, on every process.

    The network is left in the mode it was in.
    """
    was_training = model.training
    model.eval()
    logits, labels, indices = [], [], []
    for batch in loader.epoch(0):
        with speed.autocast(device):
            logits.append(model(batch.images).float().cpu())
        labels.append(batch.labels.cpu())
        indices.append(batch.indices.cpu())
    model.train(was_training)
    mine = (torch.cat(logits), torch.cat(labels), torch.cat(indices)) if logits else None
    shares = [share for share in distributed.gather(mine) if share is not None]
    order = torch.cat([share[2] for share in shares]).argsort()
    return (
        torch.cat([share[0] for share in shares])[order].numpy(),
        torch.cat([share[1] for share in shares])[order].numpy(),
    )


def finish_epoch(session: Session) -> EpochDone:
    """Evaluate after an epoch, decide whether its weights are the ones to keep, and move to the next epoch."""
    started = time.perf_counter()
    sums = sum(distributed.gather(session.sums.cpu()))
    loss_sum, correct, seen = sums.tolist()
    training_seconds = session.epoch_seconds
    split = "val" if session.selects else "test"
    val_loss = val_accuracy = math.nan
    if session.val_loader is not None:
        logits, labels = evaluate(session.evaluated, session.val_loader, session.device, session.speed)
        val_loss, val_accuracy = loss_and_accuracy(logits, labels)
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
    logits, labels = evaluate(session.evaluated, loader, session.device, session.speed)
    loss, accuracy = loss_and_accuracy(logits, labels)
    return Finished(
        session, reason, session.best_epoch or session.epoch, split, accuracy, loss, logits, labels, session.seconds
    )


def prepare(recipe: Recipe, data: ImageData | None = None) -> Session:
    """Build everything that ``recipe`` names: data, network, optimizer, loaders; decide precision by a trial.

    Raises:
        TrainingError: the recipe and the data do not fit together.
        DataError, ModelError, DeviceError: from the parts.
    """
    device = distributed.local_device(choose_device(recipe.device))
    distributed.start(device)
    facts = models.get(recipe.model).facts
    data = data or load_data(recipe.data, data_dir=recipe.data_dir, seed=recipe.seed)
    data = hold_out(recipe, data)
    _check_data(recipe, data)
    notes = [f"data: {data.name}, {data.notes[0]}" if data.notes else f"data: {data.name}", *data.notes[1:]]
    notes += [f"{f.severity}: {f.message}. {f.advice}" for f in class_findings(data) if f.severity != "note"]
    classes = len(data.classes)
    channels = recipe.in_channels or data.train.channels
    size, size_note = _image_size(recipe, data, facts.min_size, facts.image_size)
    notes += [size_note] * bool(size_note)

    with seeded(device, recipe.seed):  # the same weights on every process
        model = create_model(recipe.model, classes, channels, size, options=recipe.model_options).to(device)
    _check_batch_size(recipe, model)
    speed = distributed.broadcast(choose_speed(recipe, model, (channels, size, size), classes, device))
    to_memory_format(model, speed.memory_format)
    count = sum(p.numel() for p in model.parameters())
    notes.append(f"network: {recipe.model}, {count:,} parameters, {channels} x {size} x {size} images")
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    notes.append(f"device: {device}{threads}, {speed.describe()}")
    recipe = recipe.model_copy(
        update={
            "image_size": size,
            "in_channels": channels,
            "device": device.type if distributed.launched() else str(device),
            "precision": "bf16" if speed.bf16 else "fp32",
            "channels_last": speed.channels_last,
        }
    )
    preprocess = _preprocess(recipe, data)
    train_loader = Loader(
        data.train,
        preprocess,
        recipe.batch_size,
        augment=recipe.augment,
        shuffle=True,
        sampling=recipe.sampling,
        classes=classes,
        seed=recipe.seed,
        device=device,
        channels_last=speed.channels_last,
        rank=distributed.rank(),
        world=distributed.world(),
    )
    network: nn.Module = torch.compile(model) if recipe.compile else model  # type: ignore[assignment]
    session = Session(
        recipe=recipe,
        data=data,
        model=model,
        network=distributed.wrap(network, device),
        optimizer=make_optimizer(recipe, model),
        average=WeightAverage(model, recipe.ema) if recipe.ema else None,
        criterion=_criterion(recipe, data).to(device),
        device=device,
        speed=speed,
        preprocess=preprocess,
        train_loader=train_loader,
        val_loader=None,
        notes=notes,
        sums=torch.zeros(3, dtype=torch.float64, device=device),
    )
    shown = data.val or data.test
    if shown is not None:
        session.val_loader = evaluation_loader(session, shown)
    return session


def evaluation_loader(session: Session, split: Split) -> Loader:
    """A loader over ``split`` in its order, without augmentation, shared out over the processes."""
    return Loader(
        split,
        session.preprocess,
        max(256, session.recipe.batch_size),
        device=session.device,
        channels_last=session.speed.channels_last,
        rank=distributed.rank(),
        world=distributed.world(),
    )


@contextlib.contextmanager
def seeded(device: torch.device, *position: int) -> Iterator[None]:
    """Draw torch's random numbers as a pure function of ``position``; the caller's random state is left as it was.

    The generators are set one by one: ``torch.manual_seed`` formats a stack trace on every call, which is half a
    millisecond in each step.
    """
    seed = 0
    for number in position:
        seed = _mixed(seed ^ number)
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    before = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


def _mixed(number: int) -> int:
    """One step of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014, figure 15)."""
    number = (number + 0x9E3779B97F4A7C15) % 2**64
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def loss_and_accuracy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross entropy and accuracy of ``logits`` (N, K) for ``labels`` (N,)."""
    scores, truth = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    return float(nn.functional.cross_entropy(scores, truth)), float((scores.argmax(1) == truth).double().mean())


def check_finite(loss: torch.Tensor, session: Session, lr: float) -> None:
    """Stop a training whose loss is not a number.

    Raises:
        DivergedError: naming the step and what to try.
    """
    if not math.isfinite(float(loss)):
        advice = [f"lr={session.recipe.lr / 10:g}", "clip_norm=1.0"]
        advice += ["precision=fp32"] if session.speed.bf16 else []
        raise DivergedError(
            f"The loss became {float(loss)} in epoch {session.epoch + 1}, step {session.step} (lr {lr:.3g}). "
            f"Try {', '.join(advice)}, or `--find-lr`."
        )


def hold_out(recipe: Recipe, data: ImageData) -> ImageData:
    """Return ``data`` with the validation split and the limit of training images that ``recipe`` asks for.

    Raises:
        UsageError: the limit is less than one image for each class.
        DataError: the training split is too small to be divided.
    """
    if recipe.val_fraction and data.val is None:
        data = data.with_validation(recipe.val_fraction, recipe.seed)
    if recipe.train_limit and recipe.train_limit < len(data.train):
        if recipe.train_limit < len(data.classes):
            raise UsageError(f"train_limit={recipe.train_limit} is less than one image for each class.")
        data = data.limited(recipe.train_limit, seed=recipe.seed)
    return data


def _check_data(recipe: Recipe, data: ImageData) -> None:
    if recipe.early_stopping and data.val is None:
        raise TrainingError(
            f"early_stopping={recipe.early_stopping} needs a validation split and {data.name} has none. "
            "Set val_fraction=0.1 to hold out a part of the training split."
        )
    if len(data.train) < 2:
        raise DataError(f"{data.name} has {len(data.train)} training images; at least 2 are needed.")


def _check_batch_size(recipe: Recipe, model: nn.Module) -> None:
    normalised = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    least = 2 * distributed.world()
    if normalised and recipe.batch_size < least:
        raise TrainingError(
            f"{recipe.model} has BatchNorm, which cannot learn from single images: batch_size={recipe.batch_size} "
            f"over {distributed.world()} process(es). Set batch_size={least} or more."
        )


def _image_size(recipe: Recipe, data: ImageData, smallest: int, usual: int) -> tuple[int, str]:
    if recipe.image_size:
        return recipe.image_size, ""
    if data.train.size is None:
        return usual, f"photos are brought to {usual}x{usual}, the usual size of {recipe.model} (image_size=...)"
    side = max(data.train.size)
    if side < smallest:
        return smallest, f"{side}x{side} images are enlarged to {smallest}x{smallest}, the least {recipe.model} takes"
    return side, ""


def _preprocess(recipe: Recipe, data: ImageData) -> Preprocess:
    assert recipe.image_size
    assert recipe.in_channels
    blank = Preprocess(
        size=recipe.image_size,
        channels=recipe.in_channels,
        mean=(0.0,) * recipe.in_channels,
        std=(1.0,) * recipe.in_channels,
        resize="crop" if data.train.size is None else "stretch",
        crop_fraction=recipe.crop_fraction if data.train.size is None else 1.0,
    )
    mean, std = channel_statistics(data.train, blank)
    return Preprocess(**{**blank.to_dict(), "mean": mean, "std": std})


def _criterion(recipe: Recipe, data: ImageData) -> nn.CrossEntropyLoss:
    weight = None
    if recipe.class_weights == "auto":
        weight = data.class_weights()
    elif isinstance(recipe.class_weights, dict):
        if set(recipe.class_weights) != set(data.classes):
            raise TrainingError(
                f"class_weights names {sorted(recipe.class_weights)}, but the classes are {sorted(data.classes)}."
            )
        weight = torch.tensor([recipe.class_weights[name] for name in data.classes])
    return nn.CrossEntropyLoss(weight=weight, label_smoothing=recipe.label_smoothing)
