"""Write MNIST as the CSV file that Kaggle's digit recognizer trains on, for the recipe ``mnist_cnn-csv``.

::

    python benchmarks/kaggle_csv.py train.csv --data-dir DIR
    cnnlab train --recipe mnist_cnn-csv                      # in the folder of train.csv

The file has a header and 42,000 rows of 785 columns: ``label``, then ``pixel0`` to ``pixel783``, 0..255 row by row.
Kaggle drew its digits from all 70,000 of MNIST in an order of its own; these are the first 42,000 training digits. What
trains and what is held out is decided when the file is read: a fifth of every class is held out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnlab.data import ArraySplit, load_data

DIGITS = 42_000


def write_csv(path: Path, digits: ArraySplit, count: int) -> None:
    """Write the first ``count`` images of a split, one a row."""
    labels, pixels = digits.labels[:count], digits.pixels[:count].flatten(1)
    header = ",".join(["label", *(f"pixel{position}" for position in range(pixels.shape[1]))])
    rows = np.column_stack([labels.numpy(), pixels.numpy()])
    np.savetxt(path, rows, fmt="%d", delimiter=",", header=header, comments="")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="file to write, such as train.csv")
    parser.add_argument("--data-dir", help="folder in which MNIST is looked for first")
    parsed = parser.parse_args(arguments)
    digits = load_data("mnist", data_dir=parsed.data_dir).train
    assert isinstance(digits, ArraySplit)
    write_csv(parsed.path, digits, DIGITS)
    print(f"{parsed.path}: {DIGITS:,} digits")


if __name__ == "__main__":
    main()
