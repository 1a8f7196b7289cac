"""Fashion-MNIST: 70,000 pictures of clothing in the format of MNIST."""

from __future__ import annotations

from cnnlab.data.named_sets import ArrayData, DataFacts, Search, data_sets
from cnnlab.data.readers.idx import load_idx_data

#: The authors' repository, and their storage, whose usual address (s3-website) speaks http only.
URLS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
)
#: Checksums of the four files of :data:`cnnlab.data.readers.idx.FILES`, compressed with gzip.
MD5 = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
#: The folder where Debian's and Ubuntu's package ``dataset-fashion-mnist`` puts the files.
DEBIAN = "/usr/share/datasets/fashion-mnist"


@data_sets.register(
    DataFacts(
        title="Fashion-MNIST",
        classes=10,
        channels=1,
        size=(28, 28),
        counts=(60_000, 0, 10_000),
        citation="H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking "
        "machine learning algorithms, 2017",
        url="https://github.com/zalandoresearch/fashion-mnist",
        download_bytes=30_878_645,
        mean=(0.2860,),
        std=(0.3530,),
    )
)
def fashion_mnist(search: Search) -> ArrayData:
    """Clothing from Zalando's catalogue, 28x28 grey, 60,000 for training and 10,000 for testing."""
    subfolders = ("fashion-mnist", "FashionMNIST/raw", "FashionMNIST", "raw")
    return load_idx_data(search, CLASSES, URLS, MD5, subfolders=subfolders, system=[DEBIAN])
