"""A CSV file as a data set: ``file,label`` beside the images, or ``label,pixel0,...`` as Kaggle's MNIST."""

from __future__ import annotations

import functools
import itertools
import math
import os
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

from cnnlab.data.array_split import ArraySplit
from cnnlab.data.base import ImageData
from cnnlab.data.readers.csv_table import HEADER, NUMBERING, Table, class_names, is_number, read_table
from cnnlab.data.readers.labelled import VALIDATION_SHARE, Listing, data_of_files, data_of_images, number_classes
from cnnlab.data.walk import list_folder
from cnnlab.errors import DataError

_FILE_COLUMNS = ("file", "filename", "file_name", "path", "filepath", "image", "image_path")
_LABEL_COLUMNS = ("label", "class", "target", "category")
_FEW_COLUMNS = 10  # a table with more columns is one of pixels
_TRIED = 50  # rows that are read to guess which column names files


def load_csv(
    path: str | Path,
    *,
    seed: int = 0,
    progress: bool | None = None,
    label_column: str | None = None,
    file_column: str | None = None,
    val_fraction: float = VALIDATION_SHARE,
) -> ImageData:
    """Read a CSV file with a header.

    With a column ``file`` (or ``filename``, ``path``, ``image``) there is one image file per row, in the folder of the
    CSV file or a folder in it, with or without its ending. A column of another name is taken for it when its values
    are names of images there. Without, the other columns are the pixels, 0..255: S*S of them are a grey image by rows,
    3*S*S are the red, green and blue planes of a colour image. ``label`` (or ``class``, ``target``, ``category``) may
    be a number or a name. A column ``split`` says train, val or test; without it a part of each class becomes the
    validation split. Separated by commas, semicolons or tabs. Files that are missing or unreadable are left out and
    listed in ``skipped``.

    Args:
        path: CSV file to read.
        seed, progress, label_column, file_column, val_fraction: see :func:`cnnlab.load_data`.

    Raises:
        DataNotFoundError: there is no such file.
        UsageError: there is no column of that name.
        DataError: no usable header, a bad row (named by its line), labels that are no classes, fewer than two classes,
            or a class in val or test that train lacks.
    """
    table = read_table(Path(path).expanduser())
    pictures = _Pictures(table.path)
    _assign_columns(table, pictures, label_column, file_column)
    name, source = table.path.stem, str(table.path)
    if table.file is None:
        images, labels, splits = _read_pixels(table)
        classes, numbers = number_classes(source, class_names(table.path, labels, splits), splits)
        pixels = ArraySplit(images, numbers)
        return data_of_images(name, source, "CSV of pixels", classes, pixels, splits, seed, val_fraction=val_fraction)
    listing = _listed_files(table, table.file, pictures)
    listing.labels = class_names(table.path, listing.labels, listing.splits)
    data = data_of_files(
        name, source, "CSV of image files", listing, seed=seed, progress=progress, val_fraction=val_fraction
    )
    columns = table.header[table.file], table.header[table.label]
    data.notes.append(f'the column "{columns[0]}" names the files, the column "{columns[1]}" their classes')
    return data


def _assign_columns(table: Table, pictures: _Pictures, label_column: str | None, file_column: str | None) -> None:
    """Find the columns of labels, splits and files: by the names that the caller gives, by usual ones, by guessing.

    Raises:
        UsageError: there is no column of the name that the caller gives.
        DataError: it is not plain which column holds the labels.
    """
    label = None if label_column is None else table.chosen_column(label_column)
    table.file = None if file_column is None else table.chosen_column(file_column)
    label = table.column(_LABEL_COLUMNS) if label is None else label
    table.label = -1 if label is None else label
    if table.file is None:
        table.file = table.column(_FILE_COLUMNS)
    table.split = table.column(["split"])
    if table.file is None and len(table.header) <= _FEW_COLUMNS:
        table.file = _guessed_file_column(table, pictures)
    if label is None:
        table.label = _guessed_label_column(table)


def _guessed_file_column(table: Table, pictures: _Pictures) -> int | None:
    """Return the column whose values are names of images beside the CSV file; None when there is none."""
    rows = [cells for _, cells in itertools.islice(table.rows(), _TRIED)]
    for column in range(len(table.header)):
        if column not in (table.label, table.split):
            hits = sum(pictures.find(cells[column]) is not None for cells in rows)
            if 2 * hits > len(rows):
                return column
    return None


def _guessed_label_column(table: Table) -> int:
    """Return the column that is left when all others are accounted for."""
    start = ", ".join(table.header[:4]) + (", ..." if len(table.header) > 4 else "")
    if table.file is not None:
        columns = [i for i in range(len(table.header)) if i not in (table.file, table.split)]
        rest = [i for i in columns if table.header[i] not in NUMBERING]
        if len(rest) == 1:
            return rest[0]
    if all(map(is_number, table.header)):
        raise DataError(
            f"{table.path}: line 1 has no column names but numbers ({start}). Add the header line. {HEADER}."
        )
    raise DataError(
        f'{table.path}: line 1 has no column "label" ({start}). Name the column with --label-column '
        f"(label_column=...). {HEADER}."
    )


# Files ----------------------------------------------------------------------------------------------------------------


class _Pictures:
    """The images that a CSV file may name: in its folder and in the folders directly in it, with or without ending."""

    def __init__(self, table: Path) -> None:
        self.root, self._stem = table.parent, table.stem.lower()
        self._images_in = functools.cache(_images_by_name)

    @functools.cached_property
    def folders(self) -> list[Path]:
        """The folders that are searched: that of the CSV file, then the one called like it, then the others."""
        return [self.root, *sorted(list_folder(self.root)[1], key=lambda folder: folder.name.lower() != self._stem)]

    def find(self, name: str) -> Path | None:
        """Return the image that a cell names; None when there is none."""
        name = name.strip()
        if not name:
            return None
        if os.path.isfile(self.root / name):  # a Path raises for a cell that is too long for the name of a file
            return self.root / name
        paths = [folder / name.replace("\\", "/") for folder in self.folders]
        return next((image for path in paths if (image := self._images_in(path.parent).get(path.name))), None)


def _images_by_name(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by name, and by name without ending."""
    images = list_folder(folder)[0] if os.path.isdir(folder) else []
    return {path.stem: path for path in reversed(images)} | {path.name: path for path in images}


def _listed_files(table: Table, file_column: int, pictures: _Pictures) -> Listing:
    """Return the image files that the rows name; one that is not there is listed with those that cannot be read.

    Raises:
        DataError: a row is wrong, or none of the files is there.
    """
    listing, missing = Listing(table.path.parent), 0
    for line, cells in table.rows():
        name = cells[file_column].strip()
        if not name:
            raise table.bad(line, f'the column "{table.header[file_column]}" is empty')
        path = pictures.find(name)
        missing += path is None
        listing.add(path or listing.root / name, *table.label_and_split(line, cells))
    if missing == len(listing.paths):
        inner = ", ".join(folder.name for folder in pictures.folders[1:4])
        searched = f"{listing.root}{f' and its folders {inner}' if inner else ''}"
        raise DataError(
            f'{table.path}: none of the {missing} files of the column "{table.header[file_column]}" is there; the '
            f'first is "{listing.names[0]}", looked for in {searched}. '
            "Put the images there, or name another column with --file-column (file_column=...)."
        )
    return listing


# Pixels ---------------------------------------------------------------------------------------------------------------


def _read_pixels(table: Table) -> tuple[np.ndarray, list[str], list[str]]:
    """Return the images, uint8 (N, C, S, S), and the label and the split of each.

    Raises:
        DataError: the columns are those of no image, or a row is wrong; it is named by its line.
    """
    columns = _pixel_columns(table)
    shape = _shape(len(columns))
    if shape is None:
        raise _no_image(table, columns)
    rows = [table.label_and_split(line, cells) for line, cells in table.rows()]
    images = _values(table, columns, len(rows)).reshape(-1, *shape)
    return images, [label for label, _ in rows], [split for _, split in rows]


def _values(table: Table, columns: list[int], count: int) -> np.ndarray:
    """Return the cells of these columns, uint8 (count, columns)."""
    body = [line for line in table.lines[1:] if line.strip()]
    with suppress(ValueError, OverflowError, DeprecationWarning), warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # by which NumPy 1 cuts 0.53 down to 0
        values = np.loadtxt(
            body, np.int16, delimiter=table.separator, usecols=columns, comments=None, quotechar='"', ndmin=2
        )
        if len(values) == count and values.min() >= 0 and values.max() <= 255:
            return values.astype(np.uint8)
    # Not so plain a table is read row by row, so that a bad row is named by its line.
    pixels = []
    for line, cells in table.rows():
        for column in columns:
            if not _is_pixel(cells[column]):
                what = f'column "{table.header[column]}" is "{cells[column].strip()}", expected an integer 0..255'
                raise table.bad(line, what)
        pixels.append(np.array([int(cells[column]) for column in columns], np.uint8))
    return np.stack(pixels)


def _pixel_columns(table: Table) -> list[int]:
    """Return the columns of pixels: all but those of labels and splits, and but one that counts the rows."""
    columns = [i for i in range(len(table.header)) if i not in (table.label, table.split)]
    without = [i for i in columns if table.header[i] not in NUMBERING]
    return without if _shape(len(without)) and not _shape(len(columns)) else columns


def _shape(count: int) -> tuple[int, int, int] | None:
    """Return the (C, S, S) of images with this many values; None where there are none of more than one pixel."""
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if side > 1 and side * side * channels == count:
            return channels, side, side
    return None


def _no_image(table: Table, columns: list[int]) -> DataError:
    if len(columns) < 4:
        names = ", ".join(f'"{table.header[i]}"' for i in columns)
        return DataError(
            f"{table.path}: beside the labels there is {names or 'nothing'}, which holds neither the pixels of an "
            f"image nor names of images in {table.path.parent} or the folders in it. Put the images there, or name the "
            "column of their files with --file-column (file_column=...)."
        )
    return DataError(
        f"{table.path}: the header has {len(columns)} columns of pixels, which is neither S*S (grey) nor 3*S*S (red, "
        f"green, blue planes) for any side S. {HEADER}."
    )


def _is_pixel(text: str) -> bool:
    try:
        return 0 <= int(text) <= 255
    except ValueError:
        return False
