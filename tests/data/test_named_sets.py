"""Looking for data sets on the machine, and downloading them from a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from pathlib import Path

import pytest

from cnnlab.data import load_data
from cnnlab.data.datasets import cifar10, fashion_mnist, mnist
from cnnlab.data.named_sets import Search
from cnnlab.data.readers import cifar
from cnnlab.data.readers.idx import FILES
from cnnlab.errors import DataError, DataNotFoundError
from tests.file_server import FileServer


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no CNNLAB_DATA, no package of the system."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CNNLAB_CACHE", str(folder))
    monkeypatch.delenv("CNNLAB_DATA", raising=False)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", str(tmp_path / "no such package"))
    return folder


def write_idx_files(folder: Path, count: int = 20) -> list[str]:
    """Write four .gz files in MNIST's format; return their MD5 sums."""
    folder.mkdir(parents=True, exist_ok=True)
    sums = []
    for file in FILES:
        size = count if "train" in file else count // 2
        labels = bytes(i % 10 for i in range(size))
        head = struct.pack(">HBBI", 0, 8, 1, size)
        if "images" in file:
            head, labels = struct.pack(">HBBIII", 0, 8, 3, size, 28, 28), bytes(size * 784)
        content = gzip.compress(head + labels, mtime=0)
        (folder / f"{file}.gz").write_bytes(content)
        sums.append(hashlib.md5(content).hexdigest())
    return sums


def test_order_of_places(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = (tmp_path / letter for letter in "abc")
    a.mkdir()
    monkeypatch.setenv("CNNLAB_DATA", f"{b}:{c}:")
    with pytest.raises(DataNotFoundError) as caught:
        Search("mnist", a, download=False).files(lambda _: None, [], ["MNIST/raw"], ["/usr/share/x"])
    searched = [Path(path) for path in str(caught.value).partition("Looked in: ")[2].partition(".\n")[0].split(", ")]
    roots = (a, b, c, Path("/usr/share/x"))
    assert searched[:16] == [r / sub for r in roots for sub in ("", "mnist", "MNIST/raw", "mnist/MNIST/raw")]
    assert searched[16:] == [cache / "data" / "mnist", cache / "data" / "mnist" / "MNIST/raw"]


@pytest.mark.parametrize("sub", ["", "mnist", "MNIST/raw", "mnist/raw"])
def test_found_in_data_dir(tmp_path: Path, sub: str) -> None:
    write_idx_files(tmp_path / "root" / sub)
    data = load_data("mnist", data_dir=tmp_path / "root", download=False)
    assert (len(data.train), len(data.test or [])) == (20, 10)
    assert data.source == str(tmp_path / "root" / sub)
    assert data.notes[0] == "10 classes, train 20, no val, test 10"


def test_data_dir_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, count in (("first", 20), ("second", 40), ("third", 60)):
        write_idx_files(tmp_path / folder, count)
    monkeypatch.setenv("CNNLAB_DATA", f"{tmp_path / 'missing'}:{tmp_path / 'second'}:{tmp_path / 'third'}")
    assert len(load_data("mnist", download=False).train) == 40
    assert len(load_data("mnist", data_dir=tmp_path / "first", download=False).train) == 20
    # One set of files serves for both, so it is found by folder name as well as by file name.
    assert len(load_data("fashion_mnist", download=False).train) == 40


def test_found_where_debian_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx_files(tmp_path / "usr")
    monkeypatch.setattr(fashion_mnist, "DEBIAN", str(tmp_path / "usr"))
    assert load_data("fashion_mnist", download=False).source == str(tmp_path / "usr")


def test_unpacked_files_with_dots(tmp_path: Path) -> None:
    write_idx_files(tmp_path)
    for file in FILES:
        packed = tmp_path / f"{file}.gz"
        (tmp_path / file.replace("-idx", ".idx")).write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    assert len(load_data("mnist", data_dir=tmp_path, download=False).train) == 20


def test_data_dir_must_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'"\S*typo" is not there'):
        load_data("mnist", data_dir=tmp_path / "typo")


def test_download(server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "URLS", (server.url,))
    monkeypatch.setattr(mnist, "MD5", tuple(write_idx_files(server.folder)))
    data = load_data("mnist")
    assert len(data.train) == 20
    assert data.source == str(cache / "data" / "mnist")
    assert server.asked == [f"/{file}.gz" for file in FILES]
    # The second time nothing is asked for; and one missing file is fetched alone.
    load_data("mnist")
    assert len(server.asked) == 4
    (cache / "data" / "mnist" / f"{FILES[3]}.gz").unlink()
    load_data("mnist")
    assert server.asked[4:] == [f"/{FILES[3]}.gz"]


def test_download_of_an_archive(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = server.folder / cifar.CIFAR10.archives[0]
    with tarfile.open(path, "w:gz") as archive:
        for name in (*cifar.CIFAR10.train, cifar.CIFAR10.test):
            content = bytes([3]) + bytes(3072)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(cifar10, "URL", server.url)
    monkeypatch.setattr(cifar10, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
    data = load_data("cifar10")
    assert data.train.labels.tolist() == [3] * 5
    assert data.classes[3] == "cat"


def test_wrong_checksum_leaves_nothing_behind(server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = write_idx_files(server.folder)
    monkeypatch.setattr(mnist, "URLS", (server.url,))
    monkeypatch.setattr(mnist, "MD5", (sums[0], "0" * 32, *sums[2:]))
    with pytest.raises(
        DataNotFoundError,
        match=f"{FILES[1]}.gz: what came is not the file, its MD5 checksum begins with .* not with 0000",
    ) as caught:
        load_data("mnist")
    assert "digits, mnist5k" in str(caught.value)
    assert [path.name for path in (cache / "data" / "mnist").iterdir()] == [f"{FILES[0]}.gz"]


def test_error_of_the_server(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "URLS", (server.url,))
    with pytest.raises(DataNotFoundError, match="404"):
        load_data("mnist")


def test_connection_refused_says_what_to_do(
    server: FileServer, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        monkeypatch.setattr(cifar10, "URL", url)
        monkeypatch.setenv("CNNLAB_DATA", str(tmp_path / "elsewhere"))
        with pytest.raises(DataNotFoundError) as caught:
            load_data("cifar10")
    message = str(caught.value)
    assert f"{url}cifar-10-python.tar.gz: connection refused" in message
    assert f"put it into {cache / 'data' / 'cifar10'}" in message
    assert str(tmp_path / "elsewhere" / "cifar-10-batches-py") in message
    assert "need no download: digits, mnist5k." in message


def test_not_downloaded_when_not_asked_for(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "URLS", (server.url,))
    with pytest.raises(DataNotFoundError, match="downloading was not asked for"):
        load_data("mnist", download=False)
    assert server.asked == []
