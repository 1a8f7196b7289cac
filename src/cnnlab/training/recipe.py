"""A recipe is everything that decides a training: network, data, optimizer, schedule, augmentation, precision, seed.

It is validated (pydantic), changed by ``key=value`` overrides, and saved resolved in the run folder, from where it runs
again unchanged. :mod:`cnnlab.training.shipped` loads the recipes that come with the package, and YAML files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from cnnlab.data import Augment
from cnnlab.errors import did_you_mean
from cnnlab.training.rules import OPTIMIZERS, SCHEDULES
from cnnlab.training.settings import FREE, DeviceName, Settings
from cnnlab.training.yaml_text import write_yaml

Decay = Annotated[float, Field(ge=0, lt=1)]

KEEP_EPOCHS = ("none", "all", "doubling")


def _kept_epochs(value: Any) -> Any:
    """Return the value of ``keep_epochs``, a list of epochs without repetitions and rising."""
    if isinstance(value, list | tuple) and all(type(epoch) is int and epoch >= 0 for epoch in value):
        return tuple(sorted(set(value))) or "none"
    if value in KEEP_EPOCHS:
        return value
    hint = did_you_mean(value, KEEP_EPOCHS) if isinstance(value, str) else ""
    raise ValueError(
        f"expected none, all, doubling, or a list of epochs such as [0, 1, 5], got {value!r}. {hint}".strip()
    )


KeptEpochs = Annotated[Literal["none", "all", "doubling"] | tuple[int, ...], BeforeValidator(_kept_epochs)]


class Measured(BaseModel):
    """One measurement of a recipe, written by ``benchmarks/recipes.py``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: str = Field("", description="settings that differ from the recipe's, as key=value with spaces between")
    split: str = Field(description="split that was evaluated")
    accuracy: float = Field(description="mean accuracy in percent")
    std: float | None = Field(description="standard deviation over the runs (n - 1), in percent; null for one run")
    n: int = Field(description="number of runs, each with a seed of its own")
    seconds: float = Field(description="mean wall time of the training in seconds")
    machine: str = Field(description="name of the processor or GPU, and number of threads")
    versions: str = Field(description="versions of cnnlab, torch and Python")
    date: str = Field(description="day of the measurement")


class Extension(BaseModel):
    """Epochs added to a finished run by ``cnnlab extend``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1, description="number of epochs that were added")
    lr: float = Field(gt=0, description="learning rate at the start of the added epochs; cosine to zero from there")


class Recipe(Settings):
    """Every setting of a training run.

    Raises:
        RecipeError: a key is unknown, or a value has the wrong type or is out of range; the message names the key, the
            value and the nearest known key.
    """

    # What it is
    name: str = Field("", description="name of the recipe")
    about: str = Field("", description="purpose of the recipe, in a sentence")
    reproduces: str = Field("", description="paper or document whose result it reproduces")
    measured: tuple[Measured, ...] = Field((), description="measurements of the recipe")

    # What is trained on what
    model: str = Field("lenet5", description="registered name of the network")
    model_options: dict[str, Any] = Field(default_factory=dict, description="options of the network")
    data: str = Field(
        "mnist5k", description="registered name of a data set, a folder of photos, a CSV file, or tar files"
    )
    data_dir: str | None = Field(None, description="folder to look for data sets in")
    layout: Literal["auto", "classes", "splits", "flat"] = Field(
        "auto",
        description="way a folder is read: folders are classes, or splits; flat: file names begin with the class",
    )
    label_column: str | None = Field(None, description="column of a CSV file with the labels; guessed if null")
    file_column: str | None = Field(None, description="column of a CSV file with the image files; guessed if null")
    image_size: int | None = Field(None, ge=1, le=2048, description="side in pixels; null: the data's or the network's")
    image_sizes: tuple[Annotated[int, Field(ge=1, le=2048)], ...] = Field(
        (),
        description="sides in pixels of the training images in equal parts of the run, such as [20, 24, 32], while the "
        "evaluation sees image_size (Tan and Le, EfficientNetV2, 2021, section 4); empty: image_size throughout",
    )
    crop_fraction: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of a photo's short side that evaluation sees; null: that of the weights, else 1",
    )
    in_channels: Literal[1, 3] | None = Field(None, description="channels: 1 grey, 3 colour; null: the data's own")
    val_fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training split held out to select weights; 0: none, or 20 % of your own images that "
        "come without splits",
    )
    train_limit: int | None = Field(None, ge=1, description="size of a stratified sample to train on; null: all images")

    # What it starts from, and what of it is trained
    weights: str | None = Field(
        None,
        description="weights to start from: imagenet, cifar10 or mnist (those that come with cnnlab), a weights file, "
        "or the folder of a run; null: random ones",
    )
    head: Literal["reset", "keep"] = Field(
        "reset", description="last layer of the weights: start anew, or keep (for the same classes)"
    )
    freeze: str = Field(
        "none",
        description="frozen part: backbone (all but the last layer), or the last stage to freeze, such as stage2",
    )
    unfreeze_at: int | None = Field(None, ge=1, description="number of epochs after which everything is trained")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="learning rate of each stage, as a share of that of the stage above it"
    )
    bias_factor: float = Field(
        1.0,
        gt=0,
        description="factor of the learning rate of biases and of scales and shifts of normalisation (Jordan, 94% on "
        "CIFAR-10 in 3.29 Seconds, 2024, section 3.4)",
    )
    head_factor: float = Field(1.0, gt=0, description="factor of the learning rate of the last layer's weights")
    mean: tuple[float, ...] | None = Field(
        None, description="mean per channel of pixels in 0..1; null: that of the weights, else of the training images"
    )
    std: tuple[float, ...] | None = Field(None, description="standard deviation per channel; null: as for mean")
    interpolation: Literal["bilinear", "bicubic"] | None = Field(
        None, description="interpolation of photos that are resized; null: that of the weights, else bilinear"
    )

    # How it is trained
    epochs: int = Field(10, ge=1, description="passes over the training split")
    minutes: float | None = Field(
        None,
        gt=0,
        description="wall time of the training in minutes, which decides the number of epochs and the learning rate; "
        "null: epochs decides",
    )
    batch_size: int = Field(64, ge=1, description="images per step, over all processes")
    accumulate: int = Field(1, ge=1, description="parts that a batch is split into to save memory; same gradient")
    optimizer: str = Field("adamw", description=f"update rule: {', '.join(OPTIMIZERS)}")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    momentum: float = Field(
        0.9, ge=0, lt=1, description="momentum of sgd, rmsprop and muon, and of the filters in muon_sgd"
    )
    nesterov: bool = Field(True, description="Nesterov momentum (sgd, muon, muon_sgd)")
    betas: tuple[Decay, Decay] = Field(
        (0.9, 0.999), description="decay rates of the two moments of adam, adamw and muon"
    )
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty (decoupled for adamw, muon and muon_sgd)")
    decay_all: bool = Field(False, description="weight decay of biases and normalisation parameters too")
    schedule: str = Field("onecycle", description=f"learning rate over the run: {', '.join(SCHEDULES)}")
    warmup_epochs: float = Field(
        0.0, ge=0, description="epochs of linear warm-up (constant, step, cosine), at most half of the run"
    )
    warmup_fraction: float = Field(0.25, gt=0, lt=1, description="share of the run that one-cycle rises for")
    milestones: tuple[float, ...] = Field((0.5, 0.75), description="shares of the run after which lr drops (step)")
    gamma: float = Field(0.1, gt=0, description="factor of each drop (step)")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of each target that is spread over all classes (Szegedy et al. 2016)"
    )
    class_weights: Literal["none", "auto"] | dict[str, float] = Field(
        "none", description="weights of the classes in the loss; auto: inverse frequency; or a number per class name"
    )
    sampling: Literal["shuffle", "balanced", "in_order"] = Field(
        "shuffle", description="order; balanced: classes equally often; in_order: as the images lie, in every epoch"
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the weights' EMA, which is evaluated and kept; 0: off")
    clip_norm: float = Field(0.0, ge=0, description="largest gradient norm; 0 is off")
    early_stopping: int = Field(
        0,
        ge=0,
        description="epochs after the best evaluation; the next one after them that is no better ends the run; 0: off",
    )
    augment: Augment = Field(default_factory=Augment, description="random changes to the training images")
    evaluate_every: int = Field(
        1, ge=1, description="epochs from one evaluation to the next; the last epoch is always evaluated"
    )
    tta: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability of the answer below which a test image is also looked at mirrored and shifted by a "
        "pixel, for a second accuracy, with test-time augmentation; 0: off, 1: for nearly all",
    )
    stopped_at: int | None = Field(None, ge=1, description="epochs after which an extended run had stopped early")
    extensions: tuple[Extension, ...] = Field((), description="epochs added later by `cnnlab extend`")
    keep_epochs: KeptEpochs = Field(
        "none",
        description="epochs whose weights stay in the run folder, in 16 bits: none, all, doubling (0, 1, 2, 4, 8, ... "
        "and the last), or a list such as [0, 1, 5]; 0 is before training",
    )

    # On what it runs
    seed: int = Field(0, ge=0, description="seed of weights, order, augmentation and splits")
    device: DeviceName = Field("auto", description="device to run on: auto, cpu, cuda, cuda:N or mps")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="number format; auto: by a short trial")
    channels_last: Literal["auto"] | bool = Field("auto", description="memory layout NHWC; auto: by a short trial")
    compile: bool = Field(False, description="compilation of the network by torch.compile")
    sync_batchnorm: bool = Field(
        False, description="BatchNorm over the images of all processes, instead of each process's own part of a batch"
    )
    process_timeout: float = Field(
        300.0, ge=1, description="seconds without an answer from another process after which a training ends"
    )

    @field_validator("optimizer", "schedule")
    @classmethod
    def _name_of_a_rule(cls, value: str, info: ValidationInfo) -> str:
        names = list(OPTIMIZERS if info.field_name == "optimizer" else SCHEDULES)
        if value not in names:
            expected = f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"
            raise ValueError(f"expected {expected}, got {value!r}. {did_you_mean(value, names)}".strip())
        return value

    @field_validator("class_weights", mode="before")
    @classmethod
    def _class_names(cls, value: Any) -> Any:
        """YAML reads the classes of digits as numbers."""
        return {str(name): weight for name, weight in value.items()} if isinstance(value, dict) else value

    def check_consistency(self) -> None:
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate={self.accumulate} splits a batch of only {self.batch_size} images")
        if any(not 0 < m < 1 for m in self.milestones) or list(self.milestones) != sorted(self.milestones):
            raise ValueError("milestones are rising shares of the run between 0 and 1, such as [0.5, 0.75]")
        if self.unfreeze_at and self.freeze == "none":
            raise ValueError(f"unfreeze_at={self.unfreeze_at}, but nothing is frozen: set freeze=backbone or a stage")
        # A run that stopped early may be extended by fewer epochs than were planned, and so may one whose clock gave it
        # fewer.
        most = math.inf if self.minutes else max(self.epochs, self.total_epochs)
        if self.unfreeze_at and self.unfreeze_at >= most:
            raise ValueError(f"unfreeze_at={self.unfreeze_at} is not reached in {self.total_epochs} epochs")
        if isinstance(self.keep_epochs, tuple) and self.keep_epochs[-1] > most:
            raise ValueError(f"keep_epochs={list(self.keep_epochs)} is not reached in {self.total_epochs} epochs")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together: give both or neither")
        if self.std is not None and not (self.mean and self.std and min(self.std) > 0):
            raise ValueError(f"mean and std have a number per channel, std above 0; got {self.mean} and {self.std}")

    @property
    def total_epochs(self) -> int:
        """Epochs of the run with all extensions; a forecast while the clock decides."""
        return (self.stopped_at or self.epochs) + sum(extension.epochs for extension in self.extensions)

    def parts(self, images: int) -> int:
        """Return in how many parts a step computes so many images: ``accumulate``, or as many as there can be.

        A part has two images at least, because BatchNorm cannot train on one.
        """
        return max(1, min(self.accumulate, images // 2))

    @property
    def by_clock(self) -> bool:
        """Whether the clock decides when the training ends; epochs that are added later are counted."""
        return self.minutes is not None and not self.extensions

    def keeps_epoch(self, epoch: int) -> bool:
        """Return whether the weights after an epoch stay in the run folder; epoch 0 is before the training."""
        if isinstance(self.keep_epochs, tuple):
            return epoch in self.keep_epochs
        is_power_of_two = epoch & (epoch - 1) == 0  # or 0
        doubling = self.keep_epochs == "doubling" and (is_power_of_two or epoch == self.total_epochs)
        return self.keep_epochs == "all" or doubling

    @property
    def data_is_path(self) -> bool:
        """Whether ``data`` is a folder or file rather than a registered name."""
        return "/" in self.data or "\\" in self.data or self.data.endswith((".csv", ".tar"))

    def with_overrides(self, overrides: Iterable[str] = (), **options: Any) -> Recipe:
        """Return a recipe with ``key=value`` texts applied; dots reach into groups (``augment.crop=2``).

        Values in ``options`` are taken as they are, and come after the texts.

        What was measured with the recipe holds for any seed and device, but not for other settings: it is dropped.
        """
        before, overrides = self.values(), list(overrides)
        values = self.apply_overrides(before, overrides) | options
        changed = {key for key in values if values[key] != before[key]} - FREE
        if changed:
            values |= {"measured": (), "reproduces": ""}
        if changed & {"model", "data"}:
            values |= {"name": "", "about": ""}
        if self.weights and changed & {"model", "data", "weights"}:
            # They were written down for the weights and images that it had before.
            named = {text.partition("=")[0].lstrip("-").strip() for text in overrides} | options.keys()
            numbers = () if named & {"mean", "std"} else ("mean", "std")
            values |= dict.fromkeys({*numbers, "interpolation", "crop_fraction"} - named)
        return Recipe.make(values, "override")

    def derived(self, *, model: str | None = None, data: str | None = None) -> Recipe:
        """Return this recipe for another network or other data; what was measured no longer applies to it."""
        changes: dict[str, Any] = {}
        unsettled = dict.fromkeys(("mean", "std", "interpolation", *(["crop_fraction"] if self.weights else [])))
        if model not in (None, self.model):
            changes |= {"model": model, "model_options": {}, "image_size": None, **unsettled}
            if self.weights != "imagenet":  # a file holds the weights of one network
                changes |= {"weights": None}
        if data not in (None, self.data):
            changes |= {"data": data, "in_channels": None, **unsettled}
        if not changes:
            return self
        return Recipe.make(self.values() | changes | {"name": "", "about": "", "reproduces": "", "measured": ()})

    def changed(self) -> dict[str, Any]:
        """Only the values that differ from the defaults, and always network, data and epochs."""
        defaults = Recipe().values()
        always = ("model", "data", "epochs")
        changed = {k: v for k, v in self.values().items() if v != defaults[k] or k in always}
        if "augment" in changed:
            changed["augment"] = {k: v for k, v in changed["augment"].items() if v != defaults["augment"][k]}
        return changed

    def to_yaml(self, *, full: bool = True) -> str:
        """YAML text: every value, or only those that differ from the defaults."""
        return write_yaml(self.values() if full else self.changed())
