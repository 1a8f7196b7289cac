"""``cs231n.data_utils``: the data sets of the assignments as arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.course._arrays import Array
from cnnlab.course.cs231n._datasets import DATASETS, find_dataset
from cnnlab.data.decoding import decode
from cnnlab.data.named_sets import ArrayData, Search, data_sets
from cnnlab.data.readers.cifar import CIFAR10, find_cifar, parse_python, read_cifar
from cnnlab.errors import DataError, DataNotFoundError
from cnnlab.zoo import imagenet_classes

__all__ = [
    "get_CIFAR10_data",
    "load_CIFAR10",
    "load_CIFAR_batch",
    "load_imagenet_val",
    "load_tiny_imagenet",
]


def load_CIFAR_batch(filename: str | os.PathLike[str]) -> tuple[Array, Array]:
    """Return the images (N, 32, 32, 3), float64, and labels (N,) of one file of ``cifar-10-batches-py``.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: the file is damaged, or no batch of CIFAR-10.
    """
    path = Path(filename)
    if not path.is_file():
        raise DataNotFoundError(f"There is no file {path}, seen from {Path.cwd()}. Check the path.")
    pixels, labels = parse_python(path.read_bytes(), str(path), CIFAR10)
    return _channels_last(pixels), labels


def load_CIFAR10(ROOT: str | os.PathLike[str]) -> tuple[Array, Array, Array, Array]:
    """Return the training images (50000, 32, 32, 3), their labels, the test images, and their labels.

    Args:
        ROOT: folder of the batches. Where it does not exist, CIFAR-10 is looked for as in
            :func:`cnnlab.load_data`, and downloaded when it is nowhere.

    Raises:
        DataNotFoundError: CIFAR-10 is nowhere on this machine, and could not be downloaded.
        DataError: the files are damaged.
    """
    (train, train_labels), (test, test_labels) = _cifar10(Path(ROOT))
    return _channels_last(train), train_labels, _channels_last(test), test_labels


def get_CIFAR10_data(
    num_training: int = 49000, num_validation: int = 1000, num_test: int = 1000, subtract_mean: bool = True
) -> dict[str, Array]:
    """Return CIFAR-10 as the notebooks of assignment 2 use it, float64 (N, 3, 32, 32).

    Args:
        num_training: number of training images, the first ones.
        num_validation: number of validation images, those that follow.
        num_test: number of test images, the first ones.
        subtract_mean: whether the mean of the training images is subtracted from all.

    Returns:
        ``X_train``, ``y_train``, ``X_val``, ``y_val``, ``X_test``, ``y_test``.

    Raises:
        DataNotFoundError, DataError: see :func:`load_CIFAR10`; or there are fewer images than asked for.
    """
    (pixels, labels), (test, test_labels) = _cifar10(DATASETS / "cifar-10-batches-py")
    if num_training + num_validation > len(pixels) or num_test > len(test):
        raise DataError(
            f"There are {len(pixels):,} training and {len(test):,} test images, too few for {num_training:,} to train, "
            f"{num_validation:,} to validate and {num_test:,} to test. Ask for fewer."
        )
    validation = slice(num_training, num_training + num_validation)
    parts = {
        "train": (pixels[:num_training], labels[:num_training]),
        "val": (pixels[validation], labels[validation]),
        "test": (test[:num_test], test_labels[:num_test]),
    }
    mean = parts["train"][0].mean(axis=0) if subtract_mean else 0.0
    data = {}
    for name, (part, part_labels) in parts.items():
        data[f"X_{name}"] = part.astype(np.float64)
        data[f"X_{name}"] -= mean
        data[f"y_{name}"] = part_labels.copy()
    return data


def load_tiny_imagenet(
    path: str | os.PathLike[str], dtype: type = np.float32, subtract_mean: bool = True
) -> dict[str, Any]:
    """Return Tiny ImageNet, or a part of it such as TinyImageNet-100-A, from its folder.

    Args:
        path: folder with ``wnids.txt``, ``words.txt``, ``train``, ``val`` and ``test``.
        dtype: type of the images.
        subtract_mean: whether the mean of the training images is subtracted from all.

    Returns:
        ``class_names``, a list of names for each class; ``X_train`` (N, 3, H, W), ``y_train``, ``X_val``, ``y_val``,
        ``X_test``; ``y_test``, which is None, as labels of test are not published; ``mean_image`` (3, H, W).

    Raises:
        DataNotFoundError: the folder or a file in it is missing.
        DataError: an image cannot be read.
    """
    root = find_dataset(Path(path), Path(path).name, "It is Tiny ImageNet from http://cs231n.stanford.edu, unpacked.")
    classes = _lines(root / "wnids.txt")
    position = {wnid: label for label, wnid in enumerate(classes)}
    words = dict(line.split("\t", 1) for line in _lines(root / "words.txt"))
    train = [(file, position[wnid]) for wnid in classes for file in _photos(root / "train" / wnid)]
    val = [line.split("\t") for line in _lines(root / "val" / "val_annotations.txt")]
    data: dict[str, Any] = {
        "class_names": [words.get(wnid, wnid).split(", ") for wnid in classes],
        "X_train": _images([file for file, _ in train], dtype),
        "y_train": np.array([label for _, label in train]),
        "X_val": _images([root / "val" / "images" / row[0] for row in val], dtype),
        "y_val": np.array([position[row[1]] for row in val]),
        "X_test": _images(_photos(root / "test"), dtype),
        "y_test": None,
    }
    data["mean_image"] = data["X_train"].mean(axis=0)
    if subtract_mean:
        for name in ("X_train", "X_val", "X_test"):
            data[name] -= data["mean_image"]
    return data


def load_imagenet_val(num: int | None = None) -> tuple[Array, Array, list[str]]:
    """Return images of the validation split of ImageNet, from the course's file ``imagenet_val_25.npz``.

    Args:
        num: number of images, the first ones; all of them when None.

    Returns:
        The images uint8 (N, 224, 224, 3), their classes (N,), and the names of the 1000 classes.

    Raises:
        DataNotFoundError: the file is not in ``cs231n/datasets`` nor in a folder of ``$CNNLAB_DATA``.
        DataError: the file lacks images or labels.
    """
    name = "imagenet_val_25.npz"
    path = find_dataset(None, name, f"It is http://cs231n.stanford.edu/{name}; put it into {DATASETS}.")
    # The file's names of classes are pickled, and pickles can run code: the names come from the zoo.
    with np.load(path, allow_pickle=False) as file:
        if missing := {"X", "y"} - set(file.files):
            raise DataError(f'{path} has no array "{min(missing)}", only {file.files}. Fetch the file again.')
        return file["X"][:num], file["y"][:num], imagenet_classes()


def _cifar10(root: Path) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return pixels uint8 (N, 3, 32, 32) and labels of train, and those of test."""
    if root.is_dir() and (path := find_cifar(root, CIFAR10)) is not None:
        train, test, _ = read_cifar(path, CIFAR10)
        return train, test
    data = data_sets.get("cifar10").factory(Search("cifar10"))
    assert isinstance(data, ArrayData)
    return data.train, data.test


def _channels_last(pixels: Array) -> Array:
    images = np.empty((len(pixels), 32, 32, 3))
    images[:] = pixels.transpose(0, 2, 3, 1)
    return images


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataNotFoundError(f"There is no file {path}. Unpack Tiny ImageNet again.")
    return path.read_text(encoding="utf-8").splitlines()


def _photos(folder: Path) -> list[Path]:
    return sorted((folder / "images").glob("*.JPEG"))


def _images(files: list[Path], dtype: type) -> Array:
    """Return images (N, 3, H, W); grey ones get three equal channels."""
    if not files:
        return np.zeros((0, 3, 64, 64), dtype)
    return np.stack([np.asarray(decode(file, 3), dtype).transpose(2, 0, 1) for file in files])
