"""The 8x8 handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from cnnlab.data.named_sets import DIGITS, ArrayData, DataFacts, Search, data_sets, fixed_division


@data_sets.register(
    DataFacts(
        title="8x8 digits",
        classes=10,
        channels=1,
        size=(8, 8),
        counts=(1438, 0, 359),
        citation="E. Alpaydin, C. Kaynak: Optical recognition of handwritten digits, UCI, 1998",
        url="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        download_bytes=0,
        mean=(0.3051,),
        std=(0.3755,),
    )
)
def digits(search: Search) -> ArrayData:
    """1,797 small handwritten digits that come with the installation, a fixed fifth of each class for testing.

    The values 0..16 (how many of 4x4 pixels are ink) are scaled to 0..255.
    """
    from sklearn.datasets import load_digits

    loaded = load_digits()
    images = np.rint(loaded.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = loaded.target.astype(np.int64)
    train, test = fixed_division(images, labels, np.rint(np.bincount(labels) / 5).astype(np.int64))
    return ArrayData(DIGITS, train, test, "the installed package scikit-learn")
