"""Checksums of image files: whether photos have changed, and whether one photo is in two splits.

A photo is known by its size and a few kilobytes of it, which differ between any two photos that are not the same. Names
and dates are left out of account, so that a copy of a folder counts as the same data.
"""

from __future__ import annotations

import filecmp
import os
import zlib
from collections import defaultdict
from pathlib import Path

from cnnlab.data.base import ImageData, Split
from cnnlab.data.file_split import FileSplit

SAMPLE_BYTES = 1024  # read at the beginning, in the middle and at the end of a file
SAMPLED_FILES = 5000  # of a larger split the sizes of all files are compared, and the bytes of this many


def file_checksum(path: Path) -> int:
    """Return a checksum of the size and of some bytes of a file; 0 for one that cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            checksum = zlib.crc32(str(size).encode())
            for offset in (0, size // 2, max(0, size - SAMPLE_BYTES)):
                file.seek(offset)
                checksum = zlib.crc32(file.read(SAMPLE_BYTES), checksum)
            return checksum
    except OSError:
        return 0


def split_checksum(split: Split) -> int:
    """Return a checksum of the pixels of a split: of its arrays, or of its files (see :func:`file_checksum`)."""
    if not isinstance(split, FileSplit):
        return split.fingerprint()
    sizes = [_size(path) for path in split.paths]
    checksum = zlib.crc32(repr(sizes).encode())
    for path in split.paths[:: -(-len(split.paths) // SAMPLED_FILES) or 1]:
        checksum = zlib.crc32(str(file_checksum(path)).encode(), checksum)
    return checksum


def contents(data: ImageData) -> dict[str, int]:
    """Return the checksum of the pixels of each split, see :func:`split_checksum`."""
    return {name: split_checksum(split) for name, split in data.splits().items()}


def shared_files(train: Split, held_out: Split) -> list[tuple[str, str]]:
    """Return the names of the photos of ``held_out`` that are in ``train`` too, with their names there.

    Only photos of equal size are read, and not more than :data:`SAMPLED_FILES` of each split.
    """
    if not isinstance(train, FileSplit) or not isinstance(held_out, FileSplit):
        return []
    by_size: dict[int, list[int]] = defaultdict(list)
    for row, path in enumerate(train.paths):
        by_size[_size(path)].append(row)
    candidates = [(row, by_size[size]) for row, path in enumerate(held_out.paths) if (size := _size(path)) in by_size]
    rows = dict.fromkeys(row for _, twins in candidates[:SAMPLED_FILES] for row in twins)
    twins = {file_checksum(train.paths[row]): row for row in list(rows)[:SAMPLED_FILES]}
    twins.pop(0, None)
    checksums = ((row, file_checksum(held_out.paths[row])) for row, _ in candidates[:SAMPLED_FILES])
    pairs = [(row, twins[checksum]) for row, checksum in checksums if checksum in twins]
    # Small files without compression may agree where they were sampled: pictures of things on white, for example.
    return [
        (held_out.names[row], train.names[twin])
        for row, twin in pairs
        if filecmp.cmp(held_out.paths[row], train.paths[twin], shallow=False)
    ]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
