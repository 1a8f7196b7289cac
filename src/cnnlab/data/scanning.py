"""A quick check of every image file before it is used: whether it can be read, and how large it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from cnnlab.data.decoding import is_deep, open_image, orientation, reason, to_channels

T = TypeVar("T")

#: Up to this many files, :func:`scan` decodes every one; above, it reads the headers only.
FULL_SCAN_FILES = 5000


@dataclass(frozen=True)
class Scanned:
    """The result of checking one image file.

    Args:
        size: height and width in pixels after turning upright; (0, 0) when unreadable.
        mode: Pillow's mode; "" when unreadable.
        error: why it cannot be read, or None.
        largest: largest pixel value of grey images with more than 8 bits, where the pixels were read; else 0.
    """

    size: tuple[int, int]
    mode: str
    error: str | None = None
    largest: int = 0


#: Number of files with more than 8 bits whose pixels are read too, where of the others only headers are read.
_DEEP_SAMPLE = 300


def depth_of(scanned: Sequence[Scanned]) -> int:
    """Return how many bits the grey images stored in 16 bits use, over all of them: 8, 10, 12, 14 or 16.

    Cameras and microscopes store 10, 12 or 14 bits in 16: taken for 16 bits, such pictures are nearly black.
    """
    largest = max((file.largest for file in scanned), default=0)
    return next(bits for bits in (8, 10, 12, 14, 16) if largest < 2**bits) if 0 < largest < 2**16 else 16


def workers() -> int:
    """Return how many threads decode: one per usable core, at most 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return min(16, cores)


def tracked(items: Iterable[T], total: int, description: str, progress: bool | None) -> Iterable[T]:
    """Return ``items``; with ``progress``, a bar on stderr shows how many of ``total`` were taken."""
    if not progress:
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description, total, console=Console(stderr=True), transient=True)


def scan(paths: Sequence[Path], *, full: bool | None = None, progress: bool | None = None) -> list[Scanned]:
    """Check every file once, in threads.

    Args:
        paths: files.
        full: decode them (finds truncated files); otherwise read the headers. None decodes when there are at most
            :data:`FULL_SCAN_FILES`.
        progress: show a progress bar.

    Returns:
        One :class:`Scanned` per path, in order; unreadable files have an ``error`` and raise nothing.
    """
    decode_all = len(paths) <= FULL_SCAN_FILES if full is None else full
    with ThreadPoolExecutor(workers()) as pool:
        results = pool.map(lambda path: scan_file(path, full=decode_all), paths)
        scanned = list(tracked(results, len(paths), "Looking at the images", progress))
        deep = [i for i, file in enumerate(scanned) if is_deep(file.mode) and file.error is None]
        if not decode_all and deep:
            chosen = deep[:: -(-len(deep) // _DEEP_SAMPLE)]
            for i, file in zip(chosen, pool.map(lambda i: scan_file(paths[i], full=True), chosen), strict=True):
                scanned[i] = file
    return scanned


def scan_file(path: Path, *, full: bool) -> Scanned:
    """Check one file; see :func:`scan`."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return Scanned((0, 0), "", "its name is not valid UTF-8: rename it")
    try:
        if path.stat().st_size == 0:
            return Scanned((0, 0), "", "the file is empty (0 bytes)")
        with open_image(path) as image:
            height, width = image.height, image.width
            mode, largest = image.mode, 0
            # Pillow turns TIFF files by itself. Asking a PNG for EXIF data decodes all of it, and cameras write none.
            tells = image.format != "TIFF" and (full or image.format != "PNG")
            if tells and orientation(image) >= 5:  # a quarter turn
                height, width = width, height
            if full:
                # 1/8 of the size for JPEG: reads the whole file and saves most of the work.
                image.draft(None, (1, 1))
                to_channels(image, 3)
                if is_deep(mode):
                    largest = int(np.asarray(image).max())
            else:
                image.verify()
                if image.format == "JPEG" and not _ends_well(path):
                    return scan_file(path, full=True)
        return Scanned((height, width), mode, largest=max(0, largest))
    except Exception as error:  # Pillow raises many kinds for broken files
        return Scanned((0, 0), "", reason(error, path))


def _ends_well(path: Path) -> bool:
    """Return whether a JPEG file ends with the marker of its end; a truncated one usually lacks it."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return b"\xff\xd9" in file.read()
