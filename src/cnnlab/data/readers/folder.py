"""A folder of photos as a data set: class folders, ``train/`` and ``val/`` of them, or classes in the names of files.

Which of these a folder is, is decided by what lies in it: a class may be called "train" or "test".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from cnnlab.data.base import ImageData
from cnnlab.data.readers.labelled_files import SPLIT_NAMES, build_image_data
from cnnlab.data.scanning import scan
from cnnlab.data.walk import Ignored, ImageFiles, find_images, list_folder
from cnnlab.errors import DataError, DataNotFoundError, UsageError, did_you_mean

#: How a folder is read: every folder in it is a class; folders called train, val, test hold the class folders; or the
#: beginning of each file's name is its class, as in ``cat.0.jpg``. ``auto`` decides by what lies in the folder.
Layout: TypeAlias = Literal["auto", "classes", "splits", "flat"]

_EXPECTED = (
    "Expected class folders with images, as in PATH/ants/1.jpg, or PATH/train/ants/1.jpg and PATH/val/ants/2.jpg."
)
# "cat.0", "dog_12", "dog (3)": the class, then a number.
_NUMBERED = re.compile(r"(.*?)[\s._()\-]*\d+[\s)]*")
# Prefixes that cameras and programs give to file names.
_NO_CLASSES = set(
    "img image photo pic picture dsc dscn dscf pxl frame screenshot scan file sample p imag sam gopr mvi vid wp".split()  # noqa: SIM905
)


def load_folder(path: str | Path, *, seed: int = 0, progress: bool | None = None, layout: Layout = "auto") -> ImageData:
    """Read a folder of photos.

    With a ``train`` folder of class folders, ``val`` (or ``valid``, ``validation``) and ``test`` beside it are read
    when they exist. Without, every folder is a class and 20 % of each becomes the validation split. Images may lie in
    folders within a class folder. A single folder that holds all the others is passed through. Classes come from the
    training split only. Unreadable images are left out and listed in ``skipped``.

    Args:
        path: folder to read.
        seed: seed of the division into train and val.
        progress: whether to show a progress bar while the images are scanned.
        layout: layout of the folder, where ``auto`` cannot decide or decides wrongly; see :data:`Layout`.

    Raises:
        DataNotFoundError: there is no such folder.
        UsageError: there is no such layout.
        DataError: no class folders, fewer than two classes, no images, a class in val or test that train lacks, or a
            folder that can be read in two ways.
    """
    root = Path(path).expanduser()
    if layout not in get_args(Layout):
        hint = did_you_mean(layout, get_args(Layout))
        raise UsageError(f'layout is "{layout}"; expected auto, classes, splits or flat. {hint}'.strip())
    if not root.is_dir():
        raise DataNotFoundError(f"There is no folder {root}. Check the path. {_EXPECTED}")
    folders = _Folders()
    base = _unwrapped(root, folders)
    reading = layout if layout != "auto" else _layout_of(base, folders)
    listing = _Listing()
    if base != root:
        listing.notes.append(f"read from {base.relative_to(root)}, the only folder with images in it")
    {"classes": _read_classes, "splits": _read_splits, "flat": _read_flat}[reading](base, folders, listing)
    if "train" not in listing.splits:
        raise _no_classes(base, folders, listing)
    return _assemble(root, listing, seed=seed, progress=progress)


class _Folders:
    """The contents of folders; each is listed once."""

    def __init__(self) -> None:
        self._listed: dict[Path, tuple[list[Path], list[Path], Ignored]] = {}
        self._images: dict[Path, ImageFiles] = {}

    def loose(self, folder: Path) -> list[Path]:
        """Return the images directly in a folder."""
        return self._list(folder)[0]

    def inner(self, folder: Path) -> list[Path]:
        """Return the folders directly in a folder."""
        return self._list(folder)[1]

    def ignored(self, folder: Path) -> Ignored:
        """Return what is left aside directly in a folder."""
        return self._list(folder)[2]

    def images(self, folder: Path) -> ImageFiles:
        """Return the images in a folder and below it."""
        if folder not in self._images:
            self._images[folder] = find_images(folder)
        return self._images[folder]

    def filled(self, folder: Path) -> list[Path]:
        """Return the folders directly in a folder that hold images, in themselves or below."""
        return [inner for inner in self.inner(folder) if self.images(inner).paths]

    def names(self, folder: Path) -> set[str]:
        """Return the names of the filled folders in a folder, as they are compared."""
        return {class_name(inner).casefold() for inner in self.filled(folder)}

    def _list(self, folder: Path) -> tuple[list[Path], list[Path], Ignored]:
        if folder not in self._listed:
            ignored = Ignored()
            self._listed[folder] = (*list_folder(folder, ignored), ignored)
        return self._listed[folder]


@dataclass
class _Listing:
    """The image files under a root, before any is opened."""

    paths: list[Path] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    ignored: Ignored = field(default_factory=Ignored)
    loose: int = 0
    empty: list[Path] = field(default_factory=list)
    unused: list[Path] = field(default_factory=list)  # folders with images that are no part of the data
    notes: list[str] = field(default_factory=list)

    def add(self, split: str, label: str, paths: Sequence[Path]) -> None:
        """Add images of one class."""
        self.paths += paths
        self.splits += [split] * len(paths)
        self.classes += [label] * len(paths)


def class_name(folder: Path) -> str:
    """Return the name of a folder as a class: composed letters (NFC), as not every system writes them."""
    return unicodedata.normalize("NFC", folder.name)


def class_of_file(path: Path) -> str | None:
    """Return the class that a file's name begins with, as in ``cat.0.jpg``; None when it says none."""
    match = _NUMBERED.fullmatch(unicodedata.normalize("NFC", path.stem))
    name = match[1] if match else ""
    return name if any(letter.isalpha() for letter in name) else None


def _unwrapped(root: Path, folders: _Folders) -> Path:
    """Go down through folders that hold nothing but one folder with images."""
    base = root
    while len(filled := folders.filled(base)) == 1 and not folders.loose(base):
        if _split(filled[0]) or not (folders.filled(filled[0]) or _plainly_flat(folders.loose(filled[0]))):
            break
        base = filled[0]
    return base


def _layout_of(base: Path, folders: _Folders) -> Literal["classes", "splits", "flat"]:
    """Decide how a folder is to be read, by what lies in it.

    Raises:
        DataError: two readings are possible, or none.
    """
    filled = folders.filled(base)
    if not filled:
        return "flat" if _plainly_flat(folders.loose(base)) else "classes"
    train = [folder for folder in filled if _split(folder) == "train"]
    others = [folder for folder in filled if _split(folder) in ("val", "test")]
    strangers = [folder for folder in filled if not _split(folder)]
    learnt = {name for folder in train for name in folders.names(folder)}
    if not learnt and strangers:
        return "classes"
    if not train:
        have = ", ".join(folder.name for folder in others)
        raise DataError(
            f'{base} has "{have}" but no "train" folder. Rename or add the folder with the training images'
            + (f"; if these are classes, say {_choose('classes')}." if len(others) > 1 else ".")
        )
    if not learnt:
        if any(_plainly_flat(folders.loose(folder)) for folder in train):
            return "flat"
        if len(filled) == 1:
            return "splits"  # which fails, and says what is missing
        names = ", ".join(f'"{folder.name}"' for folder in filled)
        raise DataError(
            f"{base} has the folders {names} with images but without class folders, so it can be read in two ways. If "
            f"these are classes, say {_choose('classes')}; if they are splits, put the images into class folders."
        )
    if any(folders.names(folder) & learnt for folder in [*others, *strangers]):
        return "splits"
    if any(folders.filled(folder) for folder in others):
        raise _ambiguous(base, filled, "that have no class in common")
    if not others and any(folders.loose(folder) for folder in strangers):
        raise _ambiguous(base, filled, f"with the classes {', '.join(sorted(learnt)[:3])}, the others left aside")
    return "splits"


def _ambiguous(base: Path, filled: Sequence[Path], splits: str) -> DataError:
    names = ", ".join(f'"{folder.name}"' for folder in filled[:4]) + (", ..." if len(filled) > 4 else "")
    return DataError(
        f"{base} can be read in two ways: {names} may be classes, or train and what lies beside it may be splits "
        f"{splits}. Say {_choose('classes')} or {_choose('splits')}."
    )


def _choose(layout: str) -> str:
    return f"layout={layout} (--layout {layout})"


def _split(folder: Path) -> str | None:
    return SPLIT_NAMES.get(folder.name.lower())


def _plainly_flat(files: Sequence[Path]) -> bool:
    """Return whether names of files tell classes: two or more, each of several images, none a camera's prefix."""
    counts = Counter(class_of_file(path) for path in files)
    unlabelled = counts.pop(None, 0)
    named = all(name is not None and name.lower() not in _NO_CLASSES for name in counts)
    return len(counts) > 1 and min(counts.values()) > 1 and named and unlabelled <= len(files) // 10


def _read_classes(base: Path, folders: _Folders, listing: _Listing) -> None:
    _read_class_folders("train", base, folders, listing)


def _read_splits(base: Path, folders: _Folders, listing: _Listing) -> None:
    by_split = _split_folders(base, folders)
    inside = sorted(folder.name for folder in by_split.values())
    listing.unused = [folder for folder in folders.inner(base) if folder not in by_split.values()]
    listing.loose += len(folders.loose(base))
    listing.ignored.add(folders.ignored(base))
    if listing.unused:
        names = ", ".join(folder.name for folder in listing.unused)
        listing.notes.append(f"ignored folders beside {', '.join(inside)}: {names}")
        if any(folders.loose(folder) for folder in listing.unused):
            listing.notes.append(f"if all these folders are classes, say {_choose('classes')}")
    for split, folder in by_split.items():
        before = len(listing.paths)
        _read_class_folders(split, folder, folders, listing)
        if len(listing.paths) == before and split != "train":
            listing.notes.append(f"{folder.name} has no class folders with images, left out")


def _read_class_folders(split: str, folder: Path, folders: _Folders, listing: _Listing) -> None:
    """Add every image in the class folders of ``folder``."""
    listing.loose += len(folders.loose(folder))
    listing.ignored.add(folders.ignored(folder))
    for inner in folders.inner(folder):
        images = folders.images(inner)
        listing.ignored.add(images.ignored)
        listing.add(split, class_name(inner), images.paths)
        if not images.paths:
            listing.empty.append(inner)


def _read_flat(base: Path, folders: _Folders, listing: _Listing) -> None:
    """Add images whose names begin with their class, from the folder itself or from its split folders."""
    parts = {"train": base} if folders.loose(base) else _split_folders(base, folders)
    for split, folder in parts.items():
        listing.ignored.add(folders.ignored(folder))
        files = folders.loose(folder)
        for path in files:
            label = class_of_file(path)
            if label is not None:
                listing.add(split, label, [path])
        unlabelled = sum(class_of_file(path) is None for path in files)
        if unlabelled:
            listing.loose += unlabelled
            listing.notes.append(f"{folder.name}: {unlabelled} images whose names tell no class, left out")
    if listing.paths:
        example = f'{listing.paths[0].name} is of "{listing.classes[0]}"'
        listing.notes.append(f"classes are the beginnings of the names: {example}")


def _split_folders(base: Path, folders: _Folders) -> dict[str, Path]:
    """Return the folders of a base that are called after splits, train first."""
    by_split: dict[str, Path] = {}
    for folder in folders.inner(base):
        split = _split(folder)
        if split in by_split:
            raise DataError(
                f'{base} has "{by_split[split].name}" and "{folder.name}", which both mean the {split} split. '
                "Keep one of them, or merge them."
            )
        if split:
            by_split[split] = folder
    return {split: by_split[split] for split in ("train", "val", "test") if split in by_split}


def _no_classes(base: Path, folders: _Folders, listing: _Listing) -> DataError:
    """Return the error for a folder without an image that has a class, with the next step that may help."""
    inside = any(_split(folder) == "train" for folder in folders.filled(base))
    what = "no class folders with images"
    if listing.loose:
        what = f"{listing.loose} images but no class folder with images"
    text = f"{base} has {what}{' in its train folder' if inside else ''}. {_EXPECTED}"
    files = [*folders.loose(base), *(path for folder in folders.inner(base) for path in folders.loose(folder))]
    numbered = sorted({label for path in files if (label := class_of_file(path))})
    if len(numbered) > 1:
        text += f" If the names of the files begin with their class ({', '.join(numbered[:3])}), say {_choose('flat')}."
    notes = [note[0].upper() + note[1:] for note in listing.ignored.notes()]
    return DataError(" ".join([text, *(f"{note}." for note in notes)]))


def _assemble(root: Path, listing: _Listing, *, seed: int, progress: bool | None) -> ImageData:
    data = build_image_data(
        name=root.resolve().name,
        source=str(root),
        paths=listing.paths,
        names=[path.relative_to(root).as_posix().encode(errors="replace").decode() for path in listing.paths],
        scanned=scan(listing.paths, progress=progress),
        labels=listing.classes,
        splits=listing.splits,
        seed=seed,
        kind="folder of photos",
    )
    data.notes += listing.ignored.notes()
    if listing.loose:
        data.notes.append(f"images outside class folders, ignored: {listing.loose}")
    if listing.empty:
        names = ", ".join(str(folder.relative_to(root)) for folder in listing.empty)
        data.notes.append(f"folders without images, ignored: {names}")
    data.notes += listing.notes
    data.ignored_files = sum(listing.ignored.files.values()) - listing.ignored.files["hidden"] + listing.loose
    data.ignored_folders = len(listing.empty) + len(listing.unused)
    return data
