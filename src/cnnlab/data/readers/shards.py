"""Tar files of images as a data set: the shards of WebDataset, such as ``shards/train-{0000..0009}.tar``.

A shard holds, for each image, the file of the image (``key.jpg``) and its class: in ``key.cls`` (a number or a word),
or, without such a file, in the name of the folder that the image lies in (``cat/1.jpg``). Beside shards whose names
begin with ``train``, those of the same folder that begin with ``val`` or ``test`` are read too.

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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from cnnlab.data.base import ImageData
from cnnlab.data.decoding import is_image_name, orientation
from cnnlab.data.readers.labelled import SPLIT_NAMES, data_of_images, number_classes
from cnnlab.data.scanning import Scanned, tracked, workers
from cnnlab.data.shard_split import Members, ShardSplit
from cnnlab.data.walk import is_junk, natural_key
from cnnlab.errors import DataError, DataNotFoundError

#: Of so many images, evenly spaced, the headers are read, for channels and sizes.
SAMPLE = 1000

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SPLIT = re.compile(r"[a-z]+", re.IGNORECASE)


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


def load_shards(pattern: str | os.PathLike[str], *, seed: int = 0, progress: bool | None = None) -> ImageData:
    """Read tar files of images.

    Args:
        pattern: a tar file, or several: ``{0000..0009}`` stands for the numbers with the same number of digits, and
            ``*`` and ``?`` as in a shell.
        seed, progress: see :func:`cnnlab.load_data`; without ``val`` and ``test``, 20 % of each class become val.

    Raises:
        DataNotFoundError: a tar file is not there.
        DataError: a tar file cannot be read, an image has no class, or there are fewer than two classes.
    """
    text = os.path.expanduser(os.fspath(pattern))
    shards = expand(text)
    every = [(path, "train") for path in shards] + _held_out(shards)
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
    return data_of_images(
        name, text, kind, classes, pictures, images.splits, None if len(set(images.splits)) > 1 else seed
    )


def expand(text: str) -> list[Path]:
    """Return the tar files that a pattern stands for, in order.

    Raises:
        DataNotFoundError: one of them is not there.
    """
    if match := _BRACES.search(text):
        first, last = match[1], match[2]
        numbers = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
        return [path for number in numbers for path in expand(text[: match.start()] + number + text[match.end() :])]
    if Path(text).is_file():
        return [Path(text)]
    paths = sorted(map(Path, glob.glob(text)), key=lambda path: natural_key(str(path)))
    if not paths:
        raise DataNotFoundError(f"There is no tar file {text}. Check the path; it is seen from {Path.cwd()}.")
    return paths


def _held_out(shards: list[Path]) -> list[tuple[Path, str]]:
    """Return the shards of val and test beside those of train, with their splits."""
    if _split_of(shards[0]) != "train":
        return []
    beside = sorted(shards[0].parent.glob("*.tar"), key=lambda path: natural_key(path.name))
    return [(path, split) for path in beside if (split := _split_of(path)) in ("val", "test")]


def _split_of(path: Path) -> str | None:
    word = _SPLIT.match(path.name)
    return SPLIT_NAMES.get(word[0].lower()) if word else None


def _list_shard(path: Path, split: str, images: _Images) -> None:
    """Add the images of a tar file.

    Raises:
        DataError: it cannot be read, or an image has no class.
    """
    classes: dict[str, str] = {}
    pictures: list[tuple[str, tarfile.TarInfo]] = []
    try:
        with tarfile.open(path, "r:") as archive:
            for member in _files(archive):
                key, _, ending = member.name.partition(".")
                if ending == "cls":
                    content = archive.extractfile(member)
                    assert content is not None
                    classes[key] = content.read(1000).decode().strip()
                elif is_image_name(member.name):
                    pictures.append((key, member))
    except (OSError, tarfile.TarError, UnicodeDecodeError) as error:
        raise DataError(
            f"Cannot read {path}: {error}. It must be a tar file without compression; copy it again."
        ) from error
    number = len(images.shards)
    images.shards.append(path)
    for key, member in pictures:
        label = classes.get(key) or PurePosixPath(member.name).parent.name
        if not label:
            raise DataError(f"{path}: {member.name} has no class. Add {key}.cls, or put the image into a folder.")
        images.places.append((number, member.offset_data, member.size))
        images.names.append(f"{path.name}/{member.name}")
        images.labels.append(label)
        images.splits.append(split)


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
        with unlabelled.source(row) as image:
            turned = image.format != "TIFF" and orientation(image) >= 5
            size = image.size if turned else image.size[::-1]
            return Scanned(size, image.mode)

    rows = range(0, len(names), -(-len(names) // SAMPLE))
    with ThreadPoolExecutor(workers()) as pool:
        return list(pool.map(look, rows))
