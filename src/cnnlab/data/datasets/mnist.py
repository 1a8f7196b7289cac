"""MNIST: 70,000 handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.data.facts import DataFacts, data_sets
from cnnlab.data.readers.idx import FILES, load_idx_data
from cnnlab.downloads import Remote

if TYPE_CHECKING:
    from cnnlab.data.base import ImageData

#: Public mirrors; the authors' own address (yann.lecun.com/exdb/mnist) does not serve the files any more.
URLS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
MD5 = (
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)


@data_sets.register(
    DataFacts(
        title="MNIST",
        classes=10,
        channels=1,
        size=(28, 28),
        counts=(60_000, 0, 10_000),
        citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition, "
        "1998",
        url=URLS[0],
        download_bytes=11_594_722,
        mean=(0.1307,),
        std=(0.3081,),
    )
)
def mnist(data_dir: Path | str | None = None, *, progress: bool | None = None, download: bool = True) -> ImageData:
    """Handwritten digits, 28x28 grey, 60,000 for training and 10,000 for testing.

    Args:
        data_dir: a folder to look in first.
        progress: show a bar while downloading.
        download: fetch the files when they are nowhere on this machine.

    Raises:
        DataNotFoundError: neither found nor downloaded.
        DataError: the files found are damaged.
    """
    return load_idx_data(
        "mnist",
        [str(digit) for digit in range(10)],
        [Remote(tuple(f"{url}{file}.gz" for url in URLS), f"md5:{md5}") for file, md5 in zip(FILES, MD5, strict=True)],
        data_dir=data_dir,
        subfolders=("MNIST/raw", "MNIST", "raw"),
        progress=progress,
        download=download,
    )
