"""CIFAR-10: 60,000 small colour photos of 10 classes."""

from __future__ import annotations

from cnnlab.data.named_sets import ArrayData, DataFacts, Search, data_sets
from cnnlab.data.readers.cifar import CIFAR10, load_cifar_data

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
def cifar10(search: Search) -> ArrayData:
    """Photos of animals and vehicles of ten kinds, 32x32 colour, 50,000 for training and 10,000 for testing."""
    return load_cifar_data(search, CLASSES, CIFAR10, URL, MD5)
