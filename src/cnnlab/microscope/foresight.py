"""What can be said of a run, a network and photos before torch is imported, which takes more than a second."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnlab.errors import DataError

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
    """Return whether the text of a module of the zoo registers a network, and public weights where these are needed."""
    if not name.isidentifier() or Path(name).exists():
        return False
    family, _, version = name.rpartition("_")
    # "alexnet", def lenet5(, f"resnet{layers}", and f"efficientnet_{version}" beside "lite0"
    literal = re.compile(rf'"{name}"|^def {name}\(|f"{name.rstrip("0123456789")}\{{', re.M)
    composed = (f'f"{family}_{{', f'"{version}"')
    texts = (path.read_text(encoding="utf-8") for path in _ZOO.glob("[!_]*.py"))
    return any(
        (literal.search(text) or all(part in text for part in composed)) and (random or _WEIGHTS.search(text))
        for text in texts
    )
