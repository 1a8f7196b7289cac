"""A CSV file as a data set: ``file,label`` beside the images, or ``label,pixel0,...`` as Kaggle's MNIST."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch

from cnnlab.data.array_split import ArraySplit
from cnnlab.data.base import ImageData
from cnnlab.data.readers.folder import SPLIT_NAMES, VALIDATION_SHARE, build_image_data, check_classes, natural_key
from cnnlab.data.scanning import scan
from cnnlab.data.stratify import stratified_split
from cnnlab.errors import DataError, DataNotFoundError

_FILE_COLUMNS = ("file", "filename", "file_name", "path", "filepath", "image", "image_path")
_LABEL_COLUMNS = ("label", "class", "target", "category")
_HEADER = 'Expected a header such as "file,label", "file,label,split" or "label,pixel0,pixel1,..."'


def load_csv(path: str | Path, *, seed: int = 0, progress: bool | None = None) -> ImageData:
    """Read a CSV file with a header.

    With a column ``file`` (or ``filename``, ``path``, ``image``) there is one image file per row, its path relative to
    the folder of the CSV file. Without, the other columns are the pixels, 0..255: S*S of them are a grey image by
    rows, 3*S*S are the red, green and blue planes of a colour image. ``label`` (or ``class``, ``target``,
    ``category``) may be a number or a name. A column ``split`` says train, val or test; without it 20 % of each class
    become the validation split. Separated by commas, semicolons or tabs.

    Args:
        path: the file.
        seed: of the division into train and val.
        progress: show a progress bar while image files are looked at.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: no usable header, a bad row (named by its line), fewer than two classes, or a class in val or test
            that train lacks.
    """
    table = Path(path).expanduser()
    if not table.is_file():
        raise DataNotFoundError(f"There is no file {table}. Check the path.")
    try:
        lines = table.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not text in UTF-8 ({error.reason}). Save it as CSV in UTF-8.") from error
    if not lines or not lines[0].strip():
        raise DataError(f"{table} is empty or its first line is. {_HEADER}.")
    separator = max(",;\t", key=lines[0].count)
    header = [name.strip().lower() for name in next(csv.reader(lines[:1], delimiter=separator))]
    label_column = _column(header, _LABEL_COLUMNS)
    if label_column is None:
        start = ", ".join(header[:4]) + (", ..." if len(header) > 4 else "")
        if all(_is_integer(name) for name in header):
            raise DataError(
                f"{table}: line 1 has no column names but numbers ({start}). Add the header line. {_HEADER}."
            )
        raise DataError(f'{table}: line 1 has no column "label" ({start}). {_HEADER}.')
    file_column = _column(header, _FILE_COLUMNS)
    split_column = _column(header, ("split",))
    reader = _Table(table, lines, header, separator, label_column, split_column)
    if file_column is not None:
        return _load_files(reader, file_column, seed, progress)
    return _load_pixels(reader, seed)


class _Table:
    """The lines of a CSV file and which columns are what."""

    def __init__(
        self, path: Path, lines: list[str], header: list[str], separator: str, label: int, split: int | None
    ) -> None:
        self.path, self.lines, self.header, self.separator = path, lines, header, separator
        self.label, self.split = label, split

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, cells) of every row; empty lines are passed over.

        Raises:
            DataError: a row has another number of columns than the header, or quotes that do not close.
        """
        reader = csv.reader(self.lines[1:], delimiter=self.separator, strict=True)
        last, found = 1, False
        try:
            for cells in reader:
                line, last = last + 1, reader.line_num + 1
                if not cells or (len(cells) == 1 and not cells[0].strip()):
                    continue
                if len(cells) != len(self.header):
                    raise self.bad(line, f"{len(cells)} columns, the header has {len(self.header)}")
                found = True
                yield line, cells
        except csv.Error as error:
            raise self.bad(last + 1, f"it is no CSV ({error})") from error
        if not found:
            raise DataError(f"{self.path} has a header and no rows. Add a row per image.")

    def bad(self, line: int, what: str) -> DataError:
        return DataError(f"{self.path}, line {line}: {what}. Correct or remove this row.")

    def label_of(self, line: int, cells: Sequence[str]) -> str:
        label = cells[self.label].strip()
        if not label:
            raise self.bad(line, "the label is empty")
        return label

    def split_of(self, line: int, cells: Sequence[str]) -> str:
        if self.split is None:
            return "train"
        value = cells[self.split].strip()
        if value.lower() not in SPLIT_NAMES:
            raise self.bad(line, f'the split is "{value}", expected train, val or test')
        return SPLIT_NAMES[value.lower()]


def _column(header: list[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _is_integer(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def _load_files(table: _Table, file_column: int, seed: int, progress: bool | None) -> ImageData:
    names, paths, labels, splits = [], [], [], []
    for line, cells in table.rows():
        name = cells[file_column].strip()
        path = table.path.parent / name
        if not name or not path.is_file():
            raise table.bad(line, f'there is no file "{name}" in {table.path.parent}')
        names.append(name)
        paths.append(path)
        labels.append(table.label_of(line, cells))
        splits.append(table.split_of(line, cells))
    if "train" not in splits:
        raise DataError(f'{table.path}: no row has the split "train". Say which images are to be learnt from.')
    return build_image_data(
        name=table.path.stem,
        source=str(table.path),
        paths=paths,
        names=names,
        scanned=scan(paths, progress=progress),
        labels=labels,
        splits=splits,
        seed=seed,
        kind="CSV of image files",
    )


def _load_pixels(table: _Table, seed: int) -> ImageData:
    columns = [i for i in range(len(table.header)) if i not in (table.label, table.split)]
    channels, side = _image_shape(table, len(columns))
    read = _read_fast(table, columns)
    pixels, labels, splits = _read_slowly(table, columns) if read is None else read
    images = torch.from_numpy(pixels.reshape(len(pixels), channels, side, side))
    kinds = np.array(splits)
    names = np.array(labels)
    trained = names[kinds == "train"]
    if not len(trained):
        raise DataError(f'{table.path}: no row has the split "train". Say which images are to be learnt from.')
    classes = sorted(set(trained.tolist()), key=natural_key)
    check_classes(str(table.path), classes, list(zip(splits, labels, strict=True)))
    number = {label: position for position, label in enumerate(classes)}
    targets = torch.tensor([number[label] for label in labels])
    rows = {split: torch.from_numpy(np.flatnonzero(kinds == split)) for split in ("train", "val", "test")}
    divided = len(rows["train"]) == len(images)
    if divided:
        rows["train"], rows["val"] = stratified_split(targets, VALIDATION_SHARE, seed)
    parts = {split: ArraySplit(images[at], targets[at]) for split, at in rows.items() if len(at)}
    colour = "grey" if channels == 1 else "RGB"
    sizes = ", ".join(f"{split} {len(at)}" if len(at) else f"no {split}" for split, at in rows.items())
    notes = [f"CSV of pixels: {len(images)} {colour} images of {side}x{side}, {len(classes)} classes, {sizes}"]
    if divided:
        notes.append(f"divided here into train and val, by class, seed {seed}")
    return ImageData(
        table.path.stem,
        classes,
        parts["train"],
        parts.get("val"),
        parts.get("test"),
        str(table.path),
        notes,
        divided=divided,
    )


def _image_shape(table: _Table, count: int) -> tuple[int, int]:
    """Return (channels, side) of images with this many values."""
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if count and side * side * channels == count:
            return channels, side
    raise DataError(
        f"{table.path}: the header has {count} columns of pixels, which is neither S*S (grey) nor 3*S*S (red, green, "
        f"blue planes) for any side S. {_HEADER}."
    )


def _read_fast(table: _Table, columns: list[int]) -> tuple[np.ndarray, list[str], list[str]] | None:
    """Read a flawless table with NumPy's parser; None when anything is wrong with it."""
    body = [line for line in table.lines[1:] if line.strip()]
    separators = len(table.header) - 1
    if not body or any(line.count(table.separator) != separators or '"' in line for line in body):
        return None
    try:
        values = np.loadtxt(body, dtype=np.int16, delimiter=table.separator, usecols=columns, comments=None, ndmin=2)
    except (ValueError, OverflowError):
        return None
    if values.min() < 0 or values.max() > 255:
        return None
    # Only the few cells that are not pixels are cut out in Python.
    wanted = table.label if table.split is None else max(table.label, table.split)
    last = [line.split(table.separator, wanted + 1) for line in body]
    labels = [cells[table.label].strip() for cells in last]
    splits = ["train"] * len(body)
    if table.split is not None:
        values_of_split = [cells[table.split].strip().lower() for cells in last]
        if not all(value in SPLIT_NAMES for value in values_of_split):
            return None
        splits = [SPLIT_NAMES[value] for value in values_of_split]
    if not all(labels):
        return None
    return values.astype(np.uint8), labels, splits


def _read_slowly(table: _Table, columns: list[int]) -> tuple[np.ndarray, list[str], list[str]]:
    """Read row by row, so that a bad one is named by its line."""
    pixels, labels, splits = [], [], []
    pick = itemgetter(slice(0, 0), *columns)  # with a slice first, it gives a tuple even for one column
    for line, cells in table.rows():
        labels.append(table.label_of(line, cells))
        splits.append(table.split_of(line, cells))
        try:
            # bytearray takes integers 0..255 only.
            pixels.append(np.frombuffer(bytearray(map(int, pick(cells)[1:])), dtype=np.uint8))
        except ValueError:
            raise _bad_pixel(table, line, columns, cells) from None
    return np.stack(pixels), labels, splits


def _bad_pixel(table: _Table, line: int, columns: list[int], cells: list[str]) -> DataError:
    """Say which cell of a row is no integer in 0..255."""
    for column in columns:
        text = cells[column].strip()
        if not _is_integer(text):
            return table.bad(line, f'column "{table.header[column]}" is "{text}", expected an integer 0..255')
        if not 0 <= int(text) <= 255:
            return table.bad(line, f'column "{table.header[column]}" is {text}, expected 0..255')
    raise AssertionError("no bad pixel in this row")
