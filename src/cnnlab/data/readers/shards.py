"""Tar files of images as a data set: the shards of WebDataset, such as ``shards/train-{0000..0009}.tar``.

A shard holds, for each image, the file of the image (``key.jpg``) and its class: in ``key.cls`` (a number or a word),
or, without such a file, in the name of the folder that the image lies in (``cat/1.jpg``). A key ends at the first dot
in the name of the file, as in WebDataset.

The split of a shard is the first word in its name that is called like one (``val-0000.tar``,
``imagenet-train-0000.tar``); where no name has such a word, the names of the folders tell. Shards of a single split are
a whole data set. Beside shards of train, those of val and test are read too that are called like them and lie in the
same folder, unless the pattern names shards of that split itself.

Only the headers are read here, with Python's own ``tarfile``; the package webdataset is not needed. It reads shards
from their beginning to their end and shuffles in a buffer, which suits rotating disks and downloads; here every image
is read at its place, so that an epoch is shuffled as a whole, and goes on in its middle without reading what came
before.
"""

from __future__ import annotations

import glob
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from cnnlab.data.base import ImageData
from cnnlab.data.decoding import is_image_name, open_image, orientation, reason
from cnnlab.data.readers.labelled import SPLIT_NAMES, VALIDATION_SHARE, data_of_images, number_classes
from cnnlab.data.scanning import Scanned, tracked, workers
from cnnlab.data.shard_split import Members, ShardSplit
from cnnlab.data.walk import is_junk, natural_key
from cnnlab.errors import DataError, DataNotFoundError

#: Of so many images, evenly spaced, the headers are read, for channels and sizes.
SAMPLE = 1000

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
# A word called like a split; "trainval" and "contest" are none.
_SPLIT = re.compile(rf"(?<![a-z])(?:{'|'.join(SPLIT_NAMES)})(?![a-z])", re.IGNORECASE)


@dataclass
class _Images:
    """The images of some tar files, by their position."""

    shards: list[Path] = field(default_factory=list)
    places: list[tuple[int, int, int]] = field(default_factory=list)  # position of the shard, offset, size
    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)


def is_shards(text: str) -> bool:
    """Return whether a name of data names tar files."""
    return text.lower().endswith(".tar")


def load_shards(
    pattern: str | os.PathLike[str],
    *,
    seed: int = 0,
    progress: bool | None = None,
    val_fraction: float = VALIDATION_SHARE,
) -> ImageData:
    """Read tar files of images.

    Args:
        pattern: a tar file, or several: ``{0000..0009}`` stands for the numbers with the same number of digits, and
            ``*`` and ``?`` as in a shell.
        seed, progress, val_fraction: see :func:`cnnlab.load_data`; tar files of a single split are divided.

    Raises:
        DataNotFoundError: a tar file is not there.
        DataError: a tar file cannot be read, an image has no class or a name that is not valid UTF-8, there are fewer
            than two classes, or tar files of several splits but none of train.
    """
    text = os.path.expanduser(os.fspath(pattern))
    shards = expand(text)
    told = _told_splits(shards)
    matched = _with_splits(text, shards, told)
    every = matched + _held_out(matched)
    images = _Images()
    for path, split in tracked(every, len(every), "Looking at the tar files", progress):
        _list_shard(path, split, images)
    if "train" not in images.splits:
        raise DataError(f"{text} has no images. Expected members such as 0001.jpg and 0001.cls, or cat/0001.jpg.")
    classes, numbers = number_classes(text, images.labels, images.splits)
    columns = np.array(images.places, dtype=np.int64).T
    members = Members(images.shards, *columns)
    pictures = ShardSplit(members, numbers, images.names, _sample(members, images.names))
    name = shards[0].parent.resolve().name
    kind = f"{len(every)} tar file{'s' * (len(every) > 1)}"
    # Train is divided where no file was meant for another split; that all of val are empty is no reason.
    divided = {split for _, split in every} == {"train"}
    data = data_of_images(
        name, text, kind, classes, pictures, images.splits, seed if divided else None, val_fraction=val_fraction
    )
    silent = [f"{path.parent.name}/{path.name}" for path, split in zip(shards, told, strict=True) if split is None]
    if silent and any(told):
        more = f", ... {len(silent) - 3} more" if len(silent) > 3 else ""
        data.notes.append(f"tar files whose names tell no split, read as train: {', '.join(silent[:3])}{more}")
    return data


def expand(text: str) -> list[Path]:
    """Return the tar files that a pattern stands for, in order, each once.

    Raises:
        DataNotFoundError: one of them is not there.
    """
    if match := _BRACES.search(text):
        first, last = match[1], match[2]
        if int(first) > int(last):
            raise DataNotFoundError(f"{match[0]} in {text} stands for no tar file. Write the smaller number first.")
        numbers = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
        paths = [path for number in numbers for path in expand(text[: match.start()] + number + text[match.end() :])]
        return list(dict.fromkeys(paths))  # train-{1..10}*.tar matches train-10.tar twice
    if Path(text).is_file():
        return [Path(text)]
    paths = sorted(map(Path, glob.glob(text)), key=lambda path: natural_key(str(path)))
    if not paths:
        raise DataNotFoundError(f"There is no tar file {text}. Check the path; it is seen from {Path.cwd()}.")
    return paths


def _told_splits(shards: Sequence[Path]) -> list[str | None]:
    """Return the split that the name of each tar file tells, or, where no name tells one, that of its folder."""
    told = [_split_of(path.name) for path in shards]
    return told if any(told) else [_split_of(path.parent.name) for path in shards]


def _split_of(name: str) -> str | None:
    word = _SPLIT.search(name)
    return SPLIT_NAMES[word[0].lower()] if word else None


def _beginning(path: Path) -> str:
    """Return the name of a tar file up to the word that tells its split."""
    return _SPLIT.split(path.name, maxsplit=1)[0]


def _with_splits(text: str, shards: Sequence[Path], told: Sequence[str | None]) -> list[tuple[Path, str]]:
    """Return the tar files that a pattern stands for with their splits.

    All are train where their names tell a single split or none: whoever names shards of val alone means them.

    Raises:
        DataError: there are several splits, and none is train.
    """
    if len(set(told)) == 1:
        return [(path, "train") for path in shards]
    splits = [split or "train" for split in told]
    if "train" not in splits:
        names = " and ".join(sorted(set(splits)))
        raise DataError(
            f"{text} stands for tar files of {names}, but for none of train. Name those of train too, or those "
            "of a single split, which are then the whole data set."
        )
    return list(zip(shards, splits, strict=True))


def _held_out(matched: Sequence[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """Return the tar files of val and test beside those of train, with their splits."""
    named = {split for _, split in matched}
    train = dict.fromkeys((path.parent, _beginning(path)) for path, _ in matched if _split_of(path.name) == "train")
    beside = [path for folder, start in train for path in folder.glob("*.tar") if _beginning(path) == start]
    return [
        (path, split)
        for path in sorted(beside, key=lambda path: natural_key(path.name))
        if (split := _split_of(path.name)) in ("val", "test") and split not in named
    ]


def _list_shard(path: Path, split: str, images: _Images) -> None:
    """Add the images of a tar file.

    Raises:
        DataError: it cannot be read, a class or a name is not in UTF-8, or an image has no class.
    """
    classes: dict[PurePosixPath, str] = {}
    pictures: list[tuple[PurePosixPath, tarfile.TarInfo]] = []
    _check_name(str(path), "Rename it.")
    try:
        with tarfile.open(path, "r:") as archive:
            for member in _files(archive):
                file = PurePosixPath(member.name)
                stem, _, ending = file.name.partition(".")
                key = file.with_name(stem)
                if ending == "cls":
                    classes[key] = _class_in(archive, member, path)
                elif is_image_name(member.name):
                    pictures.append((key, member))
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"Cannot read {path}: {error}. It must be a tar file without compression; copy it again."
        ) from error
    number = len(images.shards)
    images.shards.append(path)
    for key, member in pictures:
        name = f"{path.name}/{member.name}"
        _check_name(name, "Rename it, and write the tar file anew.")
        label = classes.get(key) or key.parent.name
        if not label:
            raise DataError(f"{path}: {member.name} has no class. Add {key}.cls, or put the image into a folder.")
        images.places.append((number, member.offset_data, member.size))
        images.names.append(name)
        images.labels.append(label)
        images.splits.append(split)


def _class_in(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    """Return the class that a member ``key.cls`` of the tar file ``path`` holds.

    Raises:
        DataError: it is not text in UTF-8.
    """
    content = archive.extractfile(member)
    assert content is not None
    try:
        return content.read(1000).decode().strip()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: {member.name} is not text in UTF-8 ({error.reason}). Write the tar file anew."
        ) from None


def _check_name(name: str, advice: str) -> None:
    """Refuse a name with bytes that are not UTF-8, which no file of a run could hold.

    Raises:
        DataError: it has such bytes.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="replace").decode()
        raise DataError(f"The name of {shown} is not valid UTF-8. {advice}") from None


def _files(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        if member.isfile() and not is_junk(PurePosixPath(member.name).name):
            yield member
        archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header otherwise


def _sample(members: Members, names: list[str]) -> list[Scanned]:
    """Return modes and sizes of some images, evenly spaced; one that cannot be read raises an error.

    Raises:
        DataError: a sampled image cannot be read.
    """
    unlabelled = ShardSplit(members, np.zeros(len(names), dtype=np.int64), names, [])

    def look(row: int) -> Scanned:
        source = unlabelled.source(row)
        try:
            with open_image(source) as image:
                turned = image.format != "TIFF" and orientation(image) >= 5
                size = image.size if turned else image.size[::-1]
                return Scanned(size, image.mode)
        except Exception as error:  # Pillow raises many kinds for broken files
            raise DataError(
                f"Cannot read the image {source.name}: {reason(error)}. Write the tar file anew, or remove it."
            ) from error

    rows = range(0, len(names), -(-len(names) // SAMPLE))
    with ThreadPoolExecutor(workers()) as pool:
        return list(pool.map(look, rows))
