"""A CSV file of pixels as a data set, such as Kaggle's MNIST: ``label,pixel0,pixel1,...``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter

import numpy as np
import torch

from cnnlab.data.array_split import ArraySplit
from cnnlab.data.base import ImageData
from cnnlab.data.readers.csv_table import HEADER, NUMBERING, Table, classes_of, is_integer
from cnnlab.data.readers.labelled_files import SPLIT_NAMES, VALIDATION_SHARE, check_classes
from cnnlab.data.stratify import stratified_split
from cnnlab.data.walk import natural_key
from cnnlab.errors import DataError


def load_pixels(table: Table, seed: int) -> ImageData:
    columns = _pixel_columns(table)
    channels, side = _image_shape(table, columns)
    read = _read_fast(table, columns)
    pixels, labels, splits = _read_slowly(table, columns) if read is None else read
    labels = classes_of(table.path, labels)
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


def _pixel_columns(table: Table) -> list[int]:
    """Return the columns of pixels: all but those of labels and splits, and but one that counts the rows."""
    columns = [i for i in range(len(table.header)) if i not in (table.label, table.split)]
    numbering = [i for i in columns if table.header[i] in NUMBERING]
    without = [i for i in columns if i not in numbering]
    return without if without and numbering and _shape(len(without)) and not _shape(len(columns)) else columns


def _shape(count: int) -> tuple[int, int] | None:
    """Return (channels, side) of images with this many values; None where there are none of more than one pixel."""
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if side > 1 and side * side * channels == count:
            return channels, side
    return None


def _image_shape(table: Table, columns: Sequence[int]) -> tuple[int, int]:
    shape = _shape(len(columns))
    if shape is not None:
        return shape
    names = ", ".join(f'"{table.header[i]}"' for i in columns[:4])
    if len(columns) < 4:
        raise DataError(
            f"{table.path}: beside the labels there is {names or 'nothing'}, which holds neither the pixels of an "
            f"image nor names of images in {table.path.parent} or the folders in it. Put the images there, or name the "
            "column of their files with --file-column (file_column=...)."
        )
    raise DataError(
        f"{table.path}: the header has {len(columns)} columns of pixels, which is neither S*S (grey) nor 3*S*S (red, "
        f"green, blue planes) for any side S. {HEADER}."
    )


def _read_fast(table: Table, columns: list[int]) -> tuple[np.ndarray, list[str], list[str]] | None:
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


def _read_slowly(table: Table, columns: list[int]) -> tuple[np.ndarray, list[str], list[str]]:
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


def _bad_pixel(table: Table, line: int, columns: list[int], cells: list[str]) -> DataError:
    """Say which cell of a row is no integer in 0..255."""
    for column in columns:
        text = cells[column].strip()
        if not is_integer(text):
            return table.bad(line, f'column "{table.header[column]}" is "{text}", expected an integer 0..255')
        if not 0 <= int(text) <= 255:
            return table.bad(line, f'column "{table.header[column]}" is {text}, expected 0..255')
    raise AssertionError("no bad pixel in this row")
