"""The captions of COCO in the files of CS231n's assignments: captions as positions of words, and features of VGG-16.

The folder ``coco_captioning`` of http://cs231n.stanford.edu/coco_captioning.zip holds, for train and val (``S``)::

    coco2014_captions.h5         S_captions (M, 17) positions of words, S_image_idxs (M,) positions of images
    S2014_vgg16_fc7_pca.h5       features (N, 512), reduced from 4,096; read lazily
    S2014_vgg16_fc7.h5           features (N, 4096), read where the reduced ones are missing
    coco2014_vocab.json          words of the vocabulary
    S2014_urls.txt               addresses of the images, one per line; may be missing

Source: Tsung-Yi Lin et al.: Microsoft COCO: common objects in context. ECCV 2014. https://arxiv.org/abs/1405.0312
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.errors import CnnlabError, DataError, UsageError
from cnnlab.files import kind_of_file
from cnnlab.generate.captions.data import CaptionData, CaptionSplit
from cnnlab.generate.captions.vocabulary import START, Vocabulary

CAPTIONS, VOCABULARY = "coco2014_captions.h5", "coco2014_vocab.json"
_FEATURES = ("{}2014_vgg16_fc7_pca.h5", "{}2014_vgg16_fc7.h5")
_ADVICE = "Take all files from http://cs231n.stanford.edu/coco_captioning.zip."


class FileRows:
    """An array in an HDF5 file that is read row by row, on access.

    The file is opened for each access, so that several processes can use a copy of this object.

    Args:
        path: HDF5 file.
        key: name of the array in it.

    Attributes:
        shape: shape of the array.

    Raises:
        UsageError: h5py is not installed.
        DataError: the file is missing or damaged, or has no such array.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        with _open(path) as file:
            self.shape: tuple[int, ...] = _array(file, path, key).shape

    def __getitem__(self, rows: Any) -> Any:
        with _open(self.path) as file:
            try:
                return file[self.key][rows]
            except OSError as error:
                raise DataError(f"Cannot read {self.key} of {self.path}: {error}. {_ADVICE}") from error

    def __len__(self) -> int:
        return self.shape[0]


def is_coco_folder(folder: Path) -> bool:
    """Return whether a folder holds the course's file with captions."""
    return (folder / CAPTIONS).is_file()


def read_coco(folder: Path) -> CaptionData:
    """Read a folder with the course's files.

    Args:
        folder: folder ``coco_captioning``.

    Returns:
        The splits train and val, without pictures and with features.

    Raises:
        UsageError: h5py is not installed.
        DataError: a file or a key is missing, a file is damaged, or files disagree; the message says which.
    """
    vocabulary = Vocabulary.load(_existing(folder, VOCABULARY))
    features = {name: _read_features(folder, name) for name in ("train", "val")}
    widths = {name: rows.shape[1] for name, rows in features.items()}
    if widths["train"] != widths["val"]:
        raise DataError(
            f"The images of train have {widths['train']} features and those of val {widths['val']} in {folder}; they "
            f"must agree. {_ADVICE}"
        )
    train, val = (_read_split(folder, name, vocabulary, rows) for name, rows in features.items())
    notes = [
        f"{name}: {len(part.captions)} captions of {len(part)} images, {widths[name]} features each"
        for name, part in (("train", train), ("val", val))
    ]
    return CaptionData("coco", vocabulary, train, val, source=str(folder), notes=notes)


def _read_features(folder: Path, name: str) -> FileRows:
    path = _existing(folder, *(file.format(name) for file in _FEATURES))
    features = FileRows(path, "features")
    if len(features.shape) != 2:
        raise DataError(f"features of {path} has shape {features.shape}; expected (N, D). {_ADVICE}")
    return features


def _read_split(folder: Path, name: str, vocabulary: Vocabulary, features: FileRows) -> CaptionSplit:
    path = _existing(folder, CAPTIONS)
    captions, image_of = (_read_integers(path, f"{name}_{key}") for key in ("captions", "image_idxs"))
    if captions.dim() != 2 or image_of.shape != captions.shape[:1]:
        raise DataError(
            f"{path} has {name}_captions of shape {tuple(captions.shape)} and {name}_image_idxs of shape "
            f"{tuple(image_of.shape)}; expected (M, T) and (M,). {_ADVICE}"
        )
    if len(captions) and not (captions[:, 0] == vocabulary.start).all():
        raise DataError(
            f"{name}_captions of {path} do not begin with {START}, which is at {vocabulary.start} in {VOCABULARY}: "
            f"captions and vocabulary are not of the same data. {_ADVICE}"
        )
    urls_path, urls = folder / f"{name}2014_urls.txt", None
    if urls_path.is_file():
        urls = urls_path.read_text(encoding="utf-8").split()
    try:
        return CaptionSplit(vocabulary, captions, image_of, features=features, urls=urls)
    except CnnlabError as error:
        files = f"{name}_captions and {name}_image_idxs of {path}, {features.path.name}, {urls_path.name}"
        raise DataError(f"Files disagree ({files}): {error} {_ADVICE}") from error


def _existing(folder: Path, *names: str) -> Path:
    """Return the first of the named files that exists in the folder."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no file {' or '.join(names)}. {_ADVICE}")


def _read_integers(path: Path, key: str) -> Tensor:
    values = FileRows(path, key)[:]
    if not np.issubdtype(values.dtype, np.integer):
        raise DataError(f"{key} of {path} is of type {values.dtype}; expected whole numbers. {_ADVICE}")
    return torch.from_numpy(values.astype(np.int64))


def _open(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise UsageError('HDF5 files need h5py, which is not installed: pip install "cnnlab[captions]".') from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        kind = kind_of_file(path) if path.is_file() else "missing"
        state = f"it is {kind}" + (", perhaps cut off" if kind == "an HDF5 file" else "")
        raise DataError(f"Cannot read the HDF5 file {path}: {state}. {_ADVICE}") from error


def _array(file: Any, path: Path, key: str) -> Any:
    """Return an array of an open file."""
    import h5py

    if key not in file or not isinstance(file[key], h5py.Dataset):
        raise DataError(f"{path} has no array {key}; it has {', '.join(file) or 'none'}. {_ADVICE}")
    return file[key]
