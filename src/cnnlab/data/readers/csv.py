"""A CSV file as a data set: ``file,label`` beside the images, or ``label,pixel0,...`` as Kaggle's MNIST."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence, Set
from pathlib import Path

from cnnlab.data.base import ImageData
from cnnlab.data.readers.csv_pixels import load_pixels
from cnnlab.data.readers.csv_table import FEW_COLUMNS, HEADER, NUMBERING, Table, classes_of, is_integer
from cnnlab.data.readers.labelled_files import build_image_data
from cnnlab.data.scanning import scan
from cnnlab.data.walk import list_folder
from cnnlab.errors import DataError, DataNotFoundError, UsageError, did_you_mean

_FILE_COLUMNS = ("file", "filename", "file_name", "path", "filepath", "image", "image_path")
_LABEL_COLUMNS = ("label", "class", "target", "category")
_TRIED = 50  # rows that are read to guess which column names files


def load_csv(
    path: str | Path,
    *,
    seed: int = 0,
    progress: bool | None = None,
    label_column: str | None = None,
    file_column: str | None = None,
) -> ImageData:
    """Read a CSV file with a header.

    With a column ``file`` (or ``filename``, ``path``, ``image``) there is one image file per row, in the folder of the
    CSV file or a folder in it, with or without its ending. A column of another name is taken for it when its values
    are names of images there. Without, the other columns are the pixels, 0..255: S*S of them are a grey image by rows,
    3*S*S are the red, green and blue planes of a colour image. ``label`` (or ``class``, ``target``, ``category``) may
    be a number or a name. A column ``split`` says train, val or test; without it 20 % of each class become the
    validation split. Separated by commas, semicolons or tabs. Files that are missing or unreadable are left out and
    listed in ``skipped``.

    Args:
        path: CSV file to read.
        seed: seed of the division into train and val.
        progress: whether to show a progress bar while image files are scanned.
        label_column: name of the column with the labels, where it is none of those above.
        file_column: name of the column with the image files, likewise.

    Raises:
        DataNotFoundError: there is no such file.
        UsageError: there is no column of that name.
        DataError: no usable header, a bad row (named by its line), labels that are no classes, fewer than two classes,
            or a class in val or test that train lacks.
    """
    table = Path(path).expanduser()
    if not table.is_file():
        raise DataNotFoundError(f"There is no file {table}. Check the path.")
    try:
        lines = table.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not text in UTF-8 ({error.reason}). Save it as CSV in UTF-8.") from error
    if not lines or not lines[0].strip():
        raise DataError(f"{table} is empty or its first line is. {HEADER}.")
    separator = max(",;\t", key=lines[0].count)
    header = [name.strip().lower() for name in next(csv.reader(lines[:1], delimiter=separator))]
    reader = Table(table, lines, header, separator, *_columns(table, header, label_column, file_column))
    pictures = _Pictures(table)
    if reader.file is None and len(header) <= FEW_COLUMNS:
        reader.file = _guessed_file_column(reader, pictures)
    if reader.label < 0:
        reader.label = _guessed_label_column(reader)
    if reader.file is not None:
        return _load_files(reader, reader.file, pictures, seed, progress)
    return load_pixels(reader, seed)


def _columns(
    path: Path, header: list[str], label_column: str | None, file_column: str | None
) -> tuple[int, int | None, int | None]:
    """Return the positions of the columns of labels (-1: not known), splits and files (None: there is none)."""

    def named(name: str | None) -> int | None:
        if name is None:
            return None
        if name.strip().lower() not in header:
            hint = did_you_mean(name, header) or f"The columns are {', '.join(header[:12])}."
            raise UsageError(f'{path} has no column "{name}". {hint}')
        return header.index(name.strip().lower())

    label, file = named(label_column), named(file_column)
    if label is None:
        label = _column(header, _LABEL_COLUMNS, {file})
    if file is None:
        file = _column(header, _FILE_COLUMNS, {label})
    return -1 if label is None else label, _column(header, ("split",), {label, file}), file


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
    """Return the column that is left when all others are accounted for.

    Raises:
        DataError: it is not plain which one holds the labels.
    """
    rest = [
        i
        for i, name in enumerate(table.header)
        if i not in (table.file, table.split) and not (table.file is not None and name in NUMBERING)
    ]
    if table.file is not None and len(rest) == 1:
        return rest[0]
    start = ", ".join(table.header[:4]) + (", ..." if len(table.header) > 4 else "")
    if all(is_integer(name) for name in table.header):
        raise DataError(
            f"{table.path}: line 1 has no column names but numbers ({start}). Add the header line. {HEADER}."
        )
    raise DataError(
        f'{table.path}: line 1 has no column "label" ({start}). Name the column with --label-column '
        f"(label_column=...). {HEADER}."
    )


class _Pictures:
    """The images that a CSV file may name: in its folder and in the folders directly in it, with or without ending."""

    def __init__(self, table: Path) -> None:
        self.root = table.parent
        self._inner: list[Path] | None = None
        self._names: dict[Path, dict[str, Path]] = {}
        self._stem = table.stem.lower()

    @property
    def folders(self) -> list[Path]:
        """The folders that are searched: that of the CSV file, then the one called like it, then the others."""
        if self._inner is None:
            inner = list_folder(self.root)[1]
            self._inner = [self.root, *sorted(inner, key=lambda folder: folder.name.lower() != self._stem)]
        return self._inner

    def find(self, name: str) -> Path | None:
        """Return the image that a cell names; None when there is none."""
        name = name.strip()
        if not name:
            return None
        if (self.root / name).is_file():
            return self.root / name
        name = name.replace("\\", "/")
        for folder in self.folders:
            path = folder / name
            images = self._images_in(path.parent)
            if path.name in images:
                return images[path.name]
        return None

    def _images_in(self, folder: Path) -> dict[str, Path]:
        """Return the images of a folder by name, and by name without ending."""
        if folder not in self._names:
            images = list_folder(folder)[0] if folder.is_dir() else []
            self._names[folder] = {path.stem: path for path in reversed(images)} | {path.name: path for path in images}
        return self._names[folder]


def _column(header: list[str], names: Sequence[str], taken: Set[int | None]) -> int | None:
    return next((header.index(name) for name in names if name in header and header.index(name) not in taken), None)


def _load_files(table: Table, file_column: int, pictures: _Pictures, seed: int, progress: bool | None) -> ImageData:
    names, paths, labels, splits = [], [], [], []
    missing = 0
    for line, cells in table.rows():
        name = cells[file_column].strip()
        if not name:
            raise table.bad(line, f'the column "{table.header[file_column]}" is empty')
        path = pictures.find(name)
        missing += path is None
        # A file that is not there is listed with those that cannot be read.
        path = table.path.parent / name if path is None else path
        paths.append(path)
        inside = path.is_relative_to(table.path.parent)
        names.append(path.relative_to(table.path.parent).as_posix() if inside else name)
        labels.append(table.label_of(line, cells))
        splits.append(table.split_of(line, cells))
    if missing == len(paths):
        inner = ", ".join(folder.name for folder in pictures.folders[1:4])
        searched = f"{table.path.parent}{f' and its folders {inner}' if inner else ''}"
        raise DataError(
            f'{table.path}: none of the {missing} files of the column "{table.header[file_column]}" is there; the '
            f'first is "{names[0]}", looked for in {searched}. '
            "Put the images there, or name another column with --file-column (file_column=...)."
        )
    labels = classes_of(table.path, labels)
    if "train" not in splits:
        raise DataError(f'{table.path}: no row has the split "train". Say which images are to be learnt from.')
    data = build_image_data(
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
    columns = table.header[file_column], table.header[table.label]
    data.notes.append(f'the column "{columns[0]}" names the files, the column "{columns[1]}" their classes')
    return data
