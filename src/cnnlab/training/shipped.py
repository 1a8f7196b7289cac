"""The recipes that come with the package, recipes in YAML files, and the one to start from when little was named."""

from __future__ import annotations

import os
from collections.abc import Container
from importlib import resources
from pathlib import Path
from typing import Any

from cnnlab.data import data_sets
from cnnlab.errors import RecipeError, UnknownNameError, UsageError
from cnnlab.training.recipe import Recipe
from cnnlab.training.yaml_text import parse_yaml


def list_recipes() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    return shipped_names("cnnlab.recipes")


def load_recipe(name: str | Path) -> Recipe:
    """Load a shipped recipe by name, or a YAML file by path.

    Raises:
        UnknownNameError: neither a shipped recipe nor a file.
        RecipeError: the file is not valid.
    """
    return Recipe.make(*read_recipe(name, "cnnlab.recipes"))


def shipped_names(package: str) -> list[str]:
    """Return the names of the recipes in a package of YAML files."""
    folder = resources.files(package)
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def read_recipe(name: str | Path, package: str, kind: str = "recipe") -> tuple[dict[str, Any], str]:
    """Read the keys of a shipped recipe by its name, or of a YAML file by its path.

    Args:
        name: name or path.
        package: package that holds the shipped recipes of this kind.
        kind: kind of the recipe, as it appears in messages.

    Returns:
        The values by key, with the key ``name``, and the source for messages about them.

    Raises:
        UnknownNameError: neither a shipped recipe nor a file.
        RecipeError: the file cannot be read, or does not hold ``key: value`` lines.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise RecipeError(f'There is no recipe file "{path}".')
        try:
            text, source = path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path} cannot be read as UTF-8 text: {error}. Save it as UTF-8.") from None
    else:
        names = shipped_names(package)
        if str(name) not in names:
            raise UnknownNameError(kind, str(name), names, "A path to a YAML file works too.")
        text = resources.files(package).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
        source = f"{kind} {name}"
    values = parse_yaml(text, source) or {}
    if not isinstance(values, dict):
        raise RecipeError(f"{source}: expected `key: value` lines, got {type(values).__name__}.")
    values.setdefault("name", path.stem if path.is_file() else str(name))
    return values, source


def absolute_data(data: str, names: Container[str]) -> str:
    """Return a path of data as an absolute path, so that a run works from any folder; a name unchanged.

    Args:
        data: name of a data set, or path.
        names: names of the data sets, which go before files of the same name.
    """
    return str(_path(data).resolve()) if _is_path(data, names) else data


def _is_path(data: str, names: Container[str]) -> bool:
    # Of tar files it is a pattern, which no file is called like.
    return data not in names and (data.lower().endswith(".tar") or _path(data).exists())


def _path(data: str) -> Path:
    return Path(os.path.expanduser(data))


def choose_recipe(
    model: str | None = None,
    data: str | None = None,
    recipe: str | None = None,
    *,
    weights: str | None = None,
    freeze: str | None = None,
) -> Recipe:
    """Return the recipe called ``recipe`` for a network and data, or, without a name, what :func:`recipe_for` chooses.

    Paths of data become absolute: a run has to work from any folder.

    Raises:
        UsageError: the recipe is for photos, and none are named.
        UnknownNameError, RecipeError: see :func:`load_recipe`.
    """
    data = None if data is None else absolute_data(data, data_sets)
    if recipe is None:
        return recipe_for(model, data, weights=weights, freeze=freeze)
    if recipe in ("folder", "transfer", "finetune") and data is None:
        raise UsageError(f"The recipe `{recipe}` is for your own photos: name their folder with --data.")
    return load_recipe(recipe).derived(model=model, data=data)


def recipe_for(
    model: str | None = None, data: str | None = None, *, weights: str | None = None, freeze: str | None = None
) -> Recipe:
    """Choose where to start from when only a network or data (or neither) was named.

    Nothing named: ``lenet5-mnist5k``. A path, or a pattern of tar files: ``folder``. A network and data that a shipped
    recipe is about: that recipe, unless it starts from weights or freezes a part. Otherwise the defaults of
    :class:`Recipe`, which suit most networks (AdamW, one-cycle).

    With ``weights`` to start from and a path: ``transfer`` if the backbone is to be frozen, else ``finetune``. With
    weights and a registered data set: what it would be without them, at a tenth of the learning rate, so that the
    beginning does not undo what the weights know; the last layer alone starts anew and keeps the full rate.
    """
    if weights not in (None, "null", "None"):
        if model is None:
            model = "efficientnet_lite0" if weights == "imagenet" else _network_of(weights)
        if data is None or data in data_sets:
            start = recipe_for(model, data)
            changes = {"name": "", "about": "", "reproduces": "", "measured": ()}
            return start.model_copy(update=changes | {"lr": start.lr if freeze == "backbone" else start.lr / 10})
        return load_recipe("transfer" if freeze == "backbone" else "finetune").derived(model=model, data=data)
    if data is not None and _is_path(data, data_sets):
        return load_recipe("folder").derived(model=model, data=data)
    # Where only the data is named, the network is free: of the recipes about it the shortest name is the plainest.
    any_model = model is None and data is not None
    model, data = model or "lenet5", data or "mnist5k"
    for name in sorted(list_recipes(), key=len):
        shipped = load_recipe(name)
        begins_anew = shipped.weights is None and shipped.freeze == "none"
        if begins_anew and shipped.data == data and (any_model or shipped.model == model):
            return shipped
    return Recipe(model=model, data=data)


def _network_of(weights: str) -> str | None:
    """The network of a run's weights; None for a file that does not say."""
    from cnnlab.zoo import weights_facts  # torch takes a second to load, and a list of recipes needs none

    return weights_facts(weights).get("arch", {}).get("name") if Path(weights).exists() else None
