"""A folder of photos as a data set: class folders, ``train/`` and ``val/`` of them, or classes in the names of files.

Which of these a folder is, is decided by what lies in it: a class may be called "train" or "test".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from cnnlab.data.base import ImageData
from cnnlab.data.readers.labelled import SPLIT_NAMES, VALIDATION_SHARE, Listing, data_of_files
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


def load_folder(
    path: str | Path,
    *,
    seed: int = 0,
    progress: bool | None = None,
    layout: Layout = "auto",
    val_fraction: float = VALIDATION_SHARE,
) -> ImageData:
    """Read a folder of photos.

    With a ``train`` folder of class folders, ``val`` (or ``valid``, ``validation``) and ``test`` beside it are read
    when they exist. Without, every folder is a class and a part of each becomes the validation split. Images may lie in
    folders within a class folder. A single folder that holds all the others is passed through. Classes come from the
    training split only. Unreadable images are left out and listed in ``skipped``.

    Args:
        path: folder to read.
        seed, progress, val_fraction: see :func:`cnnlab.load_data`.
        layout: layout of the folder, where ``auto`` cannot decide or decides wrongly; see :data:`Layout`.

    Raises:
        DataNotFoundError: there is no such folder.
        UsageError: there is no such layout.
        DataError: no class folders, fewer than two classes, no images, a class in val or test that train lacks, or a
            folder that can be read in two ways.
    """
    if layout not in get_args(Layout):
        hint = did_you_mean(layout, get_args(Layout))
        raise UsageError(f'layout is "{layout}"; expected auto, classes, splits or flat. {hint}'.strip())
    root = _Folder(Path(path).expanduser())
    if not root.path.is_dir():
        raise DataNotFoundError(f"There is no folder {root.path}. Check the path. {_EXPECTED}")
    base, listing = _unwrapped(root), _FolderListing(root.path)
    if base is not root:
        listing.notes.append(f"read from {base.path.relative_to(root.path)}, the only folder with images in it")
    reading = layout if layout != "auto" else _layout_of(base)
    if reading == "classes":
        _list_class_folders("train", base, listing)
    elif reading == "splits":
        _list_splits(base, listing)
    else:
        _list_flat(base, listing)
    if "train" not in listing.splits:
        raise _no_classes(base, listing)
    name, source = root.path.resolve().name, str(root.path)
    data = data_of_files(
        name, source, "folder of photos", listing, seed=seed, progress=progress, val_fraction=val_fraction
    )
    data.notes += listing.ignored.notes()
    if listing.loose:
        data.notes.append(f"images outside class folders, ignored: {listing.loose}")
    if listing.empty:
        names = ", ".join(str(folder.path.relative_to(root.path)) for folder in listing.empty)
        data.notes.append(f"folders without images, ignored: {names}")
    data.notes += listing.notes
    data.ignored_files = sum(listing.ignored.files.values()) - listing.ignored.files["hidden"] + listing.loose
    data.ignored_folders = len(listing.empty) + len(listing.unused)
    return data


class _Folder:
    """A folder and what lies in it, which is listed once, when it is first asked for.

    Attributes:
        path: path of the folder.
        name: name of the folder as it is written there.
        label: name of the folder as a class: in composed letters (NFC), which not every system writes.
        split: the split that the folder is called after, or None.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self.label = unicodedata.normalize("NFC", path.name)
        self.split = SPLIT_NAMES.get(path.name.lower())

    @cached_property
    def contents(self) -> tuple[list[Path], list[_Folder], Ignored]:
        """The images and the folders directly in it, and what is left aside."""
        ignored = Ignored()
        files, folders = list_folder(self.path, ignored)
        return files, [_Folder(folder) for folder in folders], ignored

    @property
    def loose(self) -> list[Path]:
        """The images directly in it."""
        return self.contents[0]

    @cached_property
    def images(self) -> ImageFiles:
        """The images in it and in the folders below."""
        return find_images(self.path)

    @cached_property
    def filled(self) -> list[_Folder]:
        """The folders directly in it that hold images, in themselves or below."""
        return [folder for folder in self.contents[1] if folder.images.paths]

    @property
    def labels(self) -> set[str]:
        """The names of its filled folders as classes, in small letters."""
        return {folder.label.casefold() for folder in self.filled}


@dataclass
class _FolderListing(Listing):
    """The image files under a root, and what is left aside there."""

    ignored: Ignored = field(default_factory=Ignored)
    loose: int = 0
    empty: list[_Folder] = field(default_factory=list)
    unused: list[_Folder] = field(default_factory=list)  # folders with images that are no part of the data
    notes: list[str] = field(default_factory=list)


def class_of_file(path: Path) -> str | None:
    """Return the class that a file's name begins with, as in ``cat.0.jpg``; None when it says none."""
    match = _NUMBERED.fullmatch(unicodedata.normalize("NFC", path.stem))
    name = match[1] if match else ""
    return name if any(letter.isalpha() for letter in name) else None


# The layout ----------------------------------------------------------------------------------------------------------


def _unwrapped(root: _Folder) -> _Folder:
    """Go down through folders that hold nothing but one folder with images."""
    base = root
    while len(base.filled) == 1 and not base.loose:
        (only,) = base.filled
        if only.split or not (only.filled or _plainly_flat(only.loose)):
            break
        base = only
    return base


def _layout_of(base: _Folder) -> Literal["classes", "splits", "flat"]:
    """Decide how a folder is to be read, by what lies in it.

    Raises:
        DataError: two readings are possible, or none.
    """
    filled = base.filled
    if not filled:
        return "flat" if _plainly_flat(base.loose) else "classes"
    train = [folder for folder in filled if folder.split == "train"]
    others = [folder for folder in filled if folder.split in ("val", "test")]
    strangers = [folder for folder in filled if not folder.split]
    learnt = {label for folder in train for label in folder.labels}
    if not learnt and strangers:
        return "classes"
    if not train:
        have = ", ".join(folder.name for folder in others)
        raise DataError(
            f'{base.path} has "{have}" but no "train" folder. Rename or add the folder with the training images'
            + (f"; if these are classes, say {_choose('classes')}." if len(others) > 1 else ".")
        )
    if not learnt:
        if any(_plainly_flat(folder.loose) for folder in train):
            return "flat"
        if len(filled) == 1:
            return "splits"  # which fails, and says what is missing
        names = ", ".join(f'"{folder.name}"' for folder in filled)
        raise DataError(
            f"{base.path} has the folders {names} with images but without class folders, so it can be read in two "
            f"ways. If these are classes, say {_choose('classes')}; if they are splits, put the images into class "
            "folders."
        )
    if any(folder.labels & learnt for folder in [*others, *strangers]):
        return "splits"
    if any(folder.filled for folder in others):
        raise _ambiguous(base, "that have no class in common")
    if not others and any(folder.loose for folder in strangers):
        raise _ambiguous(base, f"with the classes {', '.join(sorted(learnt)[:3])}, the others left aside")
    return "splits"


def _ambiguous(base: _Folder, splits: str) -> DataError:
    names = ", ".join(f'"{folder.name}"' for folder in base.filled[:4]) + (", ..." if len(base.filled) > 4 else "")
    return DataError(
        f"{base.path} can be read in two ways: {names} may be classes, or train and what lies beside it may be splits "
        f"{splits}. Say {_choose('classes')} or {_choose('splits')}."
    )


def _choose(layout: str) -> str:
    return f"layout={layout} (--layout {layout})"


def _plainly_flat(files: Sequence[Path]) -> bool:
    """Return whether names of files tell classes: two or more, each of several images, none a camera's prefix."""
    counts = Counter(class_of_file(path) for path in files)
    unlabelled = counts.pop(None, 0)
    named = all(name is not None and name.lower() not in _NO_CLASSES for name in counts)
    return len(counts) > 1 and min(counts.values()) > 1 and named and unlabelled <= len(files) // 10


# The files of each layout --------------------------------------------------------------------------------------------


def _list_class_folders(split: str, base: _Folder, listing: _FolderListing) -> None:
    """Add every image in the class folders of ``base``."""
    loose, inner, ignored = base.contents
    listing.loose += len(loose)
    listing.ignored.add(ignored)
    for folder in inner:
        listing.ignored.add(folder.images.ignored)
        for path in folder.images.paths:
            listing.add(path, folder.label, split)
        if not folder.images.paths:
            listing.empty.append(folder)


def _list_splits(base: _Folder, listing: _FolderListing) -> None:
    """Add every image in the class folders of the split folders."""
    by_split = _split_folders(base)
    loose, inner, ignored = base.contents
    listing.unused = [folder for folder in inner if folder not in by_split.values()]
    listing.loose += len(loose)
    listing.ignored.add(ignored)
    if listing.unused:
        splits = ", ".join(sorted(folder.name for folder in by_split.values()))
        names = ", ".join(folder.name for folder in listing.unused)
        listing.notes.append(f"ignored folders beside {splits}: {names}")
        if any(folder.loose for folder in listing.unused):
            listing.notes.append(f"if all these folders are classes, say {_choose('classes')}")
    for split, folder in by_split.items():
        _list_class_folders(split, folder, listing)
        if split not in listing.splits and split != "train":
            listing.notes.append(f"{folder.name} has no class folders with images, left out")


def _list_flat(base: _Folder, listing: _FolderListing) -> None:
    """Add images whose names begin with their class, from the folder itself or from its split folders."""
    for split, folder in ({"train": base} if base.loose else _split_folders(base)).items():
        listing.ignored.add(folder.contents[2])
        unlabelled = 0
        for path in folder.loose:
            label = class_of_file(path)
            if label is None:
                unlabelled += 1
            else:
                listing.add(path, label, split)
        if unlabelled:
            listing.loose += unlabelled
            listing.notes.append(f"{folder.name}: {unlabelled} images whose names tell no class, left out")
    if listing.paths:
        example = f'{listing.paths[0].name} is of "{listing.labels[0]}"'
        listing.notes.append(f"classes are the beginnings of the names: {example}")


def _split_folders(base: _Folder) -> dict[str, _Folder]:
    """Return the folders in ``base`` that are called after splits, train first."""
    by_split: dict[str, _Folder] = {}
    for folder in base.contents[1]:
        if not folder.split:
            continue
        if folder.split in by_split:
            raise DataError(
                f'{base.path} has "{by_split[folder.split].name}" and "{folder.name}", which both mean the '
                f"{folder.split} split. Keep one of them, or merge them."
            )
        by_split[folder.split] = folder
    return {split: by_split[split] for split in ("train", "val", "test") if split in by_split}


def _no_classes(base: _Folder, listing: _FolderListing) -> DataError:
    """Return the error for a folder without an image that has a class, with the next step that may help."""
    inside = any(folder.split == "train" for folder in base.filled)
    what = "no class folders with images"
    if listing.loose:
        what = f"{listing.loose} images but no class folder with images"
    text = f"{base.path} has {what}{' in its train folder' if inside else ''}. {_EXPECTED}"
    files = [*base.loose, *(path for folder in base.contents[1] for path in folder.loose)]
    numbered = sorted({label for path in files if (label := class_of_file(path))})
    if len(numbered) > 1:
        text += f" If the names of the files begin with their class ({', '.join(numbered[:3])}), say {_choose('flat')}."
    notes = [note[0].upper() + note[1:] for note in listing.ignored.notes()]
    return DataError(" ".join([text, *(f"{note}." for note in notes)]))
