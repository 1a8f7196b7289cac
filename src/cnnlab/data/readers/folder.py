"""A folder of photos as a data set: ``train/`` and ``val/`` with class folders, or class folders alone."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cnnlab.data.base import ImageData, class_counts
from cnnlab.data.file_split import FileSplit
from cnnlab.data.scanning import IMAGE_SUFFIXES, Scanned, scan
from cnnlab.data.stratify import stratified_split
from cnnlab.errors import DataError, DataNotFoundError

#: Share of each class that becomes the validation split when there is none.
VALIDATION_SHARE = 0.2

#: Names of split folders, and of values in the ``split`` column of a CSV file, in small letters.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

_LAYOUT = "Expected class folders with images, as in PATH/ants/1.jpg, or PATH/train/ants/1.jpg and PATH/val/ants/2.jpg."
_JUNK_FOLDERS = {"__macosx", "@eadir", "$recycle.bin"}


def load_folder(path: str | Path, *, seed: int = 0, progress: bool | None = None) -> ImageData:
    """Read a folder of class folders.

    With a ``train`` folder, ``val`` (or ``valid``, ``validation``) and ``test`` beside it are read when they exist.
    Without, every folder is a class and 20 % of each becomes the validation split. Images may lie in folders within a
    class folder. Classes come from the training split only. Unreadable images are left out and listed in ``skipped``.

    Args:
        path: the folder.
        seed: of the division into train and val.
        progress: show a progress bar while the images are looked at.

    Raises:
        DataNotFoundError: there is no such folder.
        DataError: no class folders, fewer than two classes, no images, or a class in val or test that train lacks.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataNotFoundError(f"There is no folder {root}. Check the path. {_LAYOUT}")
    listing = Listing()
    roots = _split_folders(root)
    flat = "train" not in roots
    if flat:
        if roots:
            have = ", ".join(str(folder.name) for folder in roots.values())
            raise DataError(
                f'{root} has "{have}" but no "train" folder. Rename or add the folder with the training images.'
            )
        roots = {"train": root}
    else:
        inside = {folder.name for folder in roots.values()}
        others = [folder.name for folder in subfolders(root) if folder.name not in inside]
        if others:
            listing.notes.append(f"ignored folders beside {', '.join(sorted(inside))}: {', '.join(others)}")
    try:
        for split, folder in roots.items():
            listing.read(split, folder, root)
    except PermissionError as error:
        raise DataError(
            f"No permission to read {error.filename}. Change its permissions, or copy the photos."
        ) from error
    return _assemble(root, listing, flat=flat, seed=seed, progress=progress)


@dataclass
class Listing:
    """The image files found under a root, before any is opened."""

    paths: list[Path] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    loose: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, split: str, folder: Path, root: Path) -> None:
        """Add every image in the class folders of ``folder``."""
        before = len(self.paths)
        for entry in sorted(folder.iterdir()):
            if entry.is_file() and not _hidden(entry.name):
                if entry.suffix.lower() in IMAGE_SUFFIXES:
                    self.loose[str(folder.relative_to(root))] += 1
                else:
                    self.ignored[entry.suffix.lower() or "no ending"] += 1
        for class_folder in subfolders(folder):
            files = self._images(class_folder)
            if not files:
                self.empty.append(str(class_folder.relative_to(root)))
            self.paths += files
            self.splits += [split] * len(files)
            self.classes += [class_folder.name] * len(files)
        if len(self.paths) == before and split != "train":
            self.notes.append(f"{folder.name} has no class folders with images, left out")

    def _images(self, folder: Path) -> list[Path]:
        found = []
        for where, folders, files in os.walk(folder):
            folders[:] = sorted((name for name in folders if not _hidden(name)), key=natural_key)
            for name in sorted(files, key=natural_key):
                suffix = Path(name).suffix.lower()
                if _hidden(name):
                    self.ignored["hidden"] += 1
                elif suffix not in IMAGE_SUFFIXES:
                    self.ignored[suffix or "no ending"] += 1
                else:
                    found.append(Path(where) / name)
        return found


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts "2" before "10", and letters without regard to case."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts], name


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, in natural order, without hidden ones and those that systems leave behind."""
    found = [entry for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry.name)]
    return sorted(found, key=lambda entry: natural_key(entry.name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK_FOLDERS or name.lower() in ("thumbs.db", "desktop.ini")


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the split folders of a root: all of them beside ``train``, or when nothing else is there."""
    folders = subfolders(root)
    found: dict[str, Path] = {}
    for folder in folders:
        split = SPLIT_NAMES.get(folder.name.lower())
        if split is None:
            continue
        if split in found:
            raise DataError(
                f'{root} has "{found[split].name}" and "{folder.name}", which both mean the {split} split. '
                "Keep one of them, or merge them."
            )
        found[split] = folder
    # A class may be called "test"; without train and with other classes beside it, it is one.
    if "train" not in found and len(found) < len(folders):
        return {}
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _assemble(root: Path, listing: Listing, *, flat: bool, seed: int, progress: bool | None) -> ImageData:
    if "train" not in listing.splits:
        loose = sum(listing.loose.values())
        what = f"{loose} images but no class folder with images" if loose else "no class folders with images"
        raise DataError(f"{root} has {what}{'' if flat else ' in its train folder'}. {_LAYOUT}")
    scanned = scan(listing.paths, progress=progress)
    names = [path.relative_to(root).as_posix().encode(errors="replace").decode() for path in listing.paths]
    data = build_image_data(
        name=root.resolve().name,
        source=str(root),
        paths=listing.paths,
        names=names,
        scanned=scanned,
        labels=listing.classes,
        splits=listing.splits,
        seed=seed,
        kind="folder of photos",
    )
    if listing.ignored:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(listing.ignored.items()))
        data.notes.append(f"files that are no images, ignored: {kinds}")
    if listing.loose:
        data.notes.append(f"images outside class folders, ignored: {sum(listing.loose.values())}")
    if listing.empty:
        data.notes.append(f"folders without images, ignored: {', '.join(listing.empty)}")
    data.notes += listing.notes
    return data


def build_image_data(
    *,
    name: str,
    source: str,
    paths: Sequence[Path],
    names: Sequence[str],
    scanned: Sequence[Scanned],
    labels: Sequence[str],
    splits: Sequence[str],
    seed: int,
    kind: str,
) -> ImageData:
    """Make a data set of files whose class (by name) and split are known; shared by folders and CSV files.

    Args:
        name, source: as in :class:`ImageData`.
        paths, names, scanned, labels, splits: one per file; names are relative to the root.
        seed: of the division when all files are ``train``.
        kind: how the notes begin.

    Raises:
        DataError: nothing is readable, fewer than two classes, or a class in val or test that train lacks.
    """
    skipped = [(name, found.error) for name, found in zip(names, scanned, strict=True) if found.error is not None]
    good = [i for i, found in enumerate(scanned) if found.error is None]
    trained = {labels[i] for i in good if splits[i] == "train"}
    classes = sorted(trained, key=natural_key)
    if not classes:
        first = f"; the first: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise DataError(f"{source} has no readable training image ({len(skipped)} unreadable{first}). Replace them.")
    check_classes(source, classes, [(splits[i], labels[i]) for i in good])
    number = {label: position for position, label in enumerate(classes)}
    parts: dict[str, FileSplit] = {}
    for split in ("train", "val", "test"):
        rows = [i for i in good if splits[i] == split]
        if rows:
            parts[split] = FileSplit(
                [paths[i] for i in rows],
                [number[labels[i]] for i in rows],
                [names[i] for i in rows],
                scanned=[scanned[i] for i in rows],
            )
    divided = set(splits) == {"train"}
    notes = []
    if divided:
        rest, part = stratified_split(parts["train"].labels, VALIDATION_SHARE, seed)
        parts["val"], parts["train"] = parts["train"].subset(part), parts["train"].subset(rest)
        notes.append(f"divided here into train {len(rest)} and val {len(part)}, by class, seed {seed}")
    data = ImageData(name, classes, parts["train"], parts.get("val"), parts.get("test"), source, [], skipped, divided)
    data.notes = [*_describe(kind, data, [scanned[i] for i in good]), *notes]
    gone = sorted({label for label, split in zip(labels, splits, strict=True) if split == "train"} - trained)
    if gone:
        data.notes.append(f"classes without a readable training image, left out: {', '.join(gone)}")
    return data


def check_classes(source: str, classes: Sequence[str], labelled: Sequence[tuple[str, str]]) -> None:
    """Refuse fewer than two classes, and classes in val or test that train lacks.

    Args:
        source: for the message.
        classes: those of train.
        labelled: (split, class) of every image.
    """
    if len(classes) < 2:
        raise DataError(
            f'{source} has a single class, "{classes[0]}"; a classifier needs at least two. '
            "Add a folder or label for what the others are."
        )
    unknown: dict[tuple[str, str], int] = Counter(pair for pair in labelled if pair[1] not in set(classes))
    if unknown:
        (split, label), count = sorted(unknown.items())[0]
        more = f" (and {len(unknown) - 1} more like this)" if len(unknown) > 1 else ""
        raise DataError(
            f'{source}: {split} has {count} images of the class "{label}", which train does not have{more}. '
            f'Add training images of "{label}", rename it, or remove it from {split}.'
        )


def _describe(kind: str, data: ImageData, scanned: Sequence[Scanned]) -> list[str]:
    """Say what was understood: classes, splits, sizes, what is missing."""
    splits = data.splits()
    counts = torch.stack([class_counts(split, data.classes) for split in splits.values()]).sum(0)
    per_class = [f"{name} {count}" for name, count in zip(data.classes, counts.tolist(), strict=True)]
    listed = ", ".join(per_class[:10]) + (f", ... {len(per_class) - 10} more" if len(per_class) > 10 else "")
    sizes = ", ".join(
        f"{name} {len(splits[name])}" if name in splits else f"no {name}" for name in ("train", "val", "test")
    )
    notes = [f"{kind}: {len(data.classes)} classes ({listed}), {sizes}"]
    heights, widths = [found.size[0] for found in scanned], [found.size[1] for found in scanned]
    low, high = (min(widths), min(heights)), (max(widths), max(heights))
    colours = {split.channels for split in splits.values()}
    extent = f"{low[0]}x{low[1]}" if low == high else f"{low[0]}x{low[1]} to {high[0]}x{high[1]}"
    notes.append(f"images of {extent} pixels (width x height), {'grey' if colours == {1} else 'colour'}")
    for name in ("val", "test"):
        if name in splits:
            missing = [c for c, n in zip(data.classes, class_counts(splits[name], data.classes), strict=True) if n == 0]
            if missing:
                notes.append(f"{name} has no images of {', '.join(missing)}")
    if data.skipped:
        notes.append(f"unreadable files, left out: {len(data.skipped)} (first: {data.skipped[0][0]})")
    return notes
