"""A sample of the data of a run: the images over which the microscope asks what a unit responds to."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from cnnlab.data import Split
from cnnlab.errors import CnnlabError, ProtocolError
from cnnlab.microscope.pictures import Picture, picture_of
from cnnlab.runs.classifier import Classifier
from cnnlab.runs.evaluate import load_own_data, match_classes, own_split
from cnnlab.runs.folder import RunFolder

MOST_IMAGES = 256


class Sample:
    """Labelled images in an order in which every beginning holds the classes as equally often as possible.

    Args:
        images: the images to draw from.
        labels: the class of each of them as the network numbers them, (N,).
        split: the name of the split that they are.
        classifier: the network whose preprocessing they get.

    Attributes:
        labels: the classes of the sample, int64 (n,).
        split: the name of the split.
    """

    def __init__(self, images: Split, labels: np.ndarray, split: str, classifier: Classifier) -> None:
        self.split, self._images, self._preprocess = split, images, classifier.preprocess
        self._indices = _in_turn(labels)[:MOST_IMAGES]
        self.labels = labels[self._indices]
        self._pixels: dict[int, Tensor] = {}
        self._pictures: dict[str, Picture] = {}

    def __len__(self) -> int:
        return len(self._indices)

    def inputs(self, start: int, end: int) -> Tensor:
        """Return some images as the network takes them, float32 (end - start, C, S, S).

        Raises:
            DataError: a file cannot be read any more.
        """
        positions = range(start, min(end, len(self)))
        missing = [position for position in positions if position not in self._pixels]
        if missing:
            fetched = self._images.fetch(torch.from_numpy(self._indices[missing]), self._preprocess)
            self._pixels |= zip(missing, fetched, strict=True)
        return self._preprocess.normalize(torch.stack([self._pixels[position] for position in positions]))

    def picture(self, position: int) -> Picture:
        """Return an image of those that :meth:`inputs` has returned, with its name, class and address."""
        index = int(self._indices[position])
        name = self._images.names[index] if self._images.names else f"{self.split} image {index}"
        pixels = self._pixels[position].permute(1, 2, 0).contiguous().numpy()
        picture = picture_of(name, pixels, int(self.labels[position]), self._preprocess.crop_fraction)
        self._pictures[picture.id] = picture
        return picture

    def find(self, address: str) -> Picture | None:
        """Return an image that :meth:`picture` has returned by its address; None where there is none of it."""
        return self._pictures.get(address)


def sample_of(run: RunFolder | None, classifier: Classifier, data_dir: str | os.PathLike[str] | None = None) -> Sample:
    """Return a sample of the images on which a run is tested, or of its others where it has no such split.

    Args:
        run: the run; None for a network that comes from none.
        classifier: the network of the run.
        data_dir: the folder where data sets are looked for first.

    Raises:
        ProtocolError: ``not_found``: there is no run, or its data is gone.
    """
    if run is None:
        raise ProtocolError(
            "not_found",
            f"{classifier.name} comes without data. Open a run, whose images show what this channel responds to.",
        )
    try:
        data = load_own_data(run, data_dir)
        name = next(name for name in ("test", "val", "train") if name in data.splits())
        images = own_split(run, data, name, [])
        labels = match_classes(data.classes, np.asarray(images.labels), classifier.classes, data.name)
    except CnnlabError as error:
        raise ProtocolError("not_found", f"The images of {run.name} cannot be read: {error}") from None
    return Sample(images, labels, name, classifier)


def _in_turn(labels: np.ndarray) -> np.ndarray:
    """Return the positions of labels (N,) in an order that takes a random image of each class in turn."""
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(labels))
    rounds = np.empty(len(labels), np.int64)  # the number of images of the same class that come before it
    for label in set(labels.tolist()):  # np.unique would import numpy.ma
        members = shuffled[labels[shuffled] == label]
        rounds[members] = np.arange(len(members))
    return shuffled[np.lexsort((labels[shuffled], rounds[shuffled]))]
