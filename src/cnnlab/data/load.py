"""Finding a data set by name or by path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cnnlab.data.array_split import ArraySplit
from cnnlab.data.base import ImageData
from cnnlab.data.named_sets import ArrayData, Search, data_sets
from cnnlab.data.readers.csv import load_csv
from cnnlab.data.readers.folder import Layout, load_folder
from cnnlab.data.readers.labelled import VALIDATION_SHARE
from cnnlab.data.readers.shards import is_shards, load_shards
from cnnlab.errors import DataError, DataNotFoundError


def list_data(pattern: str = "*") -> list[str]:
    """Return the sorted names of data sets that match a shell-style ``pattern``."""
    return data_sets.names(pattern)


def load_data(
    name_or_path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool | None = None,
    download: bool = True,
    layout: Layout = "auto",
    label_column: str | None = None,
    file_column: str | None = None,
    val_fraction: float = VALIDATION_SHARE,
) -> ImageData:
    """Load a data set.

    Args:
        name_or_path: a name from :func:`list_data`, or the path of a folder of class folders, of a CSV file or of tar
            files (``shards/train-{0000..0009}.tar``). A name comes first: write ``./mnist`` for a folder that is called
            like a data set.
        data_dir: folder in which the files of named data sets are looked for first.
        seed: seed of the division into train and val, where data come without one.
        progress: show progress bars on stderr; None shows them when it is a terminal.
        download: fetch a named data set that is not on this machine.
        layout: layout of a folder: ``"auto"``, ``"classes"``, ``"splits"`` or ``"flat"``; see
            :data:`cnnlab.data.readers.folder.Layout`.
        label_column: name of the column of a CSV file that holds the labels; guessed if None.
        file_column: name of the column of a CSV file that holds the names of the image files; guessed if None.
        val_fraction: share of each class that becomes val where data come without splits: folders, CSV files and tar
            files. Named data sets are left as they are.

    Raises:
        UnknownNameError: neither a name nor a path.
        UsageError: ``val_fraction`` is not between 0 and 1, or there is no such layout or column.
        DataNotFoundError: a path that does not exist, or data that are nowhere and cannot be downloaded.
        DataError: the data cannot be used; the message says why and what to do.
    """
    if progress is None:
        progress = sys.stderr.isatty()
    text = os.fspath(name_or_path)
    path, named = Path(text).expanduser(), isinstance(name_or_path, str)
    is_table = path.suffix.lower() in (".csv", ".tsv")
    if named and text in data_sets:
        data: ArrayData | ImageData = data_sets.get(text).factory(Search(text, data_dir, progress, download))
        return _image_data(text, data) if isinstance(data, ArrayData) else data
    if is_shards(text):
        return load_shards(text, seed=seed, progress=progress, val_fraction=val_fraction)
    if path.is_dir():
        return load_folder(path, seed=seed, progress=progress, layout=layout, val_fraction=val_fraction)
    if path.is_file():
        if is_table:
            columns = {"label_column": label_column, "file_column": file_column}
            return load_csv(path, seed=seed, progress=progress, val_fraction=val_fraction, **columns)
        raise DataError(f"{path} is neither a folder nor a .csv file. Unpack archives first; give the folder.")
    if named and not (is_table or os.sep in text or "/" in text):
        data_sets.get(text)  # raises UnknownNameError with the nearest name
    raise DataNotFoundError(f"There is no folder or CSV file {path}. Check the path; it is seen from {Path.cwd()}.")


def _image_data(name: str, data: ArrayData) -> ImageData:
    _, channels, height, width = data.train[0].shape
    train, test = ArraySplit(*data.train), ArraySplit(*data.test)
    notes = [
        f"{len(data.classes)} classes, train {len(train)}, no val, test {len(test)}",
        f"images of {width}x{height} pixels (width x height), {'grey' if channels == 1 else 'colour'}",
        f"read from {data.source}",
    ]
    return ImageData(name, list(data.classes), train, None, test, data.source, notes)
