"""A recipe is everything that decides a training: network, data, optimizer, schedule, augmentation, precision, seed.

It is validated (pydantic), changed by ``key=value`` overrides, and saved resolved in the run folder, from where it runs
again unchanged. :mod:`cnnlab.training.shipped` loads the recipes that come with the package, and YAML files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cnnlab.data import Augment
from cnnlab.errors import RecipeError, did_you_mean
from cnnlab.hardware import DEVICE_NAME
from cnnlab.training.rules import OPTIMIZERS, SCHEDULES
from cnnlab.training.yaml_text import parse_yaml, write_yaml

Decay = Annotated[float, Field(ge=0, lt=1)]


class Measured(BaseModel):
    """One measurement of a recipe, written by ``benchmarks/recipes.py``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = Field(description="the split that was evaluated")
    accuracy: float = Field(description="mean accuracy in percent")
    std: float | None = Field(description="standard deviation over the runs (n - 1), in percent; null for one run")
    n: int = Field(description="number of runs, with seeds 0 .. n-1")
    seconds: float = Field(description="mean wall time of the training in seconds")
    machine: str = Field(description="processor or GPU, number of threads")
    versions: str = Field(description="cnnlab, torch, python")
    date: str = Field(description="day of the measurement")


class Extension(BaseModel):
    """Epochs added to a finished run by ``cnnlab extend``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1, description="how many epochs were added")
    lr: float = Field(gt=0, description="learning rate at the start of the added epochs; cosine to zero from there")


class Recipe(BaseModel):
    """Every setting of a training run; unknown keys and wrong types are refused.

    Raises:
        RecipeError: from :meth:`make`, :meth:`with_overrides` and :meth:`derived`, naming the key, the value and the
            nearest known key. The constructor raises pydantic's ``ValidationError``, with the same text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    # What it is
    name: str = Field("", description="name of the recipe")
    about: str = Field("", description="what it is for, in a sentence")
    reproduces: str = Field("", description="the paper or document whose result it reproduces")
    measured: tuple[Measured, ...] = Field((), description="what was measured with it")

    # What is trained on what
    model: str = Field("lenet5", description="registered name of the network")
    model_options: dict[str, Any] = Field(default_factory=dict, description="options of the network")
    data: str = Field("mnist5k", description="registered name of a data set, a folder of photos, or a CSV file")
    data_dir: str | None = Field(None, description="folder to look for data sets in")
    layout: Literal["auto", "classes", "splits", "flat"] = Field(
        "auto", description="how a folder is read: all folders are classes, or splits; flat: file names begin with them"
    )
    label_column: str | None = Field(None, description="column of a CSV file with the labels; guessed if null")
    file_column: str | None = Field(None, description="column of a CSV file with the image files; guessed if null")
    image_size: int | None = Field(
        None, ge=1, le=2048, description="side in pixels; the data's own, or the network's, if null"
    )
    crop_fraction: float | None = Field(
        None,
        gt=0,
        le=1,
        description="photos: share of the short side that evaluation sees; null: as the weights, or 1",
    )
    in_channels: Literal[1, 3] | None = Field(None, description="1 grey, 3 colour; the data's own if null")
    val_fraction: float = Field(0.0, ge=0, lt=1, description="share of the training split held out to select weights")
    train_limit: int | None = Field(None, ge=1, description="train on a stratified sample of this many images")

    # What it starts from, and what of it is trained
    weights: str | None = Field(
        None, description="start from these: imagenet, a weights file, or the folder of a run; null: random"
    )
    head: Literal["reset", "keep"] = Field(
        "reset", description="last layer of the weights: start anew, or keep (for the same classes)"
    )
    freeze: str = Field(
        "none", description="backbone: train the last layer only; or the last stage to freeze, such as stage2"
    )
    unfreeze_at: int | None = Field(None, ge=1, description="after this many epochs everything is trained")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="learning rate of each stage, as a share of that of the stage above it"
    )
    mean: tuple[float, ...] | None = Field(
        None, description="per channel, of pixels in 0..1; null: that of the weights, else of the training images"
    )
    std: tuple[float, ...] | None = Field(None, description="per channel; as mean")
    interpolation: Literal["bilinear", "bicubic"] | None = Field(
        None, description="of photos that are resized; null: that of the weights, else bilinear"
    )

    # How it is trained
    epochs: int = Field(10, ge=1, description="passes over the training split")
    batch_size: int = Field(64, ge=1, description="images per step, over all processes")
    accumulate: int = Field(1, ge=1, description="parts that a batch is split into to save memory; same gradient")
    optimizer: str = Field("adamw", description=f"update rule: {', '.join(OPTIMIZERS)}")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd and rmsprop")
    nesterov: bool = Field(True, description="Nesterov momentum (sgd)")
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="moment decay of adam and adamw")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty (decoupled for adamw)")
    decay_all: bool = Field(False, description="decay biases and normalisation parameters too")
    schedule: str = Field("onecycle", description=f"learning rate over the run: {', '.join(SCHEDULES)}")
    warmup_epochs: float = Field(
        0.0, ge=0, description="linear warm-up (constant, step, cosine), at most half of the run"
    )
    warmup_fraction: float = Field(0.25, gt=0, lt=1, description="share of the run that one-cycle rises for")
    milestones: tuple[float, ...] = Field((0.5, 0.75), description="step: shares of the run after which lr drops")
    gamma: float = Field(0.1, gt=0, description="step: factor of each drop")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Szegedy et al. 2016")
    class_weights: Literal["none", "auto"] | dict[str, float] = Field(
        "none", description="auto: inverse class frequency; or a weight per class name"
    )
    sampling: Literal["shuffle", "balanced"] = Field("shuffle", description="balanced: classes equally often")
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of the moving average of the weights (EMA) that is evaluated and kept; 0: off",
    )
    clip_norm: float = Field(0.0, ge=0, description="largest gradient norm; 0 is off")
    early_stopping: int = Field(0, ge=0, description="stop after this many epochs without improvement; 0 is off")
    augment: Augment = Field(default_factory=Augment, description="random changes to the training images")
    stopped_at: int | None = Field(
        None, ge=1, description="epochs after which a run that was extended had stopped early"
    )
    extensions: tuple[Extension, ...] = Field((), description="epochs added later by `cnnlab extend`")

    # On what it runs
    seed: int = Field(0, ge=0, description="of weights, order, augmentation and splits")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: by a short trial")
    channels_last: Literal["auto"] | bool = Field("auto", description="memory layout NHWC; auto: by a short trial")
    compile: bool = Field(False, description="torch.compile the network")

    @field_validator("device")
    @classmethod
    def _device_spelling(cls, value: str) -> str:
        if not DEVICE_NAME.fullmatch(value):
            raise ValueError(f'expected auto, cpu, cuda, cuda:N or mps, got "{value}"')
        return value

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, value: str) -> str:
        return _one_of(OPTIMIZERS, value)

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        return _one_of(SCHEDULES, value)

    @field_validator("class_weights", mode="before")
    @classmethod
    def _class_names(cls, value: Any) -> Any:
        """YAML reads the classes of digits as numbers."""
        return {str(name): weight for name, weight in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate={self.accumulate} splits a batch of only {self.batch_size} images")
        if any(not 0 < m < 1 for m in self.milestones) or list(self.milestones) != sorted(self.milestones):
            raise ValueError("milestones are rising shares of the run between 0 and 1, such as [0.5, 0.75]")
        if self.unfreeze_at and self.freeze == "none":
            raise ValueError(f"unfreeze_at={self.unfreeze_at}, but nothing is frozen: set freeze=backbone or a stage")
        # A run that stopped early may be extended by fewer epochs than were planned.
        if self.unfreeze_at and self.unfreeze_at >= max(self.epochs, self.total_epochs):
            raise ValueError(f"unfreeze_at={self.unfreeze_at} is not reached in {self.total_epochs} epochs")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together: give both or neither")
        if self.std is not None and not (self.mean and self.std and min(self.std) > 0):
            raise ValueError(f"mean and std have a number per channel, std above 0; got {self.mean} and {self.std}")
        return self

    @property
    def total_epochs(self) -> int:
        """Epochs of the run with all extensions."""
        return (self.stopped_at or self.epochs) + sum(extension.epochs for extension in self.extensions)

    @property
    def data_is_path(self) -> bool:
        """Whether ``data`` is a folder or file rather than a registered name."""
        return "/" in self.data or "\\" in self.data or self.data.endswith(".csv")

    @classmethod
    def make(cls, values: dict[str, Any], source: str = "recipe") -> Recipe:
        """Validate ``values``; ``source`` is named in the message when they are wrong."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(f"{source}: {_explain(error)}") from None

    def with_overrides(self, overrides: Iterable[str] = (), **options: Any) -> Recipe:
        """Return a recipe with ``key=value`` texts applied; dots reach into groups (``augment.crop=2``).

        Values in ``options`` are taken as they are, and come after the texts.

        What was measured with the recipe holds for any seed and device, but not for other settings: it is dropped.
        """
        before, overrides = self.values(), list(overrides)
        values = apply_overrides(before, overrides) | options
        changed = {key for key in values if values[key] != before[key]} - {"seed", "device", "data_dir"}
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
        unsettled = dict.fromkeys(("mean", "std", "interpolation"))
        if self.weights:
            unsettled["crop_fraction"] = None
        if model not in (None, self.model):
            changes |= {"model": model, "model_options": {}, "image_size": None, **unsettled}
            if self.weights != "imagenet":  # a file holds the weights of one network
                changes |= {"weights": None}
        if data not in (None, self.data):
            changes |= {"data": data, "in_channels": None, **unsettled}
        if not changes:
            return self
        return Recipe.make(self.values() | changes | {"name": "", "about": "", "reproduces": "", "measured": ()})

    def values(self) -> dict[str, Any]:
        """The plain values, as they are written to YAML."""
        return self.model_dump(mode="json")

    def changed(self) -> dict[str, Any]:
        """Only the values that differ from the defaults, and always network, data and epochs."""
        defaults = Recipe().values()
        always = ("model", "data", "epochs")
        changed = {k: v for k, v in self.values().items() if v != defaults[k] or k in always}
        if "augment" in changed:
            changed["augment"] = {k: v for k, v in changed["augment"].items() if v != defaults["augment"][k]}
        return changed

    @classmethod
    def describe_keys(cls) -> list[tuple[str, str, str]]:
        """Return the name, the default and the meaning of every key, those of ``augment`` one by one."""
        defaults, rows = cls().values(), []
        for key, field in cls.model_fields.items():
            rows.append((key, "" if key == "augment" else str(defaults[key]), field.description or ""))
            if key == "augment":
                for name, inner in Augment.model_fields.items():
                    rows.append((f"augment.{name}", str(defaults[key][name]), inner.description or ""))
        return rows

    def to_yaml(self, *, full: bool = True) -> str:
        """YAML text: every value, or only those that differ from the defaults."""
        return write_yaml(self.values() if full else self.changed())


def _one_of(table: Iterable[str], value: str) -> str:
    names = list(table)
    if value not in names:
        expected = f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"
        raise ValueError(f"expected {expected}, got {value!r}. {did_you_mean(value, names)}".strip())
    return value


def apply_overrides(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a copy of ``values`` with ``key=value`` texts applied; values are YAML.

    Raises:
        RecipeError: a text without ``=``, or a dotted key into something that is no group.
    """
    result = dict(values)
    for text in overrides:
        key, equals, raw = text.partition("=")
        if not equals or not key:
            raise RecipeError(f'"{text}" is not an override: write key=value, for example epochs=5.')
        group, *path = [part.strip() for part in key.lstrip("-").split(".")]
        _check_key(group)
        value = parse_yaml(raw, text) if raw else ""
        if not path:
            result[group] = value
            continue
        node = result
        for part in [group, *path[:-1]]:
            inner = node.get(part)
            if inner in (None, "none"):
                inner = {}
            if not isinstance(inner, dict):
                raise RecipeError(f'"{key}": {part} is a single value; write {key.partition("." + path[-1])[0]}=...')
            node[part] = dict(inner)
            node = node[part]
        node[path[-1]] = value
    return result


def _check_key(key: str) -> None:
    if key not in Recipe.model_fields:
        near = did_you_mean(key, Recipe.model_fields)
        raise RecipeError(f'There is no recipe key "{key}". {near or "`cnnlab recipes --keys` lists them."}')


def _explain(error: ValidationError) -> str:
    """Turn the first pydantic error into one sentence with the nearest name."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        names = Recipe.model_fields if len(path) == 1 else _fields_of(path[0])
        return f'there is no key "{key}". {did_you_mean(path[-1], names)}'.strip()
    if first["type"] == "literal_error":
        choices = first["ctx"]["expected"]
        near = did_you_mean(str(first["input"]), re.findall(r"'([^']*)'", choices))
        return f"{key}: expected {choices}, got {first['input']!r}. {near}".strip()
    message = first["msg"].removeprefix("Value error, ")
    message += "" if first["type"] == "value_error" else f", got {first['input']!r}"
    message += "" if message[-1] in ".?" else "."
    return f"{key}: {message}" if key else message


def _fields_of(group: str) -> list[str]:
    annotation = Recipe.model_fields[group].annotation
    return list(getattr(annotation, "model_fields", ()))
