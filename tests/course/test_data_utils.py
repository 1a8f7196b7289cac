"""The data sets of the assignments, from the course's own files and from what cnnlab finds."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.course.cs231n.data_utils import (
    get_CIFAR10_data,
    load_CIFAR10,
    load_CIFAR_batch,
    load_imagenet_val,
    load_tiny_imagenet,
)
from cnnlab.errors import DataError, DataNotFoundError
from tests.course.helpers_course import write_cifar10, write_imagenet_val


@pytest.fixture
def notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which notebooks run; nothing is known from elsewhere."""
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CNNLAB_DATA", raising=False)
    folder = tmp_path / "assignment1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


class TestCifar10:
    def test_the_course_s_layout(self, notebooks: Path) -> None:
        path = write_cifar10(notebooks / "cs231n" / "datasets", 20)
        X_train, y_train, X_test, y_test = load_CIFAR10("cs231n/datasets/cifar-10-batches-py")
        assert X_train.shape == (100, 32, 32, 3)
        assert X_train.dtype == np.float64
        assert y_train.shape == (100,)
        assert X_test.shape == (20, 32, 32, 3)
        assert y_test.shape == (20,)
        stored = pickle.loads((path / "data_batch_2").read_bytes(), encoding="bytes")  # written by this test
        np.testing.assert_array_equal(X_train[20], stored[b"data"][0].reshape(3, 32, 32).transpose(1, 2, 0))
        assert y_train[20:40].tolist() == stored[b"labels"]
        X, Y = load_CIFAR_batch(path / "data_batch_2")
        np.testing.assert_array_equal(X, X_train[20:40])
        np.testing.assert_array_equal(Y, y_train[20:40])

    def test_what_cnnlab_finds(self, notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_cifar10(tmp_path / "data", 20)
        monkeypatch.setenv("CNNLAB_DATA", str(tmp_path / "data"))
        assert load_CIFAR10("cs231n/datasets/cifar-10-batches-py")[0].shape == (100, 32, 32, 3)

    def test_divided_as_in_assignment_2(self, notebooks: Path) -> None:
        write_cifar10(notebooks / "cs231n" / "datasets", 20)
        X_train, y_train, X_test, _ = load_CIFAR10("cs231n/datasets/cifar-10-batches-py")
        data = get_CIFAR10_data(num_training=50, num_validation=10, num_test=5)
        shapes = {name: value.shape for name, value in data.items()}
        assert shapes == {
            "X_train": (50, 3, 32, 32), "y_train": (50,), "X_val": (10, 3, 32, 32), "y_val": (10,),
            "X_test": (5, 3, 32, 32), "y_test": (5,),
        }  # fmt: skip
        np.testing.assert_allclose(data["X_train"].mean(axis=0), 0, atol=1e-10)
        mean = X_train[:50].mean(axis=0)
        np.testing.assert_allclose(data["X_val"][3], (X_train[53] - mean).transpose(2, 0, 1))
        np.testing.assert_array_equal(data["y_val"], y_train[50:60])
        raw = get_CIFAR10_data(50, 10, 5, subtract_mean=False)
        np.testing.assert_array_equal(raw["X_test"], X_test[:5].transpose(0, 3, 1, 2))
        with pytest.raises(DataError, match="Ask for fewer"):
            get_CIFAR10_data()

    def test_a_batch_that_is_missing_is_named(self, notebooks: Path) -> None:
        with pytest.raises(DataNotFoundError, match="data_batch_9"):
            load_CIFAR_batch("data_batch_9")

    def test_a_pickle_that_runs_code_is_refused(self, notebooks: Path) -> None:
        path = write_cifar10(notebooks, 20) / "data_batch_1"
        path.write_bytes(pickle.dumps(print))
        with pytest.raises(DataError, match="refused"):
            load_CIFAR_batch(path)

    @pytest.mark.slow
    def test_the_real_one(self, real_data: Path, notebooks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CNNLAB_DATA", str(real_data))
        data = get_CIFAR10_data()
        assert data["X_train"].shape == (49000, 3, 32, 32)
        assert data["X_val"].shape == data["X_test"].shape == (1000, 3, 32, 32)


class TestTinyImageNet:
    def write(self, folder: Path) -> Path:
        (folder / "tiny").mkdir(parents=True)
        path = folder / "tiny"
        (path / "wnids.txt").write_text("n02\nn01\n")
        (path / "words.txt").write_text("n01\ttench, Tinca tinca\nn02\tgoldfish\nn03\tshark\n")
        for wnid, grey in (("n01", 10), ("n02", 20)):
            (path / "train" / wnid / "images").mkdir(parents=True)
            for number in range(2):
                image = Image.new("RGB", (64, 64), (grey, grey, grey))
                image.save(path / "train" / wnid / "images" / f"{wnid}_{number}.JPEG")
        for split in ("val", "test"):
            (path / split / "images").mkdir(parents=True)
            Image.new("L", (64, 64), 40).save(path / split / "images" / f"{split}_0.JPEG")
        (path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn01\t0\t0\t63\t63\n")
        return path

    def test_the_dictionary(self, notebooks: Path) -> None:
        data = load_tiny_imagenet(self.write(notebooks / "cs231n" / "datasets"), subtract_mean=False)
        assert data["class_names"] == [["goldfish"], ["tench", "Tinca tinca"]]
        assert data["y_train"].tolist() == [0, 0, 1, 1]
        np.testing.assert_allclose(data["X_train"][:, 0, 5, 5], [20, 20, 10, 10], atol=2)
        np.testing.assert_allclose(data["mean_image"], 15, atol=2)
        assert data["X_val"].shape == data["X_test"].shape == (1, 3, 64, 64)
        assert data["y_val"].tolist() == [1]
        assert data["y_test"] is None

    def test_the_mean_is_subtracted(self, notebooks: Path) -> None:
        path = self.write(notebooks)
        data = load_tiny_imagenet(str(path), dtype=np.float64)
        np.testing.assert_allclose(data["X_train"].mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(data["X_val"], 40 - data["mean_image"][None], atol=2)

    def test_a_missing_folder_or_file_is_named(self, notebooks: Path) -> None:
        with pytest.raises(DataNotFoundError, match="tiny-imagenet-100-A"):
            load_tiny_imagenet("cs231n/datasets/tiny-imagenet-100-A")
        path = self.write(notebooks)
        (path / "words.txt").unlink()
        with pytest.raises(DataNotFoundError, match="words"):
            load_tiny_imagenet(path)


class TestImageNetVal:
    def test_images_labels_and_names(self, notebooks: Path) -> None:
        write_imagenet_val(notebooks / "cs231n" / "datasets", size=8)
        X, y, class_names = load_imagenet_val(num=3)
        assert X.shape == (3, 8, 8, 3)
        assert X.dtype == np.uint8
        assert [class_names[label] for label in y] == ["tench", "goldfish", "great white shark"]
        assert len(load_imagenet_val()[0]) == 5

    def test_the_real_one(self, real_data: Path, notebooks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CNNLAB_DATA", str(real_data / "imagenet"))
        X, y, class_names = load_imagenet_val(num=5)
        assert X.shape == (5, 224, 224, 3)
        assert [class_names[label] for label in y] == [
            "hay",
            "quail",
            "Tibetan mastiff",
            "Border terrier",
            "brown bear",
        ]

    def test_without_the_file_it_says_where_to_get_it(self, notebooks: Path) -> None:
        with pytest.raises(DataNotFoundError, match="stanford"):
            load_imagenet_val()
