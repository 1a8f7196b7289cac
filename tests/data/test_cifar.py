"""The CIFAR readers against made-up copies of every format, written by the test."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnnlab.data.readers import cifar
from cnnlab.data.readers.cifar import (
    CIFAR10,
    CIFAR100,
    CifarFormat,
    find_cifar,
    parse_binary,
    parse_python,
    read_cifar,
    save_arrays,
    unpickle,
)
from cnnlab.errors import DataError
from cnnlab.files import cache_dir

NAMES = {10: [f"class{i}" for i in range(10)], 100: [f"fine_{i}" for i in range(100)]}
LAYOUTS = pytest.mark.parametrize("format", [CIFAR10, CIFAR100], ids=["cifar10", "cifar100"])
PER_BATCH = 4
files = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CNNLAB_CACHE", str(cache))


def batches(format: CifarFormat) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Random rows (N, 3072) and labels (N,) for each batch of the data set."""
    rng = np.random.default_rng(0)
    names = [*format.train, format.test]
    return {
        name: (rng.integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8), rng.integers(0, format.classes, PER_BATCH))
        for name in names
    }


def binary(rows: np.ndarray, labels: np.ndarray, format: CifarFormat) -> bytes:
    coarse = bytes([7]) if format.label_bytes == 2 else b""
    return b"".join(coarse + bytes([label]) + row.tobytes() for row, label in zip(rows, labels, strict=True))


def python(
    rows: np.ndarray, labels: np.ndarray, format: CifarFormat, protocol: int = 2, as_bytes: bool = True
) -> bytes:
    batch: dict[str, Any] = {"data": rows, format.labels_key: labels.tolist(), "batch_label": "some batch"}
    return pickle.dumps({k.encode() if as_bytes else k: v for k, v in batch.items()}, protocol=protocol)


def write_binary(folder: Path, format: CifarFormat, pack: Callable[[bytes], bytes] = bytes, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (rows, labels) in batches(format).items():
        (folder / f"{name}.bin{suffix}").write_bytes(pack(binary(rows, labels, format)))
    (folder / format.names_text).write_text("\n".join(NAMES[format.classes]) + "\n\n")


def write_python(folder: Path, format: CifarFormat, **options: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (rows, labels) in batches(format).items():
        (folder / name).write_bytes(python(rows, labels, format, **options))
    (folder / format.meta).write_bytes(pickle.dumps({format.names_key: NAMES[format.classes]}, protocol=2))


def write_archive(path: Path, source: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(source, arcname=source.name)


def check(place: Path, format: CifarFormat) -> None:
    written = batches(format)
    (train_images, train_labels), (test_images, test_labels), classes = read_cifar(place, format)
    rows = np.concatenate([written[name][0] for name in format.train])
    np.testing.assert_array_equal(train_images, rows.reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(train_labels, np.concatenate([written[name][1] for name in format.train]))
    np.testing.assert_array_equal(test_images.reshape(PER_BATCH, -1), written[format.test][0])
    np.testing.assert_array_equal(test_labels, written[format.test][1])
    assert train_labels.dtype == np.int64
    assert classes == NAMES[format.classes]


@LAYOUTS
@pytest.mark.parametrize(
    ("pack", "suffix"), [(bytes, ""), (lzma.compress, ".xz"), (gzip.compress, ".gz")], ids=["bin", "xz", "gz"]
)
def test_binary_batches(tmp_path: Path, format: CifarFormat, pack: Callable[[bytes], bytes], suffix: str) -> None:
    write_binary(tmp_path, format, pack, suffix)
    assert find_cifar(tmp_path, format) == tmp_path
    check(tmp_path, format)


@LAYOUTS
@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("as_bytes", [True, False], ids=["bytes", "str"])
def test_python_batches(tmp_path: Path, format: CifarFormat, protocol: int, as_bytes: bool) -> None:
    write_python(tmp_path, format, protocol=protocol, as_bytes=as_bytes)
    check(tmp_path, format)


@LAYOUTS
@pytest.mark.parametrize("kind", [0, 1], ids=["python", "binary"])
def test_archives(tmp_path: Path, format: CifarFormat, kind: int) -> None:
    source = tmp_path / "source" / format.folders[kind]
    (write_python, write_binary)[kind](source, format)
    write_archive(tmp_path / format.archives[kind], source)
    assert find_cifar(tmp_path, format) == tmp_path / format.archives[kind]
    check(tmp_path / format.archives[kind], format)


def test_python_2_pickle() -> None:
    """Python 2 wrote keys and the array's bytes as 8-bit strings: the opcodes by hand, as in the official files."""
    row = bytes(range(256)) * 12

    def text(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value  # BINSTRING

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"  # an empty array
        b"(K\x01(K\x01M\x00\x0ct"  # its state: version 1, shape (1, 3072),
        b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR"  # dtype("u1", 0, 1)
        b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"  # with its own state,
        b"\x89" + text(row) + b"tb"  # not in Fortran order, the values
    )
    content = b"\x80\x02}(" + text(b"data") + array + text(b"labels") + b"](K\x07eu."
    images, labels = parse_python(content, "data_batch_1", CIFAR10)
    assert images.reshape(-1).tobytes() == row
    assert labels.tolist() == [7]


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_both_spellings_of_numpy(module: str) -> None:
    rows, labels = batches(CIFAR10)["test_batch"]
    content = python(rows, labels, CIFAR10)
    assert b"multiarray" in content
    for spelling in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        content = content.replace(spelling, module.encode())
    np.testing.assert_array_equal(parse_python(content, "b", CIFAR10)[1], labels)


class Evil:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "system"), (eval, "eval"), (getattr, "getattr"), (np.load, "load"), (np.fromfile, "fromfile")],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_wants_more_is_refused_by_name(
    tmp_path: Path, function: Callable[..., Any], name: str, protocol: int
) -> None:
    target = tmp_path / "made"
    content = pickle.dumps({"data": Evil(function, f"touch {target}")}, protocol=protocol)
    with pytest.raises(DataError, match=rf"data_batch_1 is refused: it asks for [\w.]*\.{name}\b"):
        unpickle(content, "data_batch_1")
    assert not target.exists()


@LAYOUTS
@files
@given(data=st.data())
def test_a_truncated_pickle_is_a_data_error(format: CifarFormat, data: st.DataObject) -> None:
    content = python(*batches(format)[format.test], format)
    with pytest.raises(DataError, match=r"^test"):
        parse_python(content[: data.draw(st.integers(0, len(content) - 1))], "test", format)


def test_a_huge_memo_number_takes_no_memory() -> None:
    """The C unpickler would reserve 32 GiB for these ten bytes."""
    assert unpickle(b"\x80\x02}r\xff\xff\xff\x7f.", "test") == {}


@files
@given(content=st.binary(max_size=40))
def test_any_bytes_are_no_pickle_batch(content: bytes) -> None:
    with pytest.raises(DataError):
        parse_python(content, "test", CIFAR10)


@files
@given(data=st.data())
def test_a_damaged_pickle_never_raises_anything_else(data: st.DataObject) -> None:
    content = bytearray(python(*batches(CIFAR10)["test_batch"], CIFAR10))
    position = data.draw(st.integers(0, 200) | st.integers(len(content) - 80, len(content) - 1))
    content[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        assert parse_python(bytes(content), "test", CIFAR10)[0].shape == (PER_BATCH, 3, 32, 32)


@LAYOUTS
@files
@given(data=st.data())
def test_binary_round_trip_and_truncation(format: CifarFormat, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 3))
    rows = data.draw(hnp.arrays(np.uint8, (count, 3072), elements=st.integers(0, 255), fill=st.integers(0, 255)))
    labels = np.array(data.draw(st.lists(st.integers(0, format.classes - 1), min_size=count, max_size=count)))
    content = binary(rows, labels, format)
    images, read = parse_binary(content, "b", format)
    np.testing.assert_array_equal(images.reshape(count, -1), rows)
    np.testing.assert_array_equal(read, labels)
    cut = data.draw(st.integers(0, len(content) - 1))
    if cut == 0 or cut % (format.label_bytes + 3072):
        with pytest.raises(DataError, match="truncated"):
            parse_binary(content[:cut], "b", format)


@files
@given(data=st.data())
def test_a_truncated_archive_is_a_data_error(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    if not path.exists():
        write_binary(tmp_path / "cifar-10-batches-bin", CIFAR10)
        write_archive(path, tmp_path / "cifar-10-batches-bin")
    content = path.read_bytes()
    part = tmp_path / "part.tar.gz"
    # The last 8 bytes are gzip's checksum, the two blocks before them are tar's end marker.
    part.write_bytes(content[: data.draw(st.integers(0, int(0.9 * len(content))))])
    with pytest.raises(DataError):
        read_cifar(part, CIFAR10)


@pytest.mark.parametrize("suffix", [".xz", ".gz"])
def test_a_truncated_compressed_batch_is_a_data_error(tmp_path: Path, suffix: str) -> None:
    pack: Callable[[bytes], bytes] = lzma.compress if suffix == ".xz" else gzip.compress
    write_binary(tmp_path, CIFAR10, pack, suffix)
    path = tmp_path / f"data_batch_3.bin{suffix}"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"data_batch_3.bin{suffix} cannot be read"):
        read_cifar(tmp_path, CIFAR10)


def test_wrong_content_is_named(tmp_path: Path) -> None:
    write_python(tmp_path, CIFAR10)
    rows, labels = batches(CIFAR10)["test_batch"]
    path = tmp_path / "test_batch"

    def refused(content: bytes, message: str) -> None:
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_cifar(tmp_path, CIFAR10)

    refused(python(rows, labels * 0 + 10, CIFAR10), "label 10 at position 0 is out of range, expected 0..9")
    refused(python(rows, labels * 0 - 1, CIFAR10), "label -1 at position 0")
    refused(python(rows, labels[:-1], CIFAR10), "4 images but labels of shape")
    refused(python(rows[:, :-1], labels, CIFAR10), "no uint8 array")
    refused(python(rows.astype(np.float32), labels, CIFAR10), "no uint8 array")
    refused(python(rows, labels, CIFAR100), 'no "labels"')
    refused(pickle.dumps([1, 2]), "holds a list")
    path.unlink()
    with pytest.raises(DataError, match="incomplete: no test_batch"):
        read_cifar(tmp_path, CIFAR10)


def test_binary_label_of_the_other_data_set(tmp_path: Path) -> None:
    write_binary(tmp_path, CIFAR10)
    rows, labels = batches(CIFAR10)["test_batch"]
    (tmp_path / "test_batch.bin").write_bytes(binary(rows, labels * 0 + 99, CIFAR10))
    with pytest.raises(DataError, match=r"label 99 .* Is it a batch of CIFAR-100"):
        read_cifar(tmp_path, CIFAR10)


def test_class_names_must_be_complete(tmp_path: Path) -> None:
    write_binary(tmp_path, CIFAR10)
    (tmp_path / "batches.meta.txt").write_text("cat dog")
    with pytest.raises(DataError, match="names 2 classes, expected 10"):
        read_cifar(tmp_path, CIFAR10)
    (tmp_path / "batches.meta.txt").unlink()
    assert read_cifar(tmp_path, CIFAR10)[2] == []


def test_a_folder_of_photos_is_not_taken_for_cifar100(tmp_path: Path) -> None:
    (tmp_path / "train" / "ants").mkdir(parents=True)
    (tmp_path / "test" / "ants").mkdir(parents=True)
    assert find_cifar(tmp_path, CIFAR100) is None


def test_decoded_cache_is_used_and_notices_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_binary(tmp_path, CIFAR10, lzma.compress, ".xz")
    check(tmp_path, CIFAR10)
    entries = list((cache_dir() / "decoded").iterdir())
    assert len(entries) == 1
    with monkeypatch.context() as patch:
        patch.setattr(cifar, "parse_binary", lambda *_: pytest.fail("decoded again"))
        check(tmp_path, CIFAR10)

    rows, labels = batches(CIFAR10)["test_batch"]
    changed = (labels + 1) % 10
    (tmp_path / "test_batch.bin.xz").write_bytes(lzma.compress(binary(rows, changed, CIFAR10)))
    np.testing.assert_array_equal(read_cifar(tmp_path, CIFAR10)[1][1], changed)


def test_a_damaged_or_unwritable_cache_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_binary(tmp_path, CIFAR10, lzma.compress, ".xz")
    check(tmp_path, CIFAR10)
    (entry,) = (cache_dir() / "decoded").iterdir()
    entry.write_bytes(entry.read_bytes()[:1000])
    check(tmp_path, CIFAR10)

    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("CNNLAB_CACHE", str(blocked))
    check(tmp_path, CIFAR10)


def test_decoded_cache_leaves_no_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"x")

    def full(stream: io.BufferedWriter, *arrays: np.ndarray) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    save_arrays([source], [np.zeros(3)])
    assert list((cache_dir() / "decoded").iterdir()) == []
