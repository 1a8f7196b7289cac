"""The file formats of CIFAR-10 and CIFAR-100 (A. Krizhevsky, "Learning multiple layers of features from tiny images",
2009; https://www.cs.toronto.edu/~kriz/cifar.html).

*Python*: each batch is a pickled dictionary with ``data`` uint8 (N, 3072) and a list of labels.
*Binary*: each record is one label byte (CIFAR-100: the coarse, then the fine label) and 3,072 pixel bytes.
In both, an image is the red, then the green, then the blue plane, 32x32 each, row by row.
A batch file may be compressed (``.xz``, ``.gz``), and all of them may be inside one ``.tar.gz``.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cnnlab.data.named_sets import ArrayData, Arrays, Search
from cnnlab.downloads import Remote
from cnnlab.errors import DataError, RunError
from cnnlab.files import cache_dir, replacing

PIXELS = 3 * 32 * 32

#: A file by its name without the ending of a compression: the name to use in messages, and a function that reads it.
Sources: TypeAlias = Mapping[str, tuple[str, Callable[[], bytes]]]


@dataclass(frozen=True)
class CifarFormat:
    """The names of the files of one of the two data sets."""

    classes: int
    train: tuple[str, ...]
    test: str
    labels_key: str  # python batches: the key of the labels used
    meta: str  # python batches: the file with the class names, and the key in it
    names_key: str
    names_text: str  # binary batches: the text file with the class names
    label_bytes: int  # binary batches: label bytes before the pixels; the last one is used
    archives: tuple[str, ...]
    folders: tuple[str, ...]


CIFAR10 = CifarFormat(
    classes=10,
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test="test_batch",
    labels_key="labels",
    meta="batches.meta",
    names_key="label_names",
    names_text="batches.meta.txt",
    label_bytes=1,
    archives=("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"),
    folders=("cifar-10-batches-py", "cifar-10-batches-bin"),
)
CIFAR100 = CifarFormat(
    classes=100,
    train=("train",),
    test="test",
    labels_key="fine_labels",
    meta="meta",
    names_key="fine_label_names",
    names_text="fine_label_names.txt",
    label_bytes=2,
    archives=("cifar-100-python.tar.gz", "cifar-100-binary.tar.gz"),
    folders=("cifar-100-python", "cifar-100-binary"),
)


def load_cifar_data(search: Search, classes: Sequence[str], format: CifarFormat, url: str, md5: str) -> ArrayData:
    """Find (or download) and read one of the two data sets.

    Args:
        search: name of the data set, folder to search first, and whether to download.
        classes: class names, used where the files name none.
        format: names of the files.
        url: address of the folder that holds the archives.
        md5: MD5 checksum of the archive of python batches.

    Raises:
        DataNotFoundError: neither found nor downloaded.
        DataError: the files found are damaged.
    """
    remote = Remote((url + format.archives[0],), f"md5:{md5}")
    path = search.files(lambda folder: find_cifar(folder, format), [remote], format.folders)
    train, test, names = read_cifar(path, format)
    return ArrayData(names or classes, train, test, str(path))


# --- files ---------------------------------------------------------------------------------------------------------


def find_cifar(folder: Path, format: CifarFormat) -> Path | None:
    """Return where the data set lies in ``folder``: the folder itself (batch files), an archive in it, or None.

    One batch file is enough: that others are missing is an error of :func:`read_cifar`, not a reason to look elsewhere.
    """
    endings = ("", ".bin", ".bin.xz", ".bin.gz", ".xz", ".gz")
    if any((folder / f"{batch}{ending}").is_file() for batch in format.train for ending in endings):
        return folder
    return next((folder / archive for archive in format.archives if (folder / archive).is_file()), None)


def read_cifar(path: Path, format: CifarFormat) -> tuple[Arrays, Arrays, list[str]]:
    """Read the data set from a folder of batch files or from a ``.tar.gz``.

    Returns:
        The images uint8 (N, 3, 32, 32) and labels int64 (N,) of train, those of test, and the class names; no names
        where the files have none.

    Raises:
        DataError: a file is missing, truncated, not of this format, or (python batches) asks for anything but arrays.
    """
    files = [path] if path.is_file() else _folder_files(path, format)
    slow = path.is_file() or any(file.suffix == ".xz" for file in files)
    stored = load_arrays(files) if slow else None
    if stored is None:
        stored = _decode(path, files, format)
        if slow:
            save_arrays(files, stored)
    return (stored[0], stored[1]), (stored[2], stored[3]), stored[4].tolist()


def _decode(path: Path, files: list[Path], format: CifarFormat) -> list[np.ndarray]:
    """Return train images and labels, test images and labels, and the class names (none: empty)."""
    sources: Sources
    if path.is_file():
        sources = _archive_members(path)
    else:
        sources = {_plain(file): (str(file), partial(_read_file, file)) for file in files}
    batches = [*format.train, format.test]
    binary = f"{format.test}.bin" in sources or f"{format.train[0]}.bin" in sources
    wanted = [f"{batch}.bin" if binary else batch for batch in batches]
    missing = [name for name in wanted if name not in sources]
    if missing:
        raise DataError(
            f"{path} is incomplete: no {', '.join(missing)}. Expected {', '.join(batches)} "
            "(python batches) or the same with .bin (binary). Copy or fetch the missing files."
        )

    def read(batch: str) -> Arrays:
        name, content = sources[batch]
        return (parse_binary if binary else parse_python)(content(), name, format)

    # lzma and zlib release the interpreter lock, so threads use all cores.
    with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
        pairs = list(pool.map(read, wanted))
    return [
        np.concatenate([images for images, _ in pairs[:-1]]),
        np.concatenate([labels for _, labels in pairs[:-1]]),
        *pairs[-1],
        np.array(_class_names(sources, format, binary), dtype=np.str_),
    ]


def _plain(path: Path) -> str:
    return path.name.removesuffix(".xz").removesuffix(".gz")


def _folder_files(folder: Path, format: CifarFormat) -> list[Path]:
    """Return the batch and class name files in ``folder``."""
    wanted = {b + s for b in (*format.train, format.test) for s in ("", ".bin")} | {format.meta, format.names_text}
    # Of a plain and a compressed file of the same name the plain one, which is quicker to read, comes last and stays.
    return list({_plain(p): p for p in sorted(folder.iterdir(), reverse=True) if _plain(p) in wanted}.values())


def _archive_members(path: Path) -> Sources:
    """Read a whole ``.tar.gz`` into memory: its members by base name."""
    members = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and (stream := archive.extractfile(member)) is not None:
                    file = Path(member.name).name
                    members[file] = (f"{path}:{file}", partial(bytes, stream.read()))
    except (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path} is truncated or no tar archive: {error}. Fetch the file again.") from error
    return members


def _read_file(path: Path) -> bytes:
    try:
        if path.suffix == ".xz":
            return lzma.decompress(path.read_bytes())
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}. Fetch the file again.") from error


# --- batches -------------------------------------------------------------------------------------------------------


def parse_binary(content: bytes, name: str, format: CifarFormat) -> Arrays:
    """Split binary records into images uint8 (N, 3, 32, 32) and labels int64 (N,)."""
    record = format.label_bytes + PIXELS
    if not content or len(content) % record:
        raise DataError(
            f"{name} is truncated or no CIFAR-{format.classes} batch: {len(content)} bytes are no whole number of "
            f"{record}-byte records. Fetch the file again."
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    return _arrays(rows[:, format.label_bytes :], rows[:, format.label_bytes - 1], name, format)


def parse_python(content: bytes, name: str, format: CifarFormat) -> Arrays:
    """Read a pickled batch into images uint8 (N, 3, 32, 32) and labels int64 (N,)."""
    batch = unpickle(content, name)
    missing = {"data", format.labels_key} - batch.keys()
    if missing:
        raise DataError(f'{name} has no "{min(missing)}", only {sorted(batch)}: no CIFAR-{format.classes} batch.')
    data = batch["data"]
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == PIXELS):
        raise DataError(f'{name}: "data" is no uint8 array of shape (N, {PIXELS}). Fetch the file again.')
    labels = np.asarray(batch[format.labels_key])
    if labels.shape != (len(data),) or not len(data) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{name}: {len(data)} images but labels of shape {labels.shape}. Fetch the file again.")
    return _arrays(data, labels, name, format)


def _arrays(rows: np.ndarray, labels: np.ndarray, name: str, format: CifarFormat) -> Arrays:
    labels = labels.astype(np.int64)
    outside = np.flatnonzero((labels < 0) | (labels >= format.classes))
    if len(outside):
        raise DataError(
            f"{name}: label {labels[outside[0]]} at position {outside[0]} is out of range, expected "
            f"0..{format.classes - 1}. Is it a batch of CIFAR-{110 - format.classes}?"
        )
    return np.array(rows, order="C").reshape(-1, 3, 32, 32), labels


def _class_names(sources: Sources, format: CifarFormat, binary: bool) -> list[str]:
    file = format.names_text if binary else format.meta
    if file not in sources:
        return []
    name, content = sources[file]
    if binary:
        classes = content().decode("utf-8", "replace").split()
    else:
        listed = unpickle(content(), name).get(format.names_key, [])
        classes = [c.decode("latin1") if isinstance(c, bytes) else str(c) for c in listed]
    if len(classes) != format.classes:
        raise DataError(f"{name} names {len(classes)} classes, expected {format.classes}. Fetch the file again.")
    return classes


# --- pickles -------------------------------------------------------------------------------------------------------

# All that a pickled uint8 array consists of, in the spellings of numpy 1 and numpy 2.
_ADMITTED = {
    (module, name)
    for core in ("numpy.core", "numpy._core")
    for module, name in ((f"{core}.multiarray", "_reconstruct"), (f"{core}.numeric", "_frombuffer"))
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
_NUMPY_2 = int(np.__version__.split(".")[0]) >= 2


class _ArrayUnpickler(pickle._Unpickler):
    """An unpickler that makes lists, dictionaries, texts, numbers and numpy arrays, and refuses everything else.

    It is Python's own in Python, not the one in C: that one reserves memory for the largest memo number it meets, so
    that ten damaged bytes fill gigabytes.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs")
        # numpy 2 keeps the old spelling only as a module that warns.
        return super().find_class(module.replace("numpy.core", "numpy._core") if _NUMPY_2 else module, name)


def unpickle(content: bytes, name: str) -> dict[str, Any]:
    """Read a pickled dictionary of arrays, lists and texts written by Python 2 or 3; keys become ``str``.

    Raises:
        DataError: broken, no dictionary, or a pickle that would import anything but numpy's array constructor.
    """
    try:
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise DataError(f"{name} is refused: {error}. Fetch the file again from the official address.") from error
    except Exception as error:  # a damaged pickle can raise anything at all
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{name} is truncated or no pickle ({reason}). Fetch the file again.") from error
    if not isinstance(batch, dict):
        raise DataError(f"{name} holds a {type(batch).__name__}, expected a dictionary. Fetch the file again.")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in batch.items()}


# --- the cache of decoded arrays -----------------------------------------------------------------------------------

# CIFAR-10 takes 5 s as ``.xz`` and 3 s as ``.tar.gz`` on two cores, and 0.2 s from here.


def load_arrays(files: Sequence[Path]) -> list[np.ndarray] | None:
    """Return the arrays that :func:`save_arrays` wrote for these files; None without, or when a file has changed."""
    try:
        # Opened here: np.load leaves a file that it opened itself open when it finds it damaged.
        with _entry(files).open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return [stored[f"arr_{i}"] for i in range(len(stored.files))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # nothing there, or damaged: decode again


def save_arrays(files: Sequence[Path], arrays: Sequence[np.ndarray]) -> None:
    """Write the decoded ``arrays`` of ``files``. A failure to write is no error: the cache only saves time."""
    with suppress(OSError, RunError):
        entry = _entry(files)
        entry.parent.mkdir(parents=True, exist_ok=True)
        with replacing(entry) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, *arrays)


def _entry(files: Sequence[Path]) -> Path:
    facts = [(str(file.resolve()), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
    return cache_dir() / "decoded" / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}.npz"
