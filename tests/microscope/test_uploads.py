"""Pictures that people bring: read upright, refused when they are none or too large, bounded in number and bytes."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.data import Preprocess
from cnnlab.errors import ProtocolError, UnknownNameError
from cnnlab.microscope import pictures
from cnnlab.microscope.pictures import MOST_ADDED, Pictures, picture_of
from cnnlab.microscope.uploads import read_upload
from cnnlab.runs.classifier import Classifier

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def bomb(side: int) -> np.ndarray:
    """Return a PNG file of a few bytes that claims to have side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return np.frombuffer(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""), np.uint8)


def read(file: np.ndarray) -> Image.Image:
    return read_upload(file.tobytes(), "photo")


def test_a_file_comes_back_as_its_picture() -> None:
    assert np.array_equal(np.asarray(read(file_of(Image.fromarray(PIXELS)))), PIXELS)


def test_a_photo_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read(file_of(Image.fromarray(PIXELS), exif=exif)).size == (4, 6)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"\xff\xd8\xff", file_of(Image.fromarray(PIXELS)).tobytes()[:-34], b"<svg></svg>",
     file_of(Image.fromarray(PIXELS), "EPS").tobytes()],
    ids=["nothing", "text", "start of a JPEG", "cut off", "SVG", "EPS"],
)  # fmt: skip
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_upload(data, "photo")
    assert caught.value.kind == "bad_request"
    assert "Choose a JPEG or PNG file." in str(caught.value)


@pytest.mark.parametrize("side", [8_001, 12_000, 60_000])
def test_a_picture_bomb_is_refused_quickly_and_cheaply(side: int) -> None:
    file = bomb(side)
    tracemalloc.start()
    with pytest.raises(ProtocolError) as caught:
        read(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.kind == "too_large"
    assert peak < 2**20  # nothing was decoded


@pytest.fixture
def classifier() -> Classifier:
    return Classifier("none", "none", torch.nn.Identity(), Preprocess(8, 1, (0.0,), (1.0,)), ["a"])


def test_a_transparent_picture_lies_on_white_as_in_predictions(classifier: Classifier, tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3] = 255  # black above, nothing below
    (tmp_path / "half.png").write_bytes(file_of(Image.fromarray(pixels)).tobytes())
    on_disk = picture_of("half.png", tmp_path / "half.png")
    images = Pictures([on_disk])
    uploaded = images.add("half.png", (tmp_path / "half.png").read_bytes(), classifier)
    predicted = classifier.input(tmp_path / "half.png")[None]  # what predict and explain take
    assert predicted[0, 0].tolist() == [[0.0] * 8] * 4 + [[1.0] * 8] * 4
    for picture in (on_disk, uploaded):
        assert torch.equal(images.views(0, classifier, picture.id)[0], predicted)


def test_the_oldest_of_the_images_that_people_added_are_dropped(classifier: Classifier) -> None:
    first = picture_of("first", np.zeros((2, 2, 1), np.uint8))
    images = Pictures([first])
    ids = [images.add("drawn", np.full((2, 2, 1), i + 1, np.uint8), classifier).id for i in range(MOST_ADDED + 2)]
    assert images.get(first.id).name == "first"
    assert images.get(ids[2]).id == ids[2]
    with pytest.raises(UnknownNameError):
        images.get(ids[1])


def test_the_bytes_of_added_images_are_bounded(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 100)
    images = Pictures([picture_of("first", np.zeros((2, 2, 1), np.uint8))])
    one, two = (images.add("drawn", np.full((8, 8, 1), i, np.uint8), classifier).id for i in (1, 2))
    assert images.get(two).id == two
    with pytest.raises(UnknownNameError):
        images.get(one)


# What is cropped already ---------------------------------------------------------------------------------------------


def cropping(size: int, fraction: float = 0.875) -> Classifier:
    preprocess = Preprocess(size, 3, (0.5,) * 3, (0.25,) * 3, resize="crop", crop_fraction=fraction)
    return Classifier("crops", "crops", torch.nn.Identity(), preprocess, ["a"])


def slopes() -> np.ndarray:
    """Return a photo whose channels rise evenly: resizing it twice gives what resizing it once gives."""
    down, right = np.meshgrid(np.linspace(0, 255, 300), np.linspace(0, 255, 400), indexing="ij")
    return np.stack([down, right, (down + right) / 2], 2).round().astype(np.uint8)


@pytest.mark.parametrize(("size", "most"), [(32, 0.0), (96, 1.01)])  # small images are painted pixel by pixel
def test_what_is_painted_over_a_cropped_photo_enters_the_network_whole(size: int, most: float) -> None:
    classifier, photo = cropping(size), picture_of("slopes", slopes())
    images = Pictures([photo])
    taken, board = images.views(0, classifier, photo.id)
    untouched = images.add("painted", board, classifier, cropped=True)
    again, shown = images.views(0, classifier, untouched.id)
    assert float((again - taken).abs().max()) * 0.25 * 255 <= most  # levels of 8 bits
    np.testing.assert_array_equal(shown, board)
    board = board.copy()
    board[: len(board) // 16] = 0  # a stroke along the border
    painted, shown = images.views(0, classifier, images.add("painted", board, classifier, cropped=True).id)
    assert (painted[0, :, 0] == -2).all()
    np.testing.assert_array_equal(shown, board)


def test_a_photo_of_the_same_pixels_is_cropped() -> None:
    classifier, images = cropping(32), Pictures([picture_of("slopes", slopes())])
    board = images.views(0, classifier, next(iter(images.first)))[1]
    painted, photo = images.add("painted", board, classifier, cropped=True), images.add("photo", board, classifier)
    assert painted.id != photo.id
    assert torch.equal(images.views(0, classifier, photo.id)[0][0], classifier.input(board))


def test_of_what_is_painted_each_of_two_networks_crops_what_the_first_has_not() -> None:
    one, two = cropping(32, 1.0), cropping(32, 0.875)
    photo = picture_of("slopes", slopes())
    images = Pictures([photo])
    board = images.views(0, one, photo.id)[1]
    painted = images.add("painted", board, one, cropped=True)
    assert torch.equal(images.views(1, two, painted.id)[0][0], two.input(board))
    images = Pictures([photo])
    board = images.views(0, two, photo.id)[1]
    painted = images.add("painted", board, two, cropped=True)
    assert torch.equal(images.views(1, one, painted.id)[0][0], one.input(board))
