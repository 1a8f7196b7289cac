"""Folders of photos: every layout that people have, and every mistake they make."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.data import FileSplit, Loader, Preprocess, class_counts, load_data
from cnnlab.data.readers.folder import load_folder, natural_key
from cnnlab.errors import DataError, DataNotFoundError, UnknownNameError

SHARED = Path(os.environ.get("CNNLAB_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def put(root: Path, *files: str, size: tuple[int, int] = (8, 6), grey: bool = False) -> None:
    """Write a picture to each file."""
    for number, file in enumerate(files):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (size[1], size[0]) if grey else (size[1], size[0], 3)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)).save(path)


def photos(folder: str, count: int, suffix: str = "png") -> list[str]:
    return [f"{folder}/{i}.{suffix}" for i in range(count)]


class TestLayouts:
    @pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
    def test_split_folders(self, tmp_path: Path, val: str) -> None:
        put(
            tmp_path, *photos("train/cat", 3), *photos("train/dog", 2), *photos(f"{val}/cat", 1), *photos("test/dog", 2)
        )
        data = load_folder(tmp_path)
        assert data.classes == ["cat", "dog"]
        assert data.val is not None
        assert data.test is not None
        assert (len(data.train), len(data.val), len(data.test)) == (3 + 2, 1, 2)
        assert data.train.names == [*photos("train/cat", 3), *photos("train/dog", 2)]
        assert data.test.labels.tolist() == [1, 1]
        assert data.notes[0] == "folder of photos: 2 classes (cat 4, dog 4), train 5, val 1, test 2"
        assert "8x6 pixels" in data.notes[1]
        assert "val has no images of dog" in data.notes
        assert "test has no images of cat" in data.notes
        assert data.skipped == []
        assert data.name == tmp_path.name

    def test_train_and_test_without_val(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("train/a", 3), *photos("train/b", 3), *photos("test/a", 1), *photos("test/b", 1))
        data = load_folder(tmp_path)
        assert data.val is None
        assert "no val" in data.notes[0]
        assert len(data.with_validation(0.3, 0).train) == 4

    def test_flat_folder_is_divided_by_class_and_seed(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("a", 10), *photos("b", 5), *photos("c", 2), *photos("d", 1))
        data = load_folder(tmp_path, seed=1)
        assert data.val is not None
        assert class_counts(data.train, data.classes).tolist() == [8, 4, 1, 1]
        assert class_counts(data.val, data.classes).tolist() == [2, 1, 1, 0]
        assert data.train.names is not None
        assert data.val.names is not None
        assert len(set(data.train.names + data.val.names)) == 18
        again, other = load_folder(tmp_path, seed=1), load_folder(tmp_path, seed=2)
        assert again.split_rows() == data.split_rows()
        assert other.split_rows() != data.split_rows()
        assert any("seed 1" in note for note in data.notes)

    def test_a_class_may_be_called_test(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("test", 2), *photos("real", 2))
        assert load_folder(tmp_path).classes == ["real", "test"]

    def test_nested_files_and_natural_order(self, tmp_path: Path) -> None:
        put(
            tmp_path,
            *photos("10", 2),
            *photos("2/2020/may", 2),
            *photos("2/2021", 2),
            *photos("Ball", 2),
            *photos("an", 2),
        )
        data = load_folder(tmp_path)
        assert data.classes == ["2", "10", "an", "Ball"]
        assert class_counts(data.train, data.classes)[0] == 3

    def test_natural_key_orders_anything(self) -> None:
        names = ["b10", "b9", "B1", "10", "9", "a", "9a", "a9b2", "a9b10"]
        assert sorted(names, key=natural_key) == ["9", "9a", "10", "a", "a9b2", "a9b10", "B1", "b9", "b10"]

    def test_grey_photos(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("a", 2), *photos("b", 2), grey=True)
        data = load_folder(tmp_path)
        assert data.train.channels == 1
        assert data.train.size == (6, 8)
        assert "grey" in data.notes[1]

    def test_what_is_no_image_is_ignored_and_counted(self, tmp_path: Path) -> None:
        put(
            tmp_path,
            *photos("a", 2),
            *photos("b", 2, "JPG"),
            "loose.png",
            *photos("__MACOSX/a", 1),
            *photos(".git/x", 1),
        )
        (tmp_path / "a" / "._0.png").write_bytes(b"resource fork")
        (tmp_path / "a" / "Thumbs.db").write_bytes(b"x")
        (tmp_path / "b" / "notes.txt").write_text("x")
        (tmp_path / "readme.md").write_text("x")
        (tmp_path / "empty").mkdir()
        data = load_folder(tmp_path)
        assert data.classes == ["a", "b"]
        assert len(data.split_rows()) == 4
        assert "files that are no images, ignored: .md 1, .txt 1, hidden 2" in data.notes
        assert "images outside class folders, ignored: 1" in data.notes
        assert "folders without images, ignored: empty" in data.notes
        assert data.skipped == []

    def test_other_folders_beside_train_are_noted(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("train/a", 2), *photos("train/b", 2), *photos("drafts/a", 2), "test/1.png")
        data = load_folder(tmp_path)
        assert any("drafts" in note for note in data.notes)
        assert any("test has no class folders" in note for note in data.notes)
        assert data.test is None

    def test_linked_class_folder(self, tmp_path: Path) -> None:
        put(tmp_path / "elsewhere", *photos("x", 3))
        put(tmp_path / "data", *photos("a", 3))
        (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere" / "x", target_is_directory=True)
        assert load_folder(tmp_path / "data").classes == ["a", "b"]


class TestUnreadable:
    def test_broken_files_are_listed_and_left_out(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("train/a", 4, "jpg"), *photos("train/b", 3), *photos("val/a", 2), *photos("val/b", 2))
        cut = tmp_path / "train/a/1.jpg"
        cut.write_bytes(cut.read_bytes()[:-30])
        (tmp_path / "train/b/0.png").write_bytes(b"")
        (tmp_path / "val/a/1.png").write_text("hello")
        data = load_folder(tmp_path)
        assert [name for name, _ in data.skipped] == ["train/a/1.jpg", "train/b/0.png", "val/a/1.png"]
        assert "truncated" in data.skipped[0][1]
        assert "0 bytes" in data.skipped[1][1]
        assert len(data.train) == 5
        assert any("unreadable files, left out: 3" in note for note in data.notes)
        preprocess = Preprocess(4, 3, (0.5,) * 3, (0.5,) * 3)
        assert sum(len(batch) for batch in Loader(data.train, preprocess, 2, shuffle=True).epoch(0)) == 5

    def test_nothing_readable(self, tmp_path: Path) -> None:
        for name in ("a/1.png", "b/1.png"):
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).write_bytes(b"")
        with pytest.raises(DataError, match=r"no readable training image \(2 unreadable; the first: a/1\.png"):
            load_folder(tmp_path)

    def test_class_with_nothing_readable(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("a", 2), *photos("b", 2), *photos("c", 1))
        (tmp_path / "c/0.png").write_bytes(b"")
        data = load_folder(tmp_path)
        assert data.classes == ["a", "b"]
        assert "classes without a readable training image, left out: c" in data.notes


class TestMistakes:
    def test_extra_class_in_val_never_shifts_labels(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("train/b", 2), *photos("train/c", 2), *photos("val/a", 3), *photos("val/b", 1))
        with pytest.raises(DataError, match=r'val has 3 images of the class "a", which train does not have.*remove'):
            load_folder(tmp_path)

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataNotFoundError, match=r"no folder .*none"):
            load_folder(tmp_path / "none")

    def test_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no class folders with images.*Expected class folders"):
            load_folder(tmp_path)

    def test_images_without_class_folders(self, tmp_path: Path) -> None:
        put(tmp_path, "1.png", "2.png")
        with pytest.raises(DataError, match="2 images but no class folder"):
            load_folder(tmp_path)
        put(tmp_path, "train/1.png")
        with pytest.raises(DataError, match="in its train folder"):
            load_folder(tmp_path)

    def test_single_class(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("only", 3))
        with pytest.raises(DataError, match='a single class, "only"; a classifier needs at least two'):
            load_folder(tmp_path)

    def test_val_without_train(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("val/a", 2), *photos("val/b", 2))
        with pytest.raises(DataError, match='has "val" but no "train" folder'):
            load_folder(tmp_path)

    def test_two_names_of_one_split(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("train/a", 2), *photos("val/a", 2), *photos("valid/a", 2))
        with pytest.raises(DataError, match='"val" and "valid", which both mean the val split'):
            load_folder(tmp_path)

    def test_classes_of_one_image_cannot_be_divided(self, tmp_path: Path) -> None:
        put(tmp_path, "a/1.png", "b/1.png")
        with pytest.raises(DataError, match="No class has two images"):
            load_folder(tmp_path)


class TestLoadData:
    def test_folder_by_string_and_path(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("a", 2), *photos("b", 2))
        assert load_data(str(tmp_path)).classes == load_data(tmp_path).classes == ["a", "b"]

    def test_unknown_name(self) -> None:
        with pytest.raises(UnknownNameError, match="path to a folder of class folders or to a CSV file works too"):
            load_data("minst_")

    @pytest.mark.parametrize("path", ["no/such/folder", "labels.csv", Path("nowhere")])
    def test_missing_path(self, path: str | Path) -> None:
        with pytest.raises(DataNotFoundError, match="Check the path"):
            load_data(path)

    def test_other_file(self, tmp_path: Path) -> None:
        (tmp_path / "photos.zip").write_bytes(b"PK")
        with pytest.raises(DataError, match=r"neither a folder nor a .csv file. Unpack"):
            load_data(tmp_path / "photos.zip")

    def test_progress_bar(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("a", 2), *photos("b", 2))
        assert len(load_data(tmp_path, progress=True).classes) == 2


def test_ants_and_bees() -> None:
    root = SHARED / "hymenoptera"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    data = load_data(root)
    assert data.notes[0] == "folder of photos: 2 classes (ants 193, bees 204), train 244, val 153, no test"
    assert data.skipped == []
    assert isinstance(data.train, FileSplit)
    assert class_counts(data.train, data.classes).tolist() == [123, 121]
    preprocess = Preprocess(32, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "crop", 0.875)
    rows = torch.tensor([0, 100, 243])
    with Image.open(data.train.paths[100]) as image:
        short = 37
        width, height = image.size
        scale = (short, int(short * height / width)) if width < height else (int(short * width / height), short)
        resized = np.asarray(image.convert("RGB").resize(scale, Image.Resampling.BILINEAR))
    top, left = round((resized.shape[0] - 32) / 2), round((resized.shape[1] - 32) / 2)
    expected = resized[top : top + 32, left : left + 32].transpose(2, 0, 1)
    assert np.array_equal(data.train.fetch(rows, preprocess)[1].numpy(), expected)
