"""Building a session from a recipe: data, network, precision, loaders, optimizer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn

from cnnlab.data import ImageData, Loader, Preprocess, channel_statistics, load_data
from cnnlab.errors import DataError, TrainingError, UsageError
from cnnlab.hardware import Precision, choose_device
from cnnlab.training import distributed
from cnnlab.training.by_clock import on_free_cores
from cnnlab.training.checks import check_batch_size, check_kept_head, check_sizes
from cnnlab.training.clock import Clock
from cnnlab.training.feature_cache import plan_cache
from cnnlab.training.free_cores import FreeCores
from cnnlab.training.notes import data_notes, device_note, freeze_notes, network_notes, processes_notes
from cnnlab.training.optim import EMA, make_optimizer
from cnnlab.training.precision import choose_precision, to_memory_format
from cnnlab.training.recipe import Recipe
from cnnlab.training.seeding import seeded
from cnnlab.training.session import Position, Session, evaluation_loader
from cnnlab.training.step import sum_type
from cnnlab.training.sync_batchnorm import synchronise_batchnorm
from cnnlab.training.transfer import Freeze, layer_factors, make_freeze
from cnnlab.zoo import (
    Network,
    create_model,
    model_options,
    models,
    weights_preprocess,
)

# The time of the trial that chooses the precision, in seconds and as a share of the time of a training by the clock.
TRIAL_SECONDS, TRIAL_SHARE = 2.0, 0.02

Shape = tuple[int, int, int]
"""Channels, height and width of an image as the network takes it."""


def prepare(
    recipe: Recipe,
    data: ImageData | None = None,
    *,
    model: Network | None = None,
    load_weights: bool = True,
    clock: Clock | None = None,
) -> Session:
    """Build everything that ``recipe`` names: data, network, optimizer, loaders; decide precision by a trial.

    Args:
        recipe: the recipe of the training.
        data: the images to use instead of loading ``recipe.data``.
        model: the network to train instead of building the one of the recipe; it takes images of the same shape.
        load_weights: False leaves the weights of the recipe aside, because a saved state will replace them.
        clock: the time of a training whose recipe gives it minutes; from now on when ``None``.

    Raises:
        TrainingError: the recipe and the data do not fit together.
        DataError, ModelError, DeviceError: from the parts.
    """
    clock = clock or _own_clock(recipe)
    device = start_device(recipe)
    _follow_free_cores(clock, device)
    data = _load_data(recipe, data)
    shape, size_note = _input_shape(recipe, data)
    begins = model is None and load_weights and not recipe.weights
    model = model.to(device) if model is not None else _build_model(recipe, data, shape, device, load_weights)
    freeze = _frozen(recipe, model, shape)
    precision = _precision(recipe, model, shape, len(data.classes), clock)
    feature_shape = plan_cache(recipe, data, model, shape, device)
    notes = [*data_notes(data), *size_note, *network_notes(recipe, model, shape, load_weights)]
    notes += freeze_notes(recipe, model, freeze, feature_shape is not None)
    notes += [device_note(device, precision), *processes_notes(recipe)]
    recipe = _resolved(recipe, model, shape, device, precision, load_weights)
    preprocess = _preprocess(recipe, data)
    if begins:
        _start_from_images(model, data, preprocess, device)
    return _completed(
        Session(
            model=model,
            network=model,
            criterion=_criterion(recipe, data).to(device),
            optimizer=make_optimizer(recipe, model, layer_factors(recipe, model, shape)),
            precision=precision,
            clip_norm=recipe.clip_norm,
            recipe=recipe,
            data=data,
            ema=EMA(model, recipe.ema) if recipe.ema else None,
            device=device,
            preprocess=preprocess,
            train_loader=_train_loader(recipe, data, preprocess, device, precision),
            val_loader=None,
            position=Position(torch.zeros(3, dtype=sum_type(device), device=device)),
            clock=clock,
            freeze=freeze,
            feature_shape=feature_shape,
            notes=notes,
        )
    )


def _completed(session: Session) -> Session:
    """Add what is made from the session itself: the network as the steps call it, the loader of the evaluations."""
    session.network = session.wrapped(session.model)
    if (held_out := session.data.val or session.data.test) is not None:
        session.val_loader = evaluation_loader(session, held_out)
    return session


# Device and data -------------------------------------------------------------------------------------------------


def _own_clock(recipe: Recipe) -> Clock | None:
    """Return a clock that begins now, for a recipe that gives the training minutes."""
    return Clock(60 * recipe.minutes) if recipe.by_clock and recipe.minutes else None


def _follow_free_cores(clock: Clock | None, device: torch.device) -> None:
    """Let a training by the clock use the free cores only, where it computes on the CPU in one process."""
    if clock and device.type == "cpu" and distributed.world() == 1:
        clock.cores = FreeCores()


def start_device(recipe: Recipe) -> torch.device:
    """Return the device of this process, and join the other processes if there are any."""
    device = distributed.local_device(choose_device(recipe.device))
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes do not change: the fastest convolution is looked for once
        torch.set_float32_matmul_precision("high")  # TF32 where the run is in fp32
    distributed.start(device, recipe.process_timeout)
    return device


def _load_data(recipe: Recipe, data: ImageData | None) -> ImageData:
    """Return the data of the recipe, divided as it says.

    Raises:
        TrainingError: there is no validation split to stop early by.
        DataError: the data cannot be read, or there is less than two training images.
    """
    models.get(recipe.model)  # a wrong name of a network is said before data are loaded
    if data is None:
        data = distributed.together(lambda: load_recipe_data(recipe))
    data = hold_out(recipe, data)
    if recipe.early_stopping and data.val is None:
        raise TrainingError(
            f"early_stopping={recipe.early_stopping} needs a validation split and {data.name} has none. "
            "Set val_fraction=0.1 to hold out a part of the training split."
        )
    if len(data.train) < 2:
        raise DataError(f"{data.name} has {len(data.train)} training images; at least 2 are needed.")
    return data


def load_recipe_data(recipe: Recipe, data_dir: str | os.PathLike[str] | None = None) -> ImageData:
    """Load the data that a recipe names, read as it says.

    Args:
        recipe: recipe of the run.
        data_dir: folder to look for data sets in, instead of the recipe's.

    Raises:
        DataError: the data is not there or cannot be used.
    """
    reading: dict[str, Any] = {key: getattr(recipe, key) for key in ("seed", "layout", "label_column", "file_column")}
    if recipe.val_fraction:
        reading["val_fraction"] = recipe.val_fraction
    data = load_data(recipe.data, data_dir=data_dir or recipe.data_dir, **reading)
    if recipe.val_fraction and data.val is not None and not data.divided:
        data.notes.append(f"val_fraction is not used: {data.name} comes with a validation split")
    return data


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


def _input_shape(recipe: Recipe, data: ImageData) -> tuple[Shape, list[str]]:
    """Return the shape of an image as the network takes it, and a note where that is not the data's own size."""
    channels = recipe.in_channels or data.train.channels
    facts = models.get(recipe.model).facts
    if recipe.image_size:
        return (channels, recipe.image_size, recipe.image_size), []
    if data.train.photos or data.train.size is None:
        size = facts.image_size
        note = f"photos are brought to {size}x{size}, the usual size of {recipe.model} (image_size=...)"
        return (channels, size, size), [note]
    side, least = max(data.train.size), facts.min_size
    if side < least:
        note = f"{side}x{side} images are enlarged to {least}x{least}, the least {recipe.model} takes"
        return (channels, least, least), [note]
    return (channels, side, side), []


def _preprocess(recipe: Recipe, data: ImageData) -> Preprocess:
    assert recipe.image_size
    assert recipe.in_channels
    blank = Preprocess(
        size=recipe.image_size,
        channels=recipe.in_channels,
        mean=recipe.mean or (0.0,) * recipe.in_channels,
        std=recipe.std or (1.0,) * recipe.in_channels,
        resize="crop" if data.train.photos else "stretch",
        crop_fraction=(recipe.crop_fraction or 1.0) if data.train.photos else 1.0,
        interpolation=recipe.interpolation or "bilinear",
        depth=data.train.depth,
    )
    if recipe.mean is None:
        mean, std = channel_statistics(data.train, blank)
        return replace(blank, mean=mean, std=std)
    return blank


def _train_loader(
    recipe: Recipe, data: ImageData, preprocess: Preprocess, device: torch.device, precision: Precision
) -> Loader:
    return Loader(
        data.train,
        preprocess,
        recipe.batch_size,
        augment=recipe.augment,
        shuffle=True,
        sampling=recipe.sampling,
        classes=len(data.classes),
        seed=recipe.seed,
        device=device,
        channels_last=precision.channels_last,
        rank=distributed.rank(),
        world=distributed.world(),
    )


def _precision(recipe: Recipe, model: Network, shape: Shape, classes: int, clock: Clock | None) -> Precision:
    """Decide number format and memory layout by a trial, and bring the network to them."""
    device = next(model.parameters()).device
    seconds = min(TRIAL_SECONDS, TRIAL_SHARE * clock.seconds) if clock else TRIAL_SECONDS
    with on_free_cores(clock):
        precision = distributed.broadcast(choose_precision(recipe, model, shape, classes, device, seconds))
    if recipe.sync_batchnorm:  # only now: each process makes as many steps of the trial as it has time for
        synchronise_batchnorm(model)
    to_memory_format(model, precision.memory_format)
    return precision


# Network and loss ------------------------------------------------------------------------------------------------


def _build_model(recipe: Recipe, data: ImageData, shape: Shape, device: torch.device, load_weights: bool) -> Network:
    if load_weights:
        check_kept_head(recipe, data)
    arch = {
        "name": recipe.model,
        "num_classes": len(data.classes),
        "in_channels": shape[0],
        "image_size": shape[1],
        "options": recipe.model_options,
    }
    # Public weights are downloaded once on each machine. The same random ones on every process.
    return distributed.together(lambda: begin_network(recipe, arch, device, load_weights).to(device))


def begin_network(recipe: Recipe, arch: Mapping[str, Any], device: torch.device, load_weights: bool = True) -> Network:
    """Build a network as the training begins with it: drawn from the recipe's seed, or with its weights.

    Args:
        recipe: the recipe of the run.
        arch: the arguments of :func:`cnnlab.zoo.create_model`, without weights.
        device: the device whose random numbers are set; the network is built on the CPU.
        load_weights: False leaves the weights of the recipe aside.
    """
    weights = recipe.weights if load_weights else None
    head: Literal["reset", "refuse"] = "reset" if recipe.head == "reset" else "refuse"
    with seeded(device, recipe.seed):
        return create_model(**arch, weights=weights, head=head if weights else None)


def _start_from_images(model: Network, data: ImageData, preprocess: Preprocess, device: torch.device) -> None:
    """Compute the first weights that depend on the training images, for networks that have such."""
    if model.first_images:
        count = min(model.first_images, len(data.train))
        spread = torch.linspace(0, len(data.train) - 1, count).long()  # of a sorted split, too, all classes
        images = preprocess.normalize(distributed.together(lambda: data.train.fetch(spread, preprocess)))
        model.start_from(images.to(device))


def _frozen(recipe: Recipe, model: Network, shape: Shape) -> Freeze | None:
    """Freeze the part of the network that the recipe names, and return it; None where nothing is frozen."""
    freeze = make_freeze(recipe, model, shape)
    if freeze:
        freeze.apply(model)
    check_batch_size(recipe, model, freeze)
    check_sizes(recipe, model, shape)
    return freeze


class WeightedCrossEntropy(nn.CrossEntropyLoss):
    """The cross entropy with class weights, whose mean is the sum of the weighted losses divided by their number N.

    torch divides by the sum of the weights: an image would then count more beside images of light classes than beside
    those of heavy ones, and the parts of a batch would not add up to the batch.
    """

    def __init__(self, weight: torch.Tensor, label_smoothing: float) -> None:
        super().__init__(weight, label_smoothing=label_smoothing, reduction="sum")

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return super().forward(logits, targets) / len(targets)


def _criterion(recipe: Recipe, data: ImageData) -> nn.CrossEntropyLoss:
    """Return the recipe's cross entropy, the mean over images."""
    weight = None
    if recipe.class_weights == "auto":
        weight = data.class_weights()
    elif isinstance(recipe.class_weights, dict):
        if set(recipe.class_weights) != set(data.classes):
            missing = sorted(set(data.classes) - set(recipe.class_weights))
            unknown = sorted(set(recipe.class_weights) - set(data.classes))
            raise TrainingError(
                "class_weights needs a weight for every class, by name."
                + (f" Missing: {', '.join(missing)}." if missing else "")
                + (f" No such class: {', '.join(unknown)}." if unknown else "")
            )
        weight = torch.tensor([recipe.class_weights[name] for name in data.classes])
        # Mean 1 over the training images, as the automatic ones: weights set priorities, not the learning rate.
        weight = weight / weight[data.train.labels].mean()
    if weight is None:
        return nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    return WeightedCrossEntropy(weight, recipe.label_smoothing)


# The resolved recipe ---------------------------------------------------------------------------------------------


def _resolved(
    recipe: Recipe, model: Network, shape: Shape, device: torch.device, precision: Precision, load_weights: bool
) -> Recipe:
    """Return the recipe with everything that it left open, as it was decided here."""
    recipe = recipe.model_copy(update=_decided(shape, device, precision))
    if load_weights and recipe.weights:
        # Written down: the run must be resumed and repeated as it was, also when the weights are gone.
        recipe = recipe.model_copy(update=_settled(recipe, model, shape[0]))
    return recipe


def _decided(shape: Shape, device: torch.device, precision: Precision) -> dict[str, Any]:
    """Return what the recipe may leave open as it was decided here, as values of the recipe."""
    name = device.type if distributed.launched() else str(device)
    return {"in_channels": shape[0], "image_size": shape[1], "device": name, **precision.keys}


def _settled(recipe: Recipe, model: Network, channels: int) -> dict[str, Any]:
    """Return what the weights settle and the recipe leaves open, as values of the recipe.

    These are the options of the network, when the weights are those of a run, and how its images were normalised and
    resized.
    """
    usual = model_options(recipe.model)
    options = {key: value for key, value in model.arch["options"].items() if value != usual[key]}
    settled: dict[str, Any] = {"model_options": options | recipe.model_options}
    preprocess = weights_preprocess(recipe.model, recipe.weights, channels)
    if preprocess is None:
        return settled
    numbers = {key: tuple(preprocess[key]) for key in ("mean", "std") if recipe.mean is None}
    resized = {key: getattr(recipe, key) or preprocess[key] for key in ("interpolation", "crop_fraction")}
    return settled | numbers | resized
