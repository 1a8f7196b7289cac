"""Data sets: named ones, folders of photos and CSV files, and the way from files to batches."""

from cnnlab.data.augment import Augment
from cnnlab.data.base import (
    ArraySplit,
    Crops,
    DataFacts,
    ImageData,
    Split,
    channel_statistics,
    class_counts,
    data_sets,
)
from cnnlab.data.course import course_split
from cnnlab.data.files import FileSplit
from cnnlab.data.load import list_data, load_data
from cnnlab.data.loader import Batch, Loader
from cnnlab.data.preprocess import ImageLike, Preprocess

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
