"""The images that the microscope shows: those of the data, photos, and what people draw and upload."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    """

    id: str
    name: str
    label: int | None
    source: str | bytes | np.ndarray | Tensor

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

    def add(self, name: str, source: bytes | np.ndarray, classifier: Classifier) -> Picture:
        """Add an image that people drew, chose or changed.

        Args:
            name: its name.
            source: bytes of a picture file, or pixels, uint8 (H, W, C).
            classifier: a network that must be able to take it.

        Raises:
            DataError: it is no picture.
            ProtocolError: likewise, or it is too large.
        """
        picture = picture_of(name, source)
        if picture.id not in self.first:
            classifier.views(picture.opened())
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
            source = self.get(address).opened()
            image, display = _as_input(source) if isinstance(source, Tensor) else classifier.views(source)
            self._views[key] = image[None], display if display.ndim == 3 else display[:, :, None]
        self._views.move_to_end(key)
        while len(self._views) > 2 * MOST_ADDED:
            self._views.popitem(last=False)
        return self._views[key]


def _size(picture: Picture) -> int:
    """Return the number of bytes of an image that people added."""
    source = picture.source
    return source.nbytes if isinstance(source, np.ndarray | Tensor) else len(source)


def _as_input(image: Tensor) -> tuple[Tensor, np.ndarray]:
    """Return a network's input, and a picture of it between its smallest and its largest value."""
    image = image.detach().float().cpu()
    spread = float(image.max() - image.min()) or 1.0
    shown = ((image - image.min()) / spread * 255).round().to(torch.uint8)
    shown = shown if len(shown) in (1, 3) else shown.float().mean(0, keepdim=True).to(torch.uint8)
    return image, np.ascontiguousarray(shown.permute(1, 2, 0).numpy())


def picture_of(
    name: str, source: str | os.PathLike[str] | bytes | np.ndarray | Tensor, label: int | None = None
) -> Picture:
    """Return an image with an address from its contents.

    Args:
        name: its name.
        source: path, bytes of a picture file, pixels, uint8 (H, W, C), or a network's input, float (C, H, W).
        label: index of its class, where it is known.
    """
    if isinstance(source, str | os.PathLike):
        source = os.fspath(source)
    array = source.detach().cpu().numpy() if isinstance(source, Tensor) else source
    content = array.tobytes() + repr(array.shape).encode() if isinstance(array, np.ndarray) else array
    content = content.encode() if isinstance(content, str) else content
    return Picture(hashlib.sha256(content).hexdigest()[:12], name, label, source)
