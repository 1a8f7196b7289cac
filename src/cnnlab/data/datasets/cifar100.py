"""CIFAR-100: 60,000 small colour photos of 100 classes."""

from __future__ import annotations

from cnnlab.data.named_sets import ArrayData, DataFacts, Search, data_sets
from cnnlab.data.readers.cifar import CIFAR100, load_cifar_data

URL = "https://www.cs.toronto.edu/~kriz/"
MD5 = "eb9058c3a382ffc7106e4002c42a8d85"
CLASSES = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()  # noqa: SIM905
)


@data_sets.register(
    DataFacts(
        title="CIFAR-100",
        classes=100,
        channels=3,
        size=(32, 32),
        counts=(50_000, 0, 10_000),
        citation="A. Krizhevsky: Learning multiple layers of features from tiny images, 2009",
        url="https://www.cs.toronto.edu/~kriz/cifar.html",
        download_bytes=169_001_437,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    )
)
def cifar100(search: Search) -> ArrayData:
    """Photos of a hundred kinds of things and creatures, 32x32 colour, 50,000 for training and 10,000 for testing."""
    return load_cifar_data(search, CLASSES, CIFAR100, URL, MD5)
