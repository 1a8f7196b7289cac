"""Data sets: named ones, folders of photos and CSV files, and the way from files to batches."""

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
from cnnlab.data.preprocess import ImageLike, Preprocess

__all__ = [
    "ArraySplit",
    "Crops",
    "DataFacts",
    "ImageData",
    "ImageLike",
    "Preprocess",
    "Split",
    "channel_statistics",
    "class_counts",
    "data_sets",
]
