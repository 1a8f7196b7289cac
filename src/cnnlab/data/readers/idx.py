"""The IDX format of MNIST and its relatives (Y. LeCun, C. Cortes, C. J. C. Burges: "The MNIST database", file formats).

A file is: two zero bytes, one byte for the type (8: unsigned byte), one byte for the number of dimensions, the size of
each dimension as a big-endian 32-bit integer, and then the values in C order.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnlab.data.named_sets import ArrayData, Search
from cnnlab.downloads import Remote
from cnnlab.errors import DataError

#: The files of MNIST and its relatives: train images and labels, test images and labels.
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
#: The first ten training labels of the data sets that have files of these names: they tell which one a folder holds.
FIRST_LABELS = {
    "mnist": bytes([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
    "fashion_mnist": bytes([9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
}

_UNSIGNED_BYTE = 8
_AGAIN = "Fetch the file again."


def load_idx_data(
    search: Search,
    classes: Sequence[str],
    urls: Sequence[str],
    md5: Sequence[str],
    *,
    subfolders: Sequence[str],
    system: Sequence[str] = (),
) -> ArrayData:
    """Find (or download) and read a data set of four IDX files.

    Args:
        search: name of the data set, folder to search first, and whether to download.
        classes: class names in the order of the labels.
        urls: addresses of the folders that hold :data:`FILES`, compressed with gzip.
        md5: MD5 checksums of these files.
        subfolders, system: see :meth:`Search.files`.

    Raises:
        DataNotFoundError: neither found nor downloaded.
        DataError: the files found are damaged.
    """
    sums = zip(FILES, md5, strict=True)
    remotes = [Remote(tuple(f"{url}{file}.gz" for url in urls), f"md5:{checksum}") for file, checksum in sums]

    others = [labels for name, labels in FIRST_LABELS.items() if name != search.name]

    def files_in(folder: Path) -> list[Path] | None:
        found = find_idx_files(folder)
        return None if found and _first_labels(found[1]) in others else found

    files = search.files(files_in, remotes, subfolders, system)
    train = read_idx_pair(files[0], files[1], len(classes))
    test = read_idx_pair(files[2], files[3], len(classes))
    return ArrayData(classes, train, test, str(files[0].parent))


def find_idx_files(folder: Path) -> list[Path] | None:
    """Return the four files in ``folder``, compressed or not, or None."""
    # Some programs unpack them with a dot before "idx".
    variants = [(name, f"{name}.gz", name.replace("-idx", ".idx")) for name in FILES]
    paths = [next((folder / v for v in names if (folder / v).is_file()), None) for names in variants]
    return [path for path in paths if path is not None] if all(paths) else None


def _first_labels(path: Path) -> bytes:
    """Return the first ten labels of a file of labels, compressed or not; none of one that cannot be read."""
    try:
        with open(path, "rb") as plain:
            compressed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else open(path, "rb") as file:
            return file.read(18)[8:]
    except (OSError, EOFError, zlib.error):
        return b""


def read_idx_pair(images_path: Path, labels_path: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Read the images and the labels of one split.

    Returns:
        images uint8 (N, 1, H, W), labels int64 (N,).

    Raises:
        DataError: as :func:`read_idx`; or the two disagree in count, there are none, or a label is out of range.
    """
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} has {len(images)} images but {labels_path} has {len(labels)} labels. "
            "Take both files from the same source."
        )
    if images.size == 0:
        raise DataError(f"{images_path} holds no image (shape {images.shape}). {_AGAIN}")
    if labels.max() >= classes:
        position = int(np.argmax(labels >= classes))
        raise DataError(
            f"{labels_path}: label {labels[position]} at position {position} is out of range, "
            f"expected 0..{classes - 1}. Is it the label file of another data set?"
        )
    return images[:, None], labels.astype(np.int64)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, compressed with gzip or not.

    Args:
        path: the file; whether it is compressed is seen from its first bytes, not from its name.
        dimensions: number of dimensions expected (3 for images, 1 for labels).

    Returns:
        A uint8 array with ``dimensions`` dimensions.

    Raises:
        DataError: unreadable, truncated, too long, or not an IDX file of that kind.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error, struct.error) as error:
        # gzip raises EOFError for a stream that stops early, BadGzipFile (an OSError) for a wrong checksum.
        raise DataError(f"{path} cannot be read: {error}. {_AGAIN}") from error
    if len(content) < 4:
        raise DataError(f"{path} is truncated: {len(content)} bytes, an IDX file starts with 4. {_AGAIN}")
    zeros, kind, rank = struct.unpack(">HBB", content[:4])
    if zeros != 0 or kind != _UNSIGNED_BYTE:
        raise DataError(
            f"{path} is not an IDX file of unsigned bytes: it starts with {content[:4].hex()}, "
            f"expected {_UNSIGNED_BYTE << 8 | dimensions:08x}. {_AGAIN}"
        )
    if rank != dimensions:
        what = {1: "labels", 3: "images"}
        raise DataError(
            f"{path} has {rank} dimensions ({what.get(rank, 'neither images nor labels')}), expected {dimensions} "
            f"({what[dimensions]}). Were image and label files exchanged?"
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path} is truncated inside its header. {_AGAIN}")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    expected = math.prod(shape)
    if len(content) - start != expected:
        wrong = "is truncated" if len(content) - start < expected else "has bytes too many"
        raise DataError(
            f"{path} {wrong}: {len(content) - start} values, its header says {shape} = {expected}. {_AGAIN}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()  # writable, as torch wants it
