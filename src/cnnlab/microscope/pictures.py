"""The images that the microscope shows: those of the data, photos, and what people draw and upload."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.errors import UnknownNameError
from cnnlab.microscope.uploads import read_upload
from cnnlab.runs.classifier import Classifier

MOST_ADDED = 32  # images that people added and that are kept; the oldest goes first
MOST_BYTES = 128 * 2**20  # of all of them, as they were sent


@dataclass(frozen=True, eq=False)
class Picture:
    """An image.

    Attributes:
        id: its address, from its contents.
        name: name of the file, or of the image in its data set.
        label: index of its class; None where it is not known.
        source: path, bytes of a picture file, pixels, uint8 (H, W, C), or a network's input itself, float (C, H, W).
        crop_fraction: that of the preprocessing that has already cropped it; 1 for a whole picture.
    """

    id: str
    name: str
    label: int | None
    source: str | bytes | np.ndarray | Tensor
    crop_fraction: float = 1.0

    def opened(self) -> Any:
        """Return the image as :meth:`cnnlab.runs.classifier.Classifier.views` takes it.

        Raises:
            ProtocolError: it is no picture, or too large a one.
        """
        if not isinstance(self.source, bytes):
            return self.source
        return read_upload(self.source, self.name)

    def to_dict(self) -> dict[str, Any]:
        """Return what the page is told."""
        return {"id": self.id, "name": self.name, "label": self.label}


class Pictures:
    """The images by their addresses.

    Args:
        pictures: the images to begin with, which stay.
        find: a function from the address of another image, such as one of the run's data, to the image, or to None.
    """

    def __init__(
        self, pictures: Sequence[Picture], find: Callable[[str], Picture | None] = lambda address: None
    ) -> None:
        self._find = find
        self.first = {picture.id: picture for picture in pictures}
        self._added: OrderedDict[str, Picture] = OrderedDict()
        self._views: OrderedDict[tuple[int, str], tuple[Tensor, np.ndarray]] = OrderedDict()

    def get(self, address: str) -> Picture:
        """Return an image.

        Raises:
            UnknownNameError: there is none of that address (any more).
        """
        picture = self.first.get(address) or self._added.get(address) or self._find(address)
        if picture is None:
            raise UnknownNameError("image", address, [*self.first, *self._added])
        return picture

    def add(self, name: str, source: bytes | np.ndarray, classifier: Classifier, *, cropped: bool = False) -> Picture:
        """Add an image that people drew, chose or changed.

        Args:
            name: its name.
            source: bytes of a picture file, or pixels, uint8 (H, W, C).
            classifier: a network that must be able to take it.
            cropped: whether it shows what this network takes of a picture, as what is painted over its view does:
                nothing of it is cropped again.

        Raises:
            DataError: it is no picture.
            ProtocolError: likewise, or it is too large.
        """
        fraction = classifier.preprocess.crop_fraction if cropped else 1.0
        picture = picture_of(name, source, crop_fraction=fraction)
        if picture.id not in self.first:
            _views_of(picture, classifier)
            self._added[picture.id] = picture
            self._added.move_to_end(picture.id)
            while len(self._added) > MOST_ADDED or sum(map(_size, self._added.values())) > MOST_BYTES:
                self._added.popitem(last=False)
        return self.get(picture.id)

    def views(self, number: int, classifier: Classifier, address: str) -> tuple[Tensor, np.ndarray]:
        """Return an image as a network takes it, float32 (1, C, S, S), and as people see it, uint8 (H, W, C).

        Args:
            number: number of the network, for the cache.
            classifier: the network.
            address: address of the image.

        Raises:
            UnknownNameError: there is no such image.
            DataError: it cannot be read.
        """
        key = number, address
        if key not in self._views:
            image, display = _views_of(self.get(address), classifier)
            self._views[key] = image[None], display if display.ndim == 3 else display[:, :, None]
        self._views.move_to_end(key)
        while len(self._views) > 2 * MOST_ADDED:
            self._views.popitem(last=False)
        return self._views[key]


def _size(picture: Picture) -> int:
    """Return the number of bytes of an image that people added."""
    source = picture.source
    return source.nbytes if isinstance(source, np.ndarray | Tensor) else len(source)


def _views_of(picture: Picture, classifier: Classifier) -> tuple[Tensor, np.ndarray]:
    """Return an image as a network takes it, float32 (C, S, S), and as people see it, uint8 (H, W, C) or (H, W)."""
    source, preprocess = picture.opened(), classifier.preprocess
    if isinstance(source, Tensor):
        return _as_input(source)
    # Only what is left to crop: another network may take a smaller part than the one that cropped the picture.
    fraction = min(1.0, preprocess.crop_fraction / picture.crop_fraction)
    return replace(classifier, preprocess=replace(preprocess, crop_fraction=fraction)).views(source)


def _as_input(image: Tensor) -> tuple[Tensor, np.ndarray]:
    """Return a network's input, and a picture of it between its smallest and its largest value."""
    image = image.detach().float().cpu()
    spread = float(image.max() - image.min()) or 1.0
    shown = ((image - image.min()) / spread * 255).round().to(torch.uint8)
    shown = shown if len(shown) in (1, 3) else shown.float().mean(0, keepdim=True).to(torch.uint8)
    return image, np.ascontiguousarray(shown.permute(1, 2, 0).numpy())


def picture_of(
    name: str,
    source: str | os.PathLike[str] | bytes | np.ndarray | Tensor,
    label: int | None = None,
    crop_fraction: float = 1.0,
) -> Picture:
    """Return an image with an address from its contents.

    Args:
        name: its name.
        source: path, bytes of a picture file, pixels, uint8 (H, W, C), or a network's input, float (C, H, W).
        label: index of its class, where it is known.
        crop_fraction: see :class:`Picture`.
    """
    if isinstance(source, str | os.PathLike):
        source = os.fspath(source)
    array = source.detach().cpu().numpy() if isinstance(source, Tensor) else source
    content = array.tobytes() + repr(array.shape).encode() if isinstance(array, np.ndarray) else array
    content = content.encode() if isinstance(content, str) else content
    content += repr(crop_fraction).encode() if crop_fraction < 1 else b""  # the same pixels, another input
    return Picture(hashlib.sha256(content).hexdigest()[:12], name, label, source, crop_fraction)
