"""The rows of a CSV file, and what its labels mean."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnlab.data.readers.labelled import SPLIT_NAMES
from cnnlab.errors import DataError, DataNotFoundError, UsageError, did_you_mean

NUMBERING = ("", "id", "index", "unnamed: 0")  # columns that may stand beside pixels and only count the rows
HEADER = 'Expected a header such as "file,label", "file,label,split" or "label,pixel0,pixel1,..."'


@dataclass
class Table:
    """The lines of a CSV file, and which columns hold the labels, the splits and the names of files.

    Attributes:
        path: the CSV file.
        lines: its lines; the first is the header.
        separator: comma, semicolon or tab.
        header: names of the columns, in small letters.
        label: position of the column of labels; -1 as long as it is not known.
        split, file: positions of the columns of splits and of image files; None where there is none.
    """

    path: Path
    lines: list[str]
    separator: str
    header: list[str]
    label: int = -1
    split: int | None = None
    file: int | None = None

    def column(self, names: Sequence[str]) -> int | None:
        """Return the first of the named columns that is there and holds nothing else; None without one."""
        columns = [self.header.index(name) for name in names if name in self.header]
        return next((column for column in columns if column not in (self.label, self.split, self.file)), None)

    def chosen_column(self, name: str) -> int:
        """Return the column that the caller names.

        Raises:
            UsageError: there is no column of that name.
        """
        if name.strip().lower() not in self.header:
            hint = did_you_mean(name, self.header) or f"The columns are {', '.join(self.header[:12])}."
            raise UsageError(f'{self.path} has no column "{name}". {hint}')
        return self.header.index(name.strip().lower())

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, cells) of every row; empty lines are passed over.

        Raises:
            DataError: a row has another number of columns than the header, or quotes that do not close.
        """
        reader = csv.reader((f"{line}\n" for line in self.lines[1:]), delimiter=self.separator, strict=True)
        last, has_rows = 1, False
        try:
            for cells in reader:
                line, last = last + 1, reader.line_num + 1
                if not cells or (len(cells) == 1 and not cells[0].strip()):
                    continue
                if len(cells) != len(self.header):
                    raise self.bad(line, f"{len(cells)} columns, the header has {len(self.header)}")
                has_rows = True
                yield line, cells
        except csv.Error as error:
            raise self.bad(last + 1, f"it is no CSV ({error})") from error
        if not has_rows:
            raise DataError(f"{self.path} has a header and no rows. Add a row per image.")

    def bad(self, line: int, what: str) -> DataError:
        """Return the error for a row, which is named by the number of its line."""
        return DataError(f"{self.path}, line {line}: {what}. Correct or remove this row.")

    def label_and_split(self, line: int, cells: Sequence[str]) -> tuple[str, str]:
        """Return the label of a row as it stands there, and its split: ``train``, ``val`` or ``test``."""
        label = cells[self.label].strip()
        if not label:
            raise self.bad(line, "the label is empty")
        split = "train" if self.split is None else cells[self.split].strip()
        if split.lower() not in SPLIT_NAMES:
            raise self.bad(line, f'the split is "{split}", expected train, val or test')
        return label, SPLIT_NAMES[split.lower()]


def read_table(path: Path) -> Table:
    """Read the lines of a CSV file and its header.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is no text, or has no header.
    """
    if not path.is_file():
        raise DataNotFoundError(f"There is no file {path}. Check the path.")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8 ({error.reason}). Save it as CSV in UTF-8.") from error
    if not lines[0].strip():
        raise DataError(f"{path} is empty or its first line is. {HEADER}.")
    separator = max(",;\t", key=lines[0].count)
    header = [name.strip().lower() for name in next(csv.reader(lines[:1], delimiter=separator))]
    return Table(path, lines, separator, header)


def is_number(text: str) -> bool:
    """Return whether a cell is a number, such as ``-1`` or ``2.0``."""
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text) is not None


def class_names(path: Path, labels: list[str], splits: list[str]) -> list[str]:
    """Return the labels of all rows as names of classes: ``1.0`` is the class 1.

    Raises:
        DataError: no row is of train; or labels are numbers, and one of them is no whole number from 0 on (-1 and 1
            together are two classes).
    """
    if "train" not in splits:
        raise DataError(f'{path}: no row has the split "train". Say which images are to be learnt from.')
    values = set(labels)
    if not all(map(is_number, values)):
        return labels
    signs = {float(label) for label in values} == {-1.0, 1.0}
    for label in sorted(values, key=float):
        number = float(label)
        if not number.is_integer() or (number < 0 and not signs):
            what = "an image without a class" if number == -1 else "a quantity, not a class"
            raise DataError(
                f'{path}: the label is "{label}" in {labels.count(label)} rows, which looks like {what}; numbers of '
                "classes are 0, 1, 2, ... Remove these rows, write names of classes, or name another column with "
                "--label-column (label_column=...)."
            )
    return [str(int(float(label))) if "." in label else label for label in labels]
