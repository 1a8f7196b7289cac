"""The IDX reader against files that the test writes itself with struct."""

from __future__ import annotations

import contextlib
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnnlab.data.readers.idx import read_idx, read_idx_pair
from cnnlab.errors import DataError

files = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def idx_bytes(array: np.ndarray) -> bytes:
    """Write the format down independently of the reader: header byte by byte, then the values."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


@files
@given(array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)), compressed=st.booleans())
def test_round_trip(tmp_path: Path, array: np.ndarray, compressed: bool) -> None:
    content = idx_bytes(array)
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(gzip.compress(content) if compressed else content)
    np.testing.assert_array_equal(read_idx(path, 3), array)


@files
@given(data=st.data(), compressed=st.booleans())
def test_truncated_anywhere_is_a_data_error(tmp_path: Path, data: st.DataObject, compressed: bool) -> None:
    content = idx_bytes(np.arange(2 * 3 * 4).reshape(2, 3, 4))
    content = gzip.compress(content) if compressed else content
    path = tmp_path / "images"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(DataError, match="images"):
        read_idx(path, 3)


@files
@given(content=st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert read_idx(path, 1).ndim == 1


@files
@given(data=st.data())
def test_a_damaged_gzip_is_a_data_error_or_the_same_values(tmp_path: Path, data: st.DataObject) -> None:
    array = np.arange(60).reshape(3, 4, 5)
    content = bytearray(gzip.compress(idx_bytes(array)))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "images"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        np.testing.assert_array_equal(read_idx(path, 3), array)  # a flip in the header's time stamp does no harm


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is truncated: 0 bytes"),
        (b"\x00\x00\x08\x03\x00\x00", "truncated inside its header"),
        (idx_bytes(np.zeros((2, 2, 2)))[:-1], "is truncated: 7 values"),
        (idx_bytes(np.zeros((2, 2, 2))) + b"x", "has bytes too many"),
        (b"\x89PNG\r\n\x1a\n", r"not an IDX file.*89504e47.*00000803"),
        (b"\x00\x00\x0d\x03" + bytes(40), "not an IDX file of unsigned bytes"),
        (idx_bytes(np.zeros(5)), r"1 dimensions \(labels\), expected 3.*exchanged"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "none", 3)


def write_pair(folder: Path, images: np.ndarray, labels: np.ndarray) -> tuple[Path, Path]:
    (folder / "images").write_bytes(idx_bytes(images))
    (folder / "labels").write_bytes(idx_bytes(labels))
    return folder / "images", folder / "labels"


def test_pair(tmp_path: Path) -> None:
    images = np.arange(3 * 4 * 4).reshape(3, 4, 4)
    pixels, labels = read_idx_pair(*write_pair(tmp_path, images, np.array([2, 0, 1])), classes=3)
    assert pixels.dtype == np.uint8
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(pixels[:, 0], images)
    np.testing.assert_array_equal(labels, [2, 0, 1])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 4, 4)), np.zeros(2), "3 images but .* has 2 labels"),
        (np.zeros((3, 4, 4)), np.array([0, 9, 10]), r"label 10 at position 2 is out of range, expected 0..9"),
        (np.zeros((0, 4, 4)), np.zeros(0), "holds no image"),
    ],
)
def test_pair_that_does_not_fit(tmp_path: Path, images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_idx_pair(*write_pair(tmp_path, images, labels), classes=10)
