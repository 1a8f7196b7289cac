"""What can be said of a run, a network and photos before torch is imported, which takes more than a second."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cnnlab.errors import DataError, UnknownNameError

_ZOO = Path(__file__).parents[1] / "zoo"
_WEIGHTS = re.compile(r"\b(Pretrained|torchvision)\(")
_FILES_OF_A_RUN = ("recipe.yaml", "env.json", "model.json", "model.safetensors")


def check_photo(photo: str | os.PathLike[str]) -> None:
    """Refuse the path of a photo where there is no file.

    Raises:
        DataError: there is none.
    """
    if not Path(photo).is_file():
        what = "a folder, not a photo" if Path(photo).is_dir() else "not there"
        raise DataError(f"There is no photo {os.fspath(photo)}: it is {what}. Give the path of a JPEG or PNG file.")


def check_name(source: str) -> None:
    """Refuse what is neither a file or folder nor the name of a network.

    Raises:
        UnknownNameError: it is none; the nearest names are offered.
    """
    if Path(source).exists() or any(_is_in(source, text) for text in _texts()):
        return
    names = [name for text in _texts() for name in _names_in(text)[0]]
    runs = [str(path.parent) for path in Path(source).parent.glob("*/recipe.yaml")]
    hint = "`cnnlab runs` lists the runs, `cnnlab models` the networks."
    raise UnknownNameError("run folder or network", source, [*names, *runs], hint)


def can_be_opened(sources: Sequence[str], *, random: bool = False) -> bool:
    """Return whether networks can very likely be opened; what fails nevertheless is found out by opening them.

    Args:
        sources: folders of runs, or names of networks.
        random: whether the name of a network means random weights.
    """
    return all(_is_finished_run(Path(source)) or _is_in_the_zoo(source, random) for source in sources)


def _is_finished_run(folder: Path) -> bool:
    """Return whether a folder has the files of a classifier's run, with weights."""
    if not all((folder / name).is_file() for name in _FILES_OF_A_RUN):
        return False
    try:
        environment: Any = json.loads((folder / "env.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(environment, dict) and environment.get("kind", "classifier") == "classifier"


def _is_in_the_zoo(name: str, random: bool) -> bool:
    """Return whether a module of the zoo registers a network, and public weights where these are needed."""
    if not name.isidentifier() or Path(name).exists():
        return False
    return any(_is_in(name, text) and (random or _WEIGHTS.search(text)) for text in _texts())


def _is_in(name: str, text: str) -> bool:
    """Return whether the text of a module of the zoo registers a network under a name or an alias."""
    return name in text and any(name in names for names in _names_in(text))


def _texts() -> Iterator[str]:
    """Yield the texts of the modules of the zoo."""
    return (path.read_text(encoding="utf-8") for path in sorted(_ZOO.glob("[!_]*.py")))


def _names_in(text: str) -> tuple[set[str], set[str]]:
    """Return the names, and the aliases, under which a module of the zoo registers networks.

    They are the names of functions with ``@register_model``, the first argument of a ``Variant``, the first entry of
    a row of ``VARIANTS``, and what is called ``aliases``.
    """
    names: set[str] = set()
    aliases: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and any(_calls(one, "register_model") for one in node.decorator_list):
            names.add(node.name)
        elif _calls(node, "Variant"):
            names |= _texts_of(node.args[:1])  # type: ignore[attr-defined]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id == "aliases":
                aliases |= _texts_of([node.value])
            elif node.targets[0].id == "VARIANTS" and isinstance(node.value, ast.Tuple):
                names |= _texts_of([row.elts[0] for row in node.value.elts if isinstance(row, ast.Tuple)])
        elif isinstance(node, ast.keyword) and node.arg == "aliases":
            aliases |= _texts_of([node.value])
    return names, aliases - names  # a condition for an alias names the network


def _calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _texts_of(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the texts that stand somewhere in expressions."""
    leaves = (leaf for node in nodes for leaf in ast.walk(node))
    return {leaf.value for leaf in leaves if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)}
