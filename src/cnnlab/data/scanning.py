"""A cheap look at every image file before it is used: can it be read, and how large is it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cnnlab.data.decoding import orientation, reason, to_channels

#: Endings that count as images; other files in a folder are left alone.
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .tga .avif .jp2".split()  # noqa: SIM905
)

#: Up to this many files, :func:`scan` decodes every one; above, it reads the headers only.
FULL_SCAN_FILES = 5000


@dataclass(frozen=True)
class Scanned:
    """What a look at a file found.

    Args:
        size: (height, width) in pixels after turning upright; (0, 0) when unreadable.
        mode: Pillow's mode; "" when unreadable.
        error: why it cannot be read, or None.
    """

    size: tuple[int, int]
    mode: str
    error: str | None = None


def workers() -> int:
    """Return how many threads decode: one per usable core, at most 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return min(16, cores)


def scan(paths: Sequence[Path], *, full: bool | None = None, progress: bool | None = None) -> list[Scanned]:
    """Look at every file once, in threads.

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
        found: Iterable[Scanned] = pool.map(lambda path: scan_file(path, full=decode_all), paths)
        if progress:
            from rich.console import Console
            from rich.progress import track

            console = Console(stderr=True)
            found = track(found, "Looking at the images", total=len(paths), transient=True, console=console)
        return list(found)


def scan_file(path: Path, *, full: bool) -> Scanned:
    """Look at one file; see :func:`scan`."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return Scanned((0, 0), "", "its name is not valid UTF-8: rename it")
    try:
        if path.stat().st_size == 0:
            return Scanned((0, 0), "", "the file is empty (0 bytes)")
        with Image.open(path) as image:
            height, width = image.height, image.width
            mode = image.mode
            # Pillow turns TIFF files by itself. Asking a PNG for EXIF data decodes all of it, and cameras write none.
            tells = image.format != "TIFF" and (full or image.format != "PNG")
            if tells and orientation(image) >= 5:  # a quarter turn
                height, width = width, height
            if full:
                # 1/8 of the size for JPEG: reads the whole file and saves most of the work.
                image.draft(None, (1, 1))
                to_channels(image, 3)
            else:
                image.verify()
                if image.format == "JPEG" and not _ends_well(path):
                    return scan_file(path, full=True)
        return Scanned((height, width), mode)
    except Exception as error:  # Pillow raises many kinds for broken files
        return Scanned((0, 0), "", reason(error))


def _ends_well(path: Path) -> bool:
    """Whether the end of a JPEG file has the marker of its end; a truncated one usually lacks it."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return b"\xff\xd9" in file.read()
