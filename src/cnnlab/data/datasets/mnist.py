"""MNIST: 70,000 handwritten digits."""

from __future__ import annotations

from cnnlab.data.named_sets import DIGITS, ArrayData, DataFacts, Search, data_sets
from cnnlab.data.readers.idx import load_idx_data

#: Public mirrors; the authors' own address (yann.lecun.com/exdb/mnist) does not serve the files any more.
URLS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
#: Checksums of the four files of :data:`cnnlab.data.readers.idx.FILES`, compressed with gzip.
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
def mnist(search: Search) -> ArrayData:
    """Handwritten digits, 28x28 grey, 60,000 for training and 10,000 for testing."""
    return load_idx_data(search, DIGITS, URLS, MD5, subfolders=("MNIST/raw", "MNIST", "raw"))
