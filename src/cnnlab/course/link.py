"""Writing the package ``cs231n`` beside the course's notebooks."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from pathlib import Path

from cnnlab.course import cs231n
from cnnlab.errors import RunError, UsageError
from cnnlab.files import free_path, write_text

PACKAGE = "cs231n"

_MARK = "Written by `cnnlab course link`"
_DATASETS = "datasets"

_START = f'''"""{_MARK}: the notebooks of CS231n run with cnnlab."""

try:
    import cnnlab
except ModuleNotFoundError as error:
    if error.name != "cnnlab":
        raise
    import sys

    raise ModuleNotFoundError(
        f"This package cs231n calls cnnlab, which is not installed in {{sys.executable}}. Install cnnlab there, or "
        "choose the kernel of a Python that has it.",
        name="cnnlab",
    ) from None
'''

# Modules of the notebooks after 2020 and of those in TensorFlow, file -> subject.
_NOT_COVERED = {
    "transformer_layers.py": "Captioning with a transformer",
    "classifiers/transformer.py": "Captioning with a transformer",
    "captioning_solver_transformer.py": "Captioning with a transformer",
    "simclr.py": "Self-supervised learning (SimCLR)",
    "classifiers/squeezenet.py": "SqueezeNet in TensorFlow",
}


@dataclass(frozen=True)
class Link:
    """A package that was written.

    Attributes:
        package: folder of the package.
        files: paths of its files, seen from there.
        moved: folder to which a package of that name was moved; None when there was none.
        moved_files: paths to which files of the student's own in a linked package were moved.
    """

    package: Path
    files: tuple[str, ...]
    moved: Path | None
    moved_files: tuple[Path, ...] = ()


def link_course(folder: str | Path, *, force: bool = False) -> Link:
    """Write a package ``cs231n`` into a folder, so that notebooks in it run with cnnlab.

    Its files only import :mod:`cnnlab.course.cs231n`: a newer cnnlab needs no new link. A package that was written here
    before is written again; data sets and other files in it stay. A file that the student has put in the place of one
    of cnnlab's is moved aside, ``layers.py`` to ``layers.py.before-link``.

    Args:
        folder: folder of the notebooks.
        force: whether a package ``cs231n`` of somebody else is moved aside, to ``cs231n-before-link``; its data sets
            come into the new one.

    Raises:
        UsageError: there is no such folder, or it has a package ``cs231n`` of somebody else.
        RunError: the folder cannot be written.
    """
    package = _checked_folder(Path(folder).expanduser()) / PACKAGE
    foreign = _is_foreign(package)
    if foreign and not force:
        raise UsageError(
            f"{package} is a package that cnnlab did not write, perhaps your own solutions. Choose another folder, or "
            f"give --force: it is then moved to {_aside(package).name}, and nothing in it is lost."
        )
    moved, texts = _aside(package) if foreign else None, _texts()
    moved_files: list[Path] = []
    try:
        if moved is not None:
            package.rename(moved)
        package.mkdir(exist_ok=True)
        if moved is not None and (moved / _DATASETS).exists():
            (moved / _DATASETS).rename(package / _DATASETS)
        for path, text in texts.items():
            if path in _NOT_COVERED and (package / path).exists():
                continue  # it may be the student's own
            (package / path).parent.mkdir(exist_ok=True)
            if (package / path).is_file() and _MARK not in _read(package / path):
                moved_files.append(_aside(package / path))
                (package / path).rename(moved_files[-1])
            write_text(package / path, text)
    except OSError as error:
        raise RunError(f"Could not write {package}: {error.strerror or error}. Choose another folder.") from error
    return Link(package, tuple(texts), moved, tuple(moved_files))


def _checked_folder(folder: Path) -> Path:
    if folder.name == PACKAGE:
        raise UsageError(f"{folder} is the package itself. Name the folder of the notebooks: {folder.parent}.")
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise UsageError(f"{folder} {problem}. Name the folder of the notebooks, or make one: mkdir {folder}.")
    return folder


def _is_foreign(package: Path) -> bool:
    """Return whether there is a package that cnnlab did not write; a folder without Python files is none."""
    if not package.exists():
        return False
    if not package.is_dir():
        return True
    start = package / "__init__.py"
    if start.is_file():
        return _MARK not in _read(start)
    return any(package.glob("*.py"))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _aside(path: Path) -> Path:
    """Return the first free name for a package, or a file of it, that makes room."""
    return free_path(path.with_name(f"{path.name}{'.' if path.suffix else '-'}before-link"))


def _texts() -> dict[str, str]:
    """Return the files of the package, path -> content: one for each module that notebooks import."""
    # First the file by which the package is recognised as one of cnnlab, should the writing be interrupted.
    texts = {"__init__.py": _START}
    for module in pkgutil.walk_packages(cs231n.__path__, f"{cs231n.__name__}."):
        if "._" not in module.name:
            path = module.name.removeprefix(f"{cs231n.__name__}.").replace(".", "/")
            content = f'"""{_MARK}, which overwrites changes here."""\n\nfrom {module.name} import *\n'
            texts[f"{path}/__init__.py" if module.ispkg else f"{path}.py"] = content
    for path, subject in _NOT_COVERED.items():
        message = f"{subject} is not covered by cnnlab. Put your own module in place of cs231n/{path}."
        texts[path] = f'"""{_MARK}: without a counterpart in cnnlab."""\n\nraise ImportError({message!r})\n'
    return texts
