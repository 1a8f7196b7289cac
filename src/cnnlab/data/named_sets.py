"""What every named data set is made of: its facts, the search for its files, the arrays that it is read into.

torch is not imported, so that the list of data sets is shown at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from cnnlab import downloads
from cnnlab.downloads import Remote
from cnnlab.errors import DataError, DataNotFoundError
from cnnlab.files import cache_dir
from cnnlab.registry import Registry

Files = TypeVar("Files")

#: The images uint8 (N, C, H, W) and the labels int64 (N,) of a split.
Arrays: TypeAlias = tuple[np.ndarray, np.ndarray]

#: Class names of the data sets of handwritten digits.
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class ArrayData:
    """The images and labels that the files of a named data set hold.

    Args:
        classes: class names; a label is a position among them.
        train: arrays of the images for training.
        test: arrays of the images for testing.
        source: origin of the data: files or package.
    """

    classes: Sequence[str]
    train: Arrays
    test: Arrays
    source: str


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
#: ``(search: Search) -> ArrayData`` (or ``-> ImageData``) with ``@data_sets.register(DataFacts(...))``.
data_sets: Registry[DataFacts] = Registry(
    "data set", "cnnlab.data.datasets", "A path to a folder of class folders or to a CSV file works too."
)


@dataclass(frozen=True)
class Search:
    """The search for the files of a named data set on this machine, and their download when no folder has them.

    Searched in this order: ``data_dir``, the folders of ``$CNNLAB_DATA`` (separated as in ``$PATH``), the folders where
    system packages put the data set, the user cache. Each of them may hold the files directly, in a folder named after
    the data set, or in a customary sub-folder (``MNIST/raw``, ``cifar-10-batches-py``, ...).

    Args:
        name: name of the data set.
        data_dir: folder that is searched first.
        progress: whether a bar is drawn on stderr while downloading; None draws it on a terminal only.
        download: whether a data set that is not on this machine is downloaded.
    """

    name: str
    data_dir: str | os.PathLike[str] | None = None
    progress: bool | None = None
    download: bool = True

    def files(
        self,
        files_in: Callable[[Path], Files | None],
        remotes: Sequence[Remote],
        subfolders: Sequence[str] = (),
        system: Sequence[str] = (),
    ) -> Files:
        """Find the files of the data set on this machine, else download them.

        Args:
            files_in: function that returns the files of the data set in a folder, or None.
            remotes: the official files.
            subfolders: customary sub-folders of the files.
            system: folders where system packages put the data set.

        Returns:
            The result of ``files_in`` for the first folder that has the data set.

        Raises:
            DataNotFoundError: it is nowhere and was not downloaded (offline, refused, wrong checksum).
            DataError: ``data_dir`` is no folder.
        """
        if self.data_dir is not None and not Path(self.data_dir).expanduser().is_dir():
            raise DataError(f'The data folder "{self.data_dir}" is not there. Name an existing folder with --data-dir.')
        inner = ("", self.name, *subfolders, *(f"{self.name}/{sub}" for sub in subfolders))
        target = cache_dir() / "data" / self.name
        folders = [Path(root).expanduser() / sub for root in (*data_folders(self.data_dir), *system) for sub in inner]
        folders = list(dict.fromkeys([*folders, *(target / sub for sub in ("", *subfolders))]))
        for folder in folders:
            if folder.is_dir() and (files := files_in(folder)) is not None:
                return files
        reason = "downloading was not asked for"
        if self.download:
            try:
                for remote in remotes:
                    downloads.download(remote, target, progress=self.progress)
            except downloads.DownloadError as error:
                reason = str(error)
            else:
                if (files := files_in(target)) is not None:
                    return files
                reason = "what was downloaded does not hold its files"
        embedded = [entry.name for entry in data_sets if entry.facts.download_bytes == 0]
        raise DataNotFoundError(
            f'The data set "{self.name}" is not on this machine and could not be downloaded ({reason}).\n'
            f"Fetch {', '.join(remote.urls[0] for remote in remotes)}\n"
            f"and put {'it' if len(remotes) == 1 else 'them'} into {target}\n"
            "or into a folder that you name with --data-dir or in CNNLAB_DATA.\n"
            f"Looked in: {', '.join(map(str, folders))}.\n"
            f"Data sets that need no download: {', '.join(embedded)}."
        )


def data_folders(data_dir: str | os.PathLike[str] | None) -> list[str]:
    """Return the folders that a user names for data: ``data_dir``, then those of ``$CNNLAB_DATA``."""
    own = [] if data_dir is None else [os.fspath(data_dir)]
    return own + [path for path in os.environ.get("CNNLAB_DATA", "").split(os.pathsep) if path]


def fixed_division(images: np.ndarray, labels: np.ndarray, per_class: np.ndarray) -> tuple[Arrays, Arrays]:
    """Return the arrays of train and of test; which images are for testing is the same for ever.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        per_class: number of test images of each class, (classes,).
    """
    # NumPy promises that RandomState's numbers never change; those of the newer Generator may.
    rng = np.random.RandomState(1998)
    parts = [rng.permutation(np.flatnonzero(labels == label))[:count] for label, count in enumerate(per_class)]
    test = np.sort(np.concatenate(parts))
    train = np.delete(np.arange(len(labels)), test)
    return (images[train], labels[train]), (images[test], labels[test])
