"""Pictures that people bring: read upright, refused when they are none or too large, bounded in number and bytes."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnlab.errors import ProtocolError
from cnnlab.microscope.protocol import complete
from cnnlab.microscope.uploads import Uploads

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def request(**fields: Any) -> dict[str, Any]:
    return complete("add_image", name="photo", **fields)


def bomb(side: int) -> np.ndarray:
    """Return a PNG file of a few bytes that claims to have side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return np.frombuffer(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""), np.uint8)


def test_a_file_comes_back_as_its_picture_and_has_an_id_of_its_contents() -> None:
    uploads = Uploads()
    file = file_of(Image.fromarray(PIXELS))
    upload = uploads.add(request(file=file))
    assert uploads.add(request(file=file)).id == upload.id
    assert len(uploads) == 1
    assert upload.id in uploads
    assert np.array_equal(np.asarray(uploads[upload.id].picture()), PIXELS)


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[..., :1]], ids=["colour", "grey"])
def test_pixels_come_back(pixels: np.ndarray) -> None:
    upload = Uploads().add(request(pixels=pixels))
    assert np.array_equal(np.atleast_3d(np.asarray(upload.picture())), pixels)


def test_the_same_bytes_in_another_shape_are_another_image() -> None:
    uploads = Uploads()
    assert uploads.add(request(pixels=PIXELS)).id != uploads.add(request(pixels=PIXELS.reshape(6, 4, 3))).id


def test_a_photo_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upload = Uploads().add(request(file=file_of(Image.fromarray(PIXELS), exif=exif)))
    assert upload.picture().size == (4, 6)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"\xff\xd8\xff", file_of(Image.fromarray(PIXELS)).tobytes()[:-34], b"<svg></svg>",
     file_of(Image.fromarray(PIXELS), "EPS").tobytes()],
    ids=["nothing", "text", "start of a JPEG", "cut off", "SVG", "EPS"],
)  # fmt: skip
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        Uploads().add({"name": "photo", "file": np.frombuffer(data, np.uint8)})
    assert caught.value.kind == "bad_request"
    assert "Choose a JPEG or PNG file." in str(caught.value)


@pytest.mark.parametrize("side", [8_001, 12_000, 60_000])
def test_a_picture_bomb_is_refused_quickly_and_cheaply(side: int) -> None:
    file = bomb(side)
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(ProtocolError) as caught:
        Uploads().add(request(file=file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.kind == "too_large"
    assert time.perf_counter() - began < 1
    assert peak < 2**20


def test_the_oldest_are_dropped() -> None:
    uploads = Uploads(most_images=3)
    ids = [uploads.add(request(pixels=np.full((2, 2, 1), i, np.uint8))).id for i in range(5)]
    assert [upload.id for upload in uploads.all()] == ids[2:]
    with pytest.raises(ProtocolError, match="the oldest are dropped") as caught:
        uploads[ids[0]]
    assert caught.value.kind == "not_found"


def test_the_bytes_of_all_pictures_are_bounded() -> None:
    uploads = Uploads(most_bytes=100)
    first, second = (uploads.add(request(pixels=np.full((8, 8, 1), i, np.uint8))) for i in range(2))
    assert (first.id in uploads, second.id in uploads) == (False, True)
    with pytest.raises(ProtocolError, match="at most 100 can be kept"):
        uploads.add(request(pixels=np.zeros((11, 11, 1), np.uint8)))
