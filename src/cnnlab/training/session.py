"""The live state of a training, and building it from a recipe: data, network, optimizer, precision, loaders."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from cnnlab.data import ImageData, Loader, Preprocess, Split, channel_statistics, load_data
from cnnlab.data.doctor import class_findings
from cnnlab.errors import DataError, DivergedError, RecipeError, TrainingError, UsageError
from cnnlab.hardware import choose_device
from cnnlab.training import distributed
from cnnlab.training.optim import EMA, make_optimizer
from cnnlab.training.precision import choose_precision, to_memory_format
from cnnlab.training.recipe import Recipe
from cnnlab.training.step import Learner, sum_type
from cnnlab.training.transfer import (
    FeatureLoader,
    Freeze,
    caches_features,
    feature_limit,
    feature_shape,
    layer_factors,
    make_freeze,
    trained_tail,
)
from cnnlab.zoo import (
    SMALL_IMAGE,
    Network,
    create_model,
    imagenet_classes,
    model_options,
    models,
    weights_facts,
    weights_preprocess,
)


@dataclass
class Session(Learner):
    """The live state of a training: everything that changes, and what it was built from."""

    model: Network
    optimizer: torch.optim.Optimizer
    recipe: Recipe  # resolved: precision, memory format, image size and device are decided
    data: ImageData
    average: EMA | None
    device: torch.device
    preprocess: Preprocess
    train_loader: Loader | FeatureLoader
    val_loader: Loader | FeatureLoader | None  # shown after every epoch
    notes: list[str] = field(default_factory=list)
    freeze: Freeze | None = None
    features: tuple[int, ...] | None = None  # shape of an image's, where the frozen part is to be computed once
    on_features: bool = False  # the frozen part has been computed once; steps and epochs only see what follows it

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
    def out_of_patience(self) -> bool:
        """Whether the validation split has not improved for as many epochs as the recipe waits."""
        patience = self.recipe.early_stopping
        # Epochs that were added on purpose are trained whatever the validation split says. What is to be unfrozen gets
        # its turn: that the last layer alone improves no more says nothing about the rest.
        since = max(self.best_epoch, self.recipe.unfreeze_at or 0)
        return 0 < patience <= self.epoch - since and not self.recipe.extensions

    @property
    def evaluated(self) -> Network:
        """The network that is evaluated and kept: the weight average where there is one."""
        return self.average.model if self.average else self.model  # type: ignore[return-value]

    @property
    def shown(self) -> nn.Module:
        """What is evaluated on ``val_loader`` after every epoch: ``evaluated``, or its part behind cached features."""
        return trained_tail(self.evaluated) if self.on_features else self.evaluated

    def set_modes(self) -> None:
        """Put the network into train mode, and its frozen part into eval mode."""
        if self.freeze:
            self.freeze.set_modes(self.model)
        elif not self.model.training:  # walking through all modules costs more than asking
            self.network.train()

    def wrapped(self, network: nn.Module) -> nn.Module:
        """Return ``network`` as the steps call it: compiled where the recipe says so, sharing gradients if launched."""
        compiled = torch.compile(network) if self.recipe.compile else network
        return distributed.wrap(compiled, self.device)  # type: ignore[arg-type]

    @property
    def selects(self) -> bool:
        """Whether a validation split chooses the weights; otherwise those of the last epoch are kept."""
        return self.data.val is not None


def prepare(recipe: Recipe, data: ImageData | None = None, *, load_weights: bool = True) -> Session:
    """Build everything that ``recipe`` names: data, network, optimizer, loaders; decide precision by a trial.

    Args:
        recipe: what to do.
        data: use this instead of loading ``recipe.data``.
        load_weights: False leaves the weights of the recipe aside, because a saved state will replace them.

    Raises:
        TrainingError: the recipe and the data do not fit together.
        DataError, ModelError, DeviceError: from the parts.
    """
    device = distributed.local_device(choose_device(recipe.device))
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes do not change: the fastest convolution is looked for once
        torch.set_float32_matmul_precision("high")  # TF32 where the run is in fp32
    distributed.start(device)
    facts = models.get(recipe.model).facts
    if data is None:
        with distributed.first_process_first():
            data = load_data(recipe.data, data_dir=recipe.data_dir, seed=recipe.seed)
    data = hold_out(recipe, data)
    _check_data(recipe, data)
    notes = [f"data: {data.name}, {data.notes[0]}" if data.notes else f"data: {data.name}", *data.notes[1:]]
    notes += [f"{f.severity}: {f.message}. {f.advice}" for f in class_findings(data) if f.severity != "note"]
    classes = len(data.classes)
    channels = recipe.in_channels or data.train.channels
    size, size_note = _image_size(recipe, data, facts.min_size, facts.image_size)
    notes += [size_note] * bool(size_note)

    if load_weights:
        _check_kept_head(recipe, data)
    # Public weights are downloaded once. The same random ones on every process.
    public = load_weights and recipe.weights == "imagenet"
    with distributed.first_process_first() if public else contextlib.nullcontext():
        arch = {"name": recipe.model, "num_classes": classes, "in_channels": channels, "image_size": size}
        model = begin_network(recipe, arch | {"options": recipe.model_options}, device, load_weights).to(device)
    freeze = make_freeze(recipe, model, (channels, size, size))
    if freeze:
        freeze.apply(model)
    _check_batch_size(recipe, model, freeze)
    precision = distributed.broadcast(choose_precision(recipe, model, (channels, size, size), classes, device))
    to_memory_format(model, precision.memory_format)
    count = sum(p.numel() for p in model.parameters())
    notes.append(f"network: {recipe.model}, {count:,} parameters, {channels} x {size} x {size} images")
    features = _features(recipe, data, model, (channels, size, size), device)
    notes += _weights_notes(recipe, size) * load_weights + _freeze_notes(recipe, model, freeze, features is not None)
    count = torch.get_num_threads()
    threads = f", {count} thread{'s' * (count > 1)}" if device.type == "cpu" else ""
    notes.append(f"device: {device}{threads}, {precision.describe()}")
    recipe = recipe.model_copy(
        update={
            "image_size": size,
            "in_channels": channels,
            "device": device.type if distributed.launched() else str(device),
            **precision.keys,
        }
    )
    if load_weights and recipe.weights:
        # Written down: the run must be resumed and repeated as it was, also when the weights are gone.
        recipe = recipe.model_copy(update=_settled(recipe, model, channels))
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
        channels_last=precision.channels_last,
        rank=distributed.rank(),
        world=distributed.world(),
    )
    factors = layer_factors(recipe, model, (channels, size, size)) if recipe.layer_decay < 1 else {}
    session = Session(
        model=model,
        network=model,
        criterion=_criterion(recipe, data).to(device),
        optimizer=make_optimizer(recipe, model, factors),
        precision=precision,
        clip_norm=recipe.clip_norm,
        recipe=recipe,
        data=data,
        average=EMA(model, recipe.ema) if recipe.ema else None,
        device=device,
        preprocess=preprocess,
        train_loader=train_loader,
        val_loader=None,
        notes=notes,
        freeze=freeze,
        features=features,
        sums=torch.zeros(3, dtype=sum_type(device), device=device),
    )
    session.network = session.wrapped(model)
    shown = data.val or data.test
    if shown is not None:
        session.val_loader = evaluation_loader(session, shown)
    return session


def unfreeze_when_due(session: Session) -> None:
    """Train everything from now on, if the recipe's epoch for it has come."""
    at = session.recipe.unfreeze_at
    if session.freeze is None or at is None or session.epoch < at:
        return
    session.freeze = None
    session.model.requires_grad_(True)
    session.network = session.wrapped(session.model)
    session.network.train()


def evaluation_loader(session: Session, split: Split) -> Loader:
    """A loader over ``split`` in its order, without augmentation, shared out over the processes."""
    return Loader(
        split,
        session.preprocess,
        max(256, session.recipe.batch_size),
        device=session.device,
        channels_last=session.precision.channels_last,
        rank=distributed.rank(),
        world=distributed.world(),
    )


def check_weights(session: Session) -> None:
    """Stop before weights that are not numbers are evaluated or saved over good ones.

    Raises:
        DivergedError: naming the epoch and what to try.
    """
    finite = all(bool(torch.isfinite(p).all()) for p in session.model.parameters())
    if distributed.any_process(not finite):
        raise diverged(session, "The weights are not numbers any more")


def diverged(session: Session, what: str) -> DivergedError:
    """Return the error that says what happened where, and what to try."""
    advice = [f"lr={session.recipe.lr / 10:g}", "clip_norm=1.0"]
    advice += ["precision=fp32"] if session.precision.bf16 else []
    lr = session.optimizer.param_groups[0]["lr"]
    where = f"epoch {session.epoch + 1}, step {session.step} (lr {lr:.3g})"
    return DivergedError(f"{what} in {where}. Try {', '.join(advice)}, or `--find-lr`.")


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
        torch.cuda.init()  # before, there are no generators
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


def _check_batch_size(recipe: Recipe, model: nn.Module, freeze: Freeze | None) -> None:
    frozen = set(freeze.evaluating) if freeze and not recipe.unfreeze_at else set()
    normalised = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules() if m not in frozen)
    least = 2 * distributed.world()
    if normalised and recipe.batch_size < least:
        raise TrainingError(
            f"{recipe.model} has BatchNorm, which cannot learn from single images: batch_size={recipe.batch_size} "
            f"over {distributed.world()} process(es). Set batch_size={least} or more."
        )


def _image_size(recipe: Recipe, data: ImageData, smallest: int, usual: int) -> tuple[int, str]:
    if recipe.image_size:
        return recipe.image_size, ""
    if data.train.photos or data.train.size is None:
        return usual, f"photos are brought to {usual}x{usual}, the usual size of {recipe.model} (image_size=...)"
    side = max(data.train.size)
    if side < smallest:
        return smallest, f"{side}x{side} images are enlarged to {smallest}x{smallest}, the least {recipe.model} takes"
    return side, ""


def begin_network(recipe: Recipe, arch: Mapping[str, Any], device: torch.device, load_weights: bool = True) -> Network:
    """Build a network as the training begins with it: drawn from the recipe's seed, or with its weights.

    Args:
        recipe: of the run.
        arch: arguments of :func:`cnnlab.zoo.create_model`, without weights.
        device: whose random numbers are set; the network is on the CPU.
        load_weights: False leaves the weights of the recipe aside.
    """
    weights, head = (recipe.weights, _head(recipe)) if load_weights else (None, None)
    with seeded(device, recipe.seed):
        return create_model(**arch, weights=weights, head=head)


def _head(recipe: Recipe) -> Literal["reset", "refuse"] | None:
    """What to do with the last layer of the weights; a head of another size cannot be kept here."""
    if recipe.weights is None:
        return None
    return "reset" if recipe.head == "reset" else "refuse"


def _check_kept_head(recipe: Recipe, data: ImageData) -> None:
    """Refuse to keep a last layer whose outputs mean other classes, where it is known what they mean."""
    if recipe.weights is None or recipe.head == "reset":
        return
    known = imagenet_classes() if recipe.weights == "imagenet" else weights_facts(recipe.weights).get("classes")
    if known is not None and list(known) != list(data.classes):
        raise RecipeError(
            f"head=keep: the weights tell apart {_few(known)}, and {data.name} has {_few(data.classes)}. "
            "Their last layer is of use for the same classes in the same order only; set head=reset."
        )


def _few(names: list[str]) -> str:
    return f"{len(names)} classes ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _settled(recipe: Recipe, model: Network, channels: int) -> dict[str, Any]:
    """What the weights know and the recipe leaves open, as values of the recipe.

    These are the options of the network, when the weights are a run's, and how images were normalised and resized.
    """
    usual = model_options(recipe.model)
    options = {key: value for key, value in model.arch["options"].items() if value != usual[key]}
    settled: dict[str, Any] = {"model_options": options | recipe.model_options}
    known = weights_preprocess(recipe.model, recipe.weights, channels)
    if known is None:
        return settled
    numbers = {key: tuple(known[key]) for key in ("mean", "std") if recipe.mean is None}
    resized = {key: getattr(recipe, key) or known[key] for key in ("interpolation", "crop_fraction")}
    return settled | numbers | resized


def _features(
    recipe: Recipe, data: ImageData, model: Network, input_shape: tuple[int, int, int], device: torch.device
) -> tuple[int, ...] | None:
    """Shape of an image's features, if they are the same in every epoch and those of all images fit into memory."""
    if not caches_features(recipe):
        return None
    shown = data.val or data.test
    images = len(data.train) + (len(shown) if shown is not None else 0)
    shape = feature_shape(model, input_shape)
    fit = 4 * math.prod(shape) * images <= feature_limit(device)
    return None if distributed.any_process(not fit) else shape


def _weights_notes(recipe: Recipe, size: int) -> list[str]:
    if recipe.weights is None:
        return []
    head = "a new last layer" if recipe.head == "reset" else "their own last layer"
    notes = [f"weights: {recipe.weights}, with {head}"]
    public = models.get(recipe.model).facts.pretrained
    if recipe.weights == "imagenet" and public and size <= SMALL_IMAGE < public.size:
        notes.append(
            f"warning: at {size} pixels {recipe.model} may stride less than where its weights come from, and what they "
            f"have learned does not fit; image_size={public.size} uses them as they were trained"
        )
    return notes


def _freeze_notes(recipe: Recipe, model: Network, freeze: Freeze | None, once: bool) -> list[str]:
    notes = []
    if freeze:
        count = sum(p.numel() for name, p in model.named_parameters() if name not in freeze.parameters)
        until = f" until epoch {recipe.unfreeze_at} is done" if recipe.unfreeze_at else ""
        notes.append(f"frozen: {recipe.freeze}{until}; {count:,} parameters are trained")
        if recipe.weights is None:
            notes.append("warning: what is frozen has random weights. Name better ones, such as weights=imagenet.")
        if once:
            notes.append("features of the frozen part are computed once, before the first step")
        elif caches_features(recipe):
            notes.append("features of all images would not fit into memory, so the frozen part runs in every epoch")
        elif recipe.freeze == "backbone" and recipe.unfreeze_at is None:
            notes.append("images are augmented, so the frozen part runs in every epoch; without, it would run once")
    return notes


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
    )
    if recipe.mean is None:
        mean, std = channel_statistics(data.train, blank)
        return replace(blank, mean=mean, std=std)
    return blank


def _criterion(recipe: Recipe, data: ImageData) -> nn.CrossEntropyLoss:
    """The sum over images, not the mean: it adds up over parts of a batch and over processes, also when weighted."""
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
    return nn.CrossEntropyLoss(weight=weight, label_smoothing=recipe.label_smoothing, reduction="sum")
