"""Pictures that people bring to an open microscope: checked, bounded in number and size, the oldest dropped."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from cnnlab.data.decoding import open_image, reason, upright
from cnnlab.errors import ProtocolError

MOST_PIXELS = 64_000_000  # of one picture
MOST_IMAGES = 48
MOST_BYTES = 128 * 2**20  # of all pictures, as they were sent
# Formats of Pillow that are decoded inside this process; it would start Ghostscript for an EPS file.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM")


@dataclass(frozen=True)
class Upload:
    """A picture that somebody brought.

    Attributes:
        id: id of the image, made from its contents.
        name: its name, such as that of the file.
        contents: the bytes of a picture file, or pixels uint8 (H, W, 3) or (H, W, 1).
    """

    id: str
    name: str
    contents: bytes | np.ndarray

    @property
    def size(self) -> int:
        """Number of bytes that it occupies."""
        return len(self.contents) if isinstance(self.contents, bytes) else self.contents.nbytes

    def picture(self) -> Image.Image:
        """Return the picture, decoded and upright."""
        if isinstance(self.contents, bytes):
            return _decoded(self.contents, self.name)
        array = self.contents
        return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


class Uploads:
    """The pictures that people brought to one microscope; they can be added and read from several threads.

    Args:
        most_images: number of pictures that are kept.
        most_bytes: number of bytes that they may have together.
    """

    def __init__(self, most_images: int = MOST_IMAGES, most_bytes: int = MOST_BYTES) -> None:
        self._most_images, self._most_bytes = most_images, most_bytes
        self._uploads: OrderedDict[str, Upload] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, request: Mapping[str, Any]) -> Upload:
        """Keep the picture of a request ``add_image`` and return it; the same contents have the same id.

        Raises:
            ProtocolError: the picture has too many pixels (``too_large``), or cannot be read (``bad_request``).
        """
        contents: bytes | np.ndarray
        if "file" in request:
            contents = np.asarray(request["file"]).tobytes()
            digest = hashlib.sha256(contents)
            _decoded(contents, request["name"])  # refused now rather than when it is looked at
        else:
            contents = np.array(request["pixels"])
            _check_size(*contents.shape[1::-1])
            digest = hashlib.sha256(f"{contents.shape}".encode() + contents.tobytes())
        upload = Upload(f"upload-{digest.hexdigest()[:16]}", request["name"], contents)
        if upload.size > self._most_bytes:
            raise ProtocolError(
                "too_large", f"{upload.name} has {upload.size:,} bytes; at most {self._most_bytes:,} can be kept."
            )
        with self._lock:
            self._uploads.pop(upload.id, None)
            self._uploads[upload.id] = upload
            while len(self._uploads) > self._most_images or self._bytes > self._most_bytes:
                self._uploads.popitem(last=False)
        return upload

    @property
    def _bytes(self) -> int:
        return sum(upload.size for upload in self._uploads.values())

    def __getitem__(self, image: str) -> Upload:
        """Return the picture with an id.

        Raises:
            ProtocolError: there is none, or it was dropped (``not_found``).
        """
        with self._lock:
            if image not in self._uploads:
                raise ProtocolError(
                    "not_found", f"There is no image {image} any more: the oldest are dropped. Take the photo again."
                )
            return self._uploads[image]

    def __contains__(self, image: object) -> bool:
        return image in self._uploads

    def __len__(self) -> int:
        return len(self._uploads)

    def all(self) -> list[Upload]:
        """Return all pictures, the oldest first."""
        with self._lock:
            return list(self._uploads.values())


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise ProtocolError(
            "too_large",
            f"The picture has {width} x {height} pixels; at most {MOST_PIXELS // 10**6} million are taken. "
            "Save it smaller.",
        )


def _decoded(contents: bytes, name: str) -> Image.Image:
    """Return the picture of a file; its size is looked at before any pixel is decoded.

    Raises:
        ProtocolError: the picture has too many pixels (``too_large``), or cannot be read (``bad_request``).
    """
    try:
        with open_image(io.BytesIO(contents)) as image:
            if image.format not in FORMATS:
                raise ProtocolError("bad_request", f"{name} is a {image.format} file. Choose a JPEG or PNG file.")
            _check_size(*image.size)
            picture = upright(image)
            picture.load()
            return picture
    except Image.DecompressionBombError as error:
        raise ProtocolError("too_large", f"{name} cannot be read: {reason(error)}.") from None
    except ProtocolError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ... for broken files
        raise ProtocolError(
            "bad_request", f"{name} is no picture that can be read: {reason(error)}. Choose a JPEG or PNG file."
        ) from None
