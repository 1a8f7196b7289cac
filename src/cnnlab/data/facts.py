"""The facts about the named data sets and the registry that holds them; torch is not imported."""

from __future__ import annotations

from dataclasses import dataclass

from cnnlab.registry import Registry


@dataclass(frozen=True)
class DataFacts:
    """The facts about a named data set that are declared before it is loaded.

    Args:
        title: name of the data set in prose.
        classes: number of classes.
        channels: number of channels, 1 or 3.
        size: native height and width in pixels.
        counts: number of images in train, val and test (0: the split does not exist).
        citation: authors, title and year of the publication.
        url: address of the page or files of the authors.
        download_bytes: size of the download in bytes; 0 when the data set comes with an installed package.
        mean: mean per channel of the training split, pixels in 0..1.
        std: standard deviation per channel of the training split, pixels in 0..1.
    """

    title: str
    classes: int
    channels: int
    size: tuple[int, int]
    counts: tuple[int, int, int]
    citation: str
    url: str
    download_bytes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


#: Every named data set. A module of :mod:`cnnlab.data.datasets` registers a factory
#: ``(search: Search) -> ImageData`` with ``@data_sets.register(DataFacts(...))``; see :mod:`cnnlab.data.locations`.
data_sets: Registry[DataFacts] = Registry(
    "data set", "cnnlab.data.datasets", "A path to a folder of class folders or to a CSV file works too."
)
