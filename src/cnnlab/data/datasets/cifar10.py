"""CIFAR-10: 60,000 small colour photos of 10 classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.data.facts import DataFacts, data_sets
from cnnlab.data.readers.cifar import CIFAR10, load_cifar_data
from cnnlab.downloads import Remote

if TYPE_CHECKING:
    from cnnlab.data.base import ImageData

URL = "https://www.cs.toronto.edu/~kriz/"
MD5 = "c58f30108f718f92721af3b95e74349a"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@data_sets.register(
    DataFacts(
        title="CIFAR-10",
        classes=10,
        channels=3,
        size=(32, 32),
        counts=(50_000, 0, 10_000),
        citation="A. Krizhevsky: Learning multiple layers of features from tiny images, 2009",
        url="https://www.cs.toronto.edu/~kriz/cifar.html",
        download_bytes=170_498_071,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )
)
def cifar10(data_dir: Path | str | None = None, *, progress: bool | None = None, download: bool = True) -> ImageData:
    """Photos of animals and vehicles of ten kinds, 32x32 colour, 50,000 for training and 10,000 for testing.

    Args:
        data_dir: a folder to look in first.
        progress: show a bar while downloading.
        download: fetch the archive when the data set is nowhere on this machine.

    Raises:
        DataNotFoundError: neither found nor downloaded.
        DataError: the files found are damaged.
    """
    return load_cifar_data(
        "cifar10",
        CLASSES,
        CIFAR10,
        Remote((URL + CIFAR10.archives[0],), f"md5:{MD5}"),
        data_dir=data_dir,
        progress=progress,
        download=download,
    )
