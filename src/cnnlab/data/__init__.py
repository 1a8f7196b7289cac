"""Data sets: named ones, folders of photos and CSV files, and the steps from files to batches.

What this package offers is loaded when first used: the list of data sets and the settings of augmentation need no
torch, and the commands that only show them answer at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnlab.lazy import attributes_from

if TYPE_CHECKING:
    from cnnlab.data.array_split import ArraySplit
    from cnnlab.data.augment import Augment
    from cnnlab.data.base import Crops, ImageData, Split, channel_statistics, class_counts
    from cnnlab.data.course import course_split
    from cnnlab.data.decoding import ImageLike
    from cnnlab.data.file_split import FileSplit
    from cnnlab.data.load import list_data, load_data
    from cnnlab.data.loader import Batch, Loader
    from cnnlab.data.named_sets import DataFacts, data_sets
    from cnnlab.data.preprocess import Preprocess

_MODULE_OF = {
    "ArraySplit": ".array_split",
    "Augment": ".augment",
    "Batch": ".loader",
    "Crops": ".base",
    "DataFacts": ".named_sets",
    "FileSplit": ".file_split",
    "ImageData": ".base",
    "ImageLike": ".decoding",
    "Loader": ".loader",
    "Preprocess": ".preprocess",
    "Split": ".base",
    "channel_statistics": ".base",
    "class_counts": ".base",
    "course_split": ".course",
    "data_sets": ".named_sets",
    "list_data": ".load",
    "load_data": ".load",
}

__all__ = [
    "ArraySplit",
    "Augment",
    "Batch",
    "Crops",
    "DataFacts",
    "FileSplit",
    "ImageData",
    "ImageLike",
    "Loader",
    "Preprocess",
    "Split",
    "channel_statistics",
    "class_counts",
    "course_split",
    "data_sets",
    "list_data",
    "load_data",
]

__getattr__ = attributes_from(__name__, _MODULE_OF)
