"""The one walk over folders of images, for training, prediction, explanation and the data doctor."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cnnlab.data.decoding import HEIC_ADVICE, HEIC_SUFFIXES, is_image_name
from cnnlab.errors import DataError

# Files and folders that systems and programs leave behind, in lower case. Names with a leading dot are junk too: .git,
# .DS_Store, and the resource forks ._* of macOS, which have the endings of images.
_SYSTEM_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "#recycle", "lost+found", "system volume information"}
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}


@dataclass
class Ignored:
    """The files and folders that a walk left aside.

    Attributes:
        files: number of files that are no images, by ending; ``"hidden"`` for hidden files and those of the system.
        folders: number of ignored folders, by name: hidden ones and those of the system.
        repeated: links to folders that were read already, or that lead back to a folder they lie in.
    """

    files: Counter[str] = field(default_factory=Counter)
    folders: Counter[str] = field(default_factory=Counter)
    repeated: list[str] = field(default_factory=list)

    def add(self, other: Ignored) -> None:
        """Add the counts of another walk."""
        self.files += other.files
        self.folders += other.folders
        self.repeated += other.repeated

    def notes(self) -> list[str]:
        """Return a line for each kind of thing that was left aside."""
        lines = []
        if self.files:
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.files.items()))
            lines.append(f"files that are no images, ignored: {kinds}")
        if heic := sum(self.files[suffix] for suffix in HEIC_SUFFIXES):
            lines.append(f"{heic} of them may be photos. {HEIC_ADVICE}")
        if self.folders:
            names = ", ".join(f"{name} ({n})" if n > 1 else name for name, n in sorted(self.folders.items()))
            lines.append(f"hidden and system folders, ignored: {names}")
        if self.repeated:
            lines.append(f"links to folders that are read already, ignored: {', '.join(self.repeated[:5])}")
        return lines


@dataclass
class ImageFiles:
    """Images, in natural order below each folder, and what was left aside in the folders."""

    paths: list[Path] = field(default_factory=list)
    ignored: Ignored = field(default_factory=Ignored)


def image_files(paths: Iterable[str | os.PathLike[str]]) -> ImageFiles:
    """Return files as they are, and of folders the images in them and in the folders below.

    Args:
        paths: files and folders.

    Raises:
        DataError: a folder holds no image; the message says what it holds.
    """
    files = ImageFiles()
    for path in map(Path, paths):
        if not path.is_dir():
            files.paths.append(path)
            continue
        search = find_images(path)
        if not search.paths:
            notes = "".join(f" ({note})" for note in search.ignored.notes())
            raise DataError(
                f"There is no image in the folder {path} or below it{notes}. Name another folder, or files."
            )
        files.paths += search.paths
        files.ignored.add(search.ignored)
    return files


def find_images(folder: Path) -> ImageFiles:
    """Find the images in a folder and the folders below it.

    Links to folders are followed, each folder once. A link to a file that does not exist counts as an image, so that
    the reader can report that it is missing.

    Args:
        folder: folder to search.

    Raises:
        DataError: there is no permission to read a folder.
    """
    result = ImageFiles()
    visited = {os.path.realpath(folder)}

    def search(path: Path) -> None:
        files, folders = list_folder(path, result.ignored)
        result.paths += files
        for inner in folders:
            target = os.path.realpath(inner)
            if target in visited or _holds(target, path):
                result.ignored.repeated.append(str(inner))
                continue
            visited.add(target)
            search(inner)

    search(folder)
    return result


def list_folder(folder: Path, ignored: Ignored | None = None) -> tuple[list[Path], list[Path]]:
    """Return the images directly in a folder, and the folders in it, both in natural order and without junk.

    Args:
        folder: folder to list.
        ignored: counts of the files left aside, added to.

    Raises:
        DataError: there is no permission to read the folder.
    """
    ignored = Ignored() if ignored is None else ignored
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: natural_key(entry.name))
    except PermissionError as error:
        raise DataError(f"No permission to read {folder}. Change its permissions, or copy the photos.") from error
    for entry in listed:
        if _is_folder(entry):
            if is_junk(entry.name):
                ignored.folders[entry.name] += 1
            else:
                folders.append(folder / entry.name)
        elif is_image_name(entry.name) and not is_junk(entry.name) and _is_file_or_dangling(entry):
            files.append(folder / entry.name)
        else:
            ignored.files["hidden" if is_junk(entry.name) else Path(entry.name).suffix.lower() or "no ending"] += 1
    return files, folders


def is_junk(name: str) -> bool:
    """Return whether a file or folder of this name is hidden or was left behind by a system."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS or name.lower() in _SYSTEM_FILES


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a sort key that puts "2" before "10", and letters without regard to case."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts], name


def _holds(target: str, folder: Path) -> bool:
    """Return whether ``folder`` lies in ``target``, so that going there would lead in circles."""
    real = os.path.realpath(folder)
    return real == target or real.startswith(target.rstrip(os.sep) + os.sep)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # Of a link that leads back to itself, isdir says no and is_dir raises an error.
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()


def _is_file_or_dangling(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a file or a link to nothing; not a socket, pipe or device, which may never end."""
    return os.path.isfile(entry) or not os.path.exists(entry) if entry.is_symlink() else entry.is_file()
