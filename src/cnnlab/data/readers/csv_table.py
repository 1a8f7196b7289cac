"""The rows of a CSV file, and what its labels mean."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cnnlab.data.readers.labelled_files import SPLIT_NAMES
from cnnlab.errors import DataError

NUMBERING = ("", "id", "index", "unnamed: 0")  # columns that may stand beside pixels and only count the rows
HEADER = 'Expected a header such as "file,label", "file,label,split" or "label,pixel0,pixel1,..."'
FEW_COLUMNS = 10  # a table with more columns is one of pixels
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


class Table:
    """The lines of a CSV file and which columns are what."""

    def __init__(
        self,
        path: Path,
        lines: list[str],
        header: list[str],
        separator: str,
        label: int,
        split: int | None,
        file: int | None,
    ) -> None:
        self.path, self.lines, self.header, self.separator = path, lines, header, separator
        self.label, self.split, self.file = label, split, file

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


def is_integer(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def classes_of(path: Path, labels: list[str]) -> list[str]:
    """Return labels as names of classes: ``1.0`` is the class 1.

    Raises:
        DataError: labels are numbers, and one of them is no whole number from 0 on; -1 and 1 together are two classes.
    """
    values = set(labels)
    if not all(_NUMBER.fullmatch(label) for label in values):
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
