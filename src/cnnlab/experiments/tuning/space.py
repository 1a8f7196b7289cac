"""What a tuning varies: keys of a recipe with their ranges or choices, read from a YAML file and checked.

::

    lr: {low: 1e-4, high: 0.1, log: true}       # a range; `step` makes it a grid
    batch_size: [32, 64, 128]                   # choices
    augment.crop: {low: 0, high: 4}             # dots reach into groups; whole numbers for a whole-number key
    schedule: cosine                            # one value: the same in every trial
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from cnnlab.data import Augment
from cnnlab.errors import RecipeError, UnknownNameError, UsageError, did_you_mean
from cnnlab.training.recipe import Recipe
from cnnlab.training.yaml_text import parse_yaml

if TYPE_CHECKING:
    from optuna import Trial

_SAME = ("data", "data_dir", "layout", "label_column", "file_column", "val_fraction", "seed", "device")
_NOT_SETTINGS = ("name", "about", "reproduces", "measured", "stopped_at", "extensions")
_PARTS_OF_A_RANGE = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Range:
    """A range of numbers.

    Attributes:
        low, high: the smallest and the largest value, both included.
        log: whether values are drawn evenly on a logarithmic scale.
        step: the distance of the values; None for all numbers of a range with fractions.
        whole: whether the values are whole numbers.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def is_continuous(self) -> bool:
        """Whether there are infinitely many values."""
        return self.step is None

    @property
    def ends(self) -> tuple[Any, ...]:
        """The two values between which all others lie."""
        return (self.low, self.high)

    @property
    def values(self) -> tuple[Any, ...]:
        """All values of a range with a step, rising."""
        assert self.step is not None
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        count = int((Decimal(str(self.high)) - low) // step) + 1
        return tuple((int if self.whole else float)(low + number * step) for number in range(count))

    def suggest(self, trial: Trial, key: str) -> Any:
        """Return the value that Optuna proposes."""
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return self.read(trial.suggest_float(key, self.low, self.high, log=self.log, step=self.step))

    def stored(self, value: Any) -> Any:
        """Return a value as the database holds it."""
        return value

    def read(self, value: Any) -> Any:
        """Return the value that the database holds as ``value``; with a step of 0.05 that is 0.15, not 0.1500000002."""
        if self.whole or self.step is None:
            return value
        return min(self.values, key=lambda exact: abs(exact - value))

    def plain(self) -> Any:
        """Return the range as plain values."""
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}


@dataclass(frozen=True)
class Choices:
    """Values of which one is chosen, without an order.

    Attributes:
        values: the values.
    """

    values: tuple[Any, ...]

    log = False
    is_continuous = False

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values, each of which has to be checked."""
        return self.values

    def suggest(self, trial: Trial, key: str) -> Any:
        """Return the value that Optuna proposes."""
        return self.read(trial.suggest_categorical(key, [self.stored(value) for value in self.values]))

    def stored(self, value: Any) -> Any:
        """Return a value as the database holds it: lists and groups as JSON text."""
        return json.dumps(value) if isinstance(value, list | dict) else value

    def read(self, value: Any) -> Any:
        """Return the value that the database holds as ``value``."""
        return next(choice for choice in self.values if self.stored(choice) == value)

    def plain(self) -> Any:
        """Return the choices as plain values."""
        return list(self.values)


@dataclass(frozen=True)
class SearchSpace:
    """The keys of a recipe that a tuning sets.

    Attributes:
        source: the file or name that it was read from, for messages.
        varied: key -> its range or choices.
        fixed: key -> the value that it has in every trial.
    """

    source: str
    varied: Mapping[str, Range | Choices]
    fixed: Mapping[str, Any]

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Return a value for each varied key, as Optuna proposes them for a trial."""
        return {key: part.suggest(trial, key) for key, part in self.varied.items()}

    def read(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a trial from those that the database holds."""
        return {key: part.read(stored[key]) for key, part in self.varied.items() if key in stored}

    def stored(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a trial as the database holds them."""
        return {key: self.varied[key].stored(value) for key, value in values.items()}

    def combinations(self) -> list[dict[str, Any]]:
        """Return all combinations of values, the last key changing first.

        Raises:
            UsageError: a key has infinitely many values.
        """
        for key, part in self.varied.items():
            if part.is_continuous:
                raise UsageError(
                    f"{self.source}: a grid needs finitely many values, and {key} is a range of all numbers from "
                    f"{part.ends[0]:g} to {part.ends[1]:g}. Write a list of values, add a step, or choose another "
                    "sampler with --sampler."
                )
        return [
            dict(zip(self.varied, values, strict=True))
            for values in itertools.product(*(part.values for part in self.varied.values()))
        ]

    def apply(self, recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
        """Return ``recipe`` with the fixed keys and with ``values``, which may have dots in their keys.

        Raises:
            RecipeError: the recipe refuses a value.
        """
        settings = {**self.fixed, **values}
        if "model" in settings:  # the options of one network are none of another
            recipe = recipe.derived(model=settings.pop("model"))
        # JSON is YAML: so dots and types are treated as on the command line.
        return recipe.with_overrides(f"{key}={json.dumps(value)}" for key, value in settings.items())

    def plain(self) -> dict[str, Any]:
        """Return the space as plain values, to tell whether two are the same."""
        return {key: part.plain() for key, part in self.varied.items()} | dict(self.fixed)


def list_spaces() -> list[str]:
    """Return the names of the search spaces that ship with the package."""
    folder = resources.files("cnnlab.experiments.tuning").joinpath("spaces")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_space(name: str | Path, recipe: Recipe) -> SearchSpace:
    """Read a search space and check it against the recipe that is to be tuned.

    Args:
        name: name of a shipped space, or path of a YAML file.
        recipe: the recipe whose keys are varied.

    Raises:
        UnknownNameError: neither a shipped space nor a file.
        RecipeError: the file is no YAML, a key is unknown, a range is empty, or the recipe refuses a value.
    """
    path, source = Path(name), str(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise RecipeError(
                f'There is no space file "{path}". Write one, or take a shipped one: {", ".join(list_spaces())}.'
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path} cannot be read as UTF-8 text: {error}. Save it as UTF-8.") from None
    elif source in list_spaces():
        text = resources.files("cnnlab.experiments.tuning").joinpath("spaces", f"{source}.yaml").read_text("utf-8")
    else:
        raise UnknownNameError("search space", source, list_spaces(), "A path to a YAML file works too.")
    return make_space(parse_yaml(text, source), source, recipe)


def make_space(content: Any, source: str, recipe: Recipe) -> SearchSpace:
    """Build a search space from the content of a space file and check it against ``recipe``.

    Raises:
        RecipeError: a key is unknown, a range is empty, or the recipe refuses a value.
    """
    if not isinstance(content, dict) or not content:
        raise RecipeError(
            f"{source}: expected lines `key: values`, such as `lr: {{low: 1e-4, high: 0.1, log: true}}` or "
            f"`batch_size: [32, 64]`, got {type(content).__name__ if content else 'nothing'}."
        )
    varied: dict[str, Range | Choices] = {}
    fixed: dict[str, Any] = {}
    for key, value in ((str(key), value) for key, value in content.items()):
        _check_key(key, source)
        if isinstance(value, dict):
            varied[key] = _range(key, value, source)
        elif isinstance(value, list):
            varied[key] = _choices(key, value, source)
        else:
            fixed[key] = value
    if not varied:
        raise RecipeError(f"{source}: every key has one value, so there is nothing to search. Give a range or a list.")
    space = SearchSpace(source, varied, fixed)
    _check_values(space, recipe)
    return space


def _check_key(key: str, source: str) -> None:
    first = key.partition(".")[0]
    if first not in Recipe.model_fields:
        near = did_you_mean(key, [name for name, _, _ in Recipe.describe_keys()])
        raise RecipeError(f'{source}: there is no recipe key "{key}". {near or "`cnnlab recipes --keys` lists them."}')
    if first in _SAME:
        raise RecipeError(
            f"{source}: {key} is the same in all trials, so that they are compared on the same images and machine. "
            f"Set it beside the space, as {key}=... on the command line."
        )
    if first in _NOT_SETTINGS:
        raise RecipeError(f"{source}: {key} describes a recipe and changes no training; leave it out.")
    if key in ("augment", "model_options"):
        raise RecipeError(f"{source}: {key} is a group of keys; write them one by one, as `{key}.NAME: ...`.")


def _range(key: str, parts: dict[str, Any], source: str) -> Range:
    place = f"{source}: {key}"
    if unknown := [str(part) for part in parts if part not in _PARTS_OF_A_RANGE]:
        near = did_you_mean(unknown[0], _PARTS_OF_A_RANGE)
        raise RecipeError(f'{place}: a range has low, high, log and step, no "{unknown[0]}". {near}'.strip())
    if missing := [part for part in ("low", "high") if part not in parts]:
        raise RecipeError(f"{place}: the range lacks {' and '.join(missing)}; write {{low: ..., high: ...}}.")
    low, high, step, log = parts["low"], parts["high"], parts.get("step"), parts.get("log", False)
    for name, number in (("low", low), ("high", high), ("step", 1 if step is None else step)):
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise RecipeError(f"{place}: {name} must be a number, got {number!r}.")
    if not isinstance(log, bool):
        raise RecipeError(f"{place}: log must be true or false, got {log!r}.")
    if low >= high:
        raise RecipeError(f"{place}: low={low:g} must be smaller than high={high:g}.")
    if log and low <= 0:
        raise RecipeError(f"{place}: a logarithmic range begins above 0, and low={low:g}. Raise low or leave log out.")
    if log and step is not None:
        raise RecipeError(f"{place}: a logarithmic range has no step. Write a list of values instead.")
    if step is not None and not 0 < step <= high - low:
        raise RecipeError(f"{place}: step={step:g} must be above 0 and at most high - low = {high - low:g}.")
    if _takes_fractions(key, low, high):
        return _to_last_step(Range(float(low), float(high), log, None if step is None else float(step)))
    if fractions := [number for number in (low, high, step or 1) if number != int(number)]:
        raise RecipeError(f"{place} is a whole number, and the range has {fractions[0]:g}.")
    return _to_last_step(Range(int(low), int(high), log, int(step or 1), whole=True))


def _to_last_step(part: Range) -> Range:
    """Return a range that ends at its last step: what lies beyond is never reached."""
    if part.step is None:
        return part
    return Range(part.low, part.values[-1], part.log, part.step, part.whole)


def _takes_fractions(key: str, low: float, high: float) -> bool:
    """Whether a key takes numbers with fractions; for an option of a network the ends of the range tell."""
    group, _, name = key.partition(".")
    if group == "model_options":
        return not (isinstance(low, int) and isinstance(high, int))
    field = Augment.model_fields.get(name) if group == "augment" else Recipe.model_fields[group]
    return field is None or float in (field.annotation, *get_args(field.annotation))


def _choices(key: str, values: list[Any], source: str) -> Choices:
    if not values:
        raise RecipeError(f"{source}: {key} has an empty list of choices. List at least one value.")
    for position, value in enumerate(values):
        if value in values[:position]:
            raise RecipeError(f"{source}: {key} lists {value!r} twice. Each choice stands once.")
    return Choices(tuple(values))


def _check_values(space: SearchSpace, recipe: Recipe) -> None:
    """Try each end of a range and each choice alone in the recipe.

    Raises:
        RecipeError: the recipe or the network refuses it.
        UnknownNameError: there is no such network.
    """
    from cnnlab.zoo import model_options

    names = space.varied["model"].ends if "model" in space.varied else (space.fixed.get("model", recipe.model),)
    for key, part in space.varied.items():
        for value in part.ends:
            try:
                space.apply(recipe, {key: value})
            except RecipeError as error:
                reason = str(error).removeprefix("override: ")
                raise RecipeError(f"{space.source}: {key}={value!r} is refused. {reason}") from None
    for name in names:
        options = model_options(name)
        for key in (*space.varied, *space.fixed):
            group, _, option = key.partition(".")
            if group == "model_options" and option.partition(".")[0] not in options:
                near = did_you_mean(option, options) or f"It has: {', '.join(options) or 'none'}."
                raise RecipeError(f'{space.source}: {name} has no option "{option}". {near}')
