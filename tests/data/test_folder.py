"""Folders of photos: every layout that people have, and every mistake they make."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.data import FileSplit, Loader, Preprocess, class_counts, load_data
from cnnlab.data.readers.folder import load_folder
from cnnlab.data.walk import find_images, image_files, natural_key
from cnnlab.errors import DataError, DataNotFoundError, UnknownNameError, UsageError

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

    def test_a_single_class_that_is_readable(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("cat", 2), *photos("dog", 2))
        for file in (tmp_path / "dog").iterdir():
            file.write_bytes(b"no image")
        with pytest.raises(DataError, match=r'single class, "cat".*\d are unreadable; the first: dog/'):
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
        image.draft(None, (2 * short, 2 * short))  # a large JPEG is decoded at a part of its size
        width, height = image.size
        scale = (short, int(short * height / width)) if width < height else (int(short * width / height), short)
        resized = np.asarray(image.convert("RGB").resize(scale, Image.Resampling.BILINEAR))
    top, left = round((resized.shape[0] - 32) / 2), round((resized.shape[1] - 32) / 2)
    expected = resized[top : top + 32, left : left + 32].transpose(2, 0, 1)
    assert np.array_equal(data.train.fetch(rows, preprocess)[1].numpy(), expected)


class TestReadings:
    """Layouts are told by what lies in the folders, not by names alone."""

    @pytest.mark.parametrize("inside", ["", "/2020"])
    def test_a_class_may_be_called_train(self, tmp_path: Path, inside: str) -> None:
        put(tmp_path, *photos("car", 3), *photos(f"train{inside}", 3), *photos("bus", 3))
        if inside:  # train/2020 beside car and bus: a class of the split train, or a folder in the class train
            with pytest.raises(DataError, match=r'two ways: "bus", "car", "train".*layout=classes.*layout=splits'):
                load_folder(tmp_path)
            assert load_folder(tmp_path, layout="classes").classes == ["bus", "car", "train"]
            put(tmp_path, *photos("train/2021", 3))
            assert load_folder(tmp_path, layout="splits").classes == ["2020", "2021"]
        else:
            assert load_folder(tmp_path).classes == ["bus", "car", "train"]

    @pytest.mark.parametrize(("train", "test"), [("train", "test"), ("train/steam", "test/alpha")])
    def test_classes_called_train_and_test(self, tmp_path: Path, train: str, test: str) -> None:
        put(tmp_path, *photos(train, 3), *photos(test, 3))
        with pytest.raises(DataError, match=r"two ways.*--layout classes"):
            load_folder(tmp_path)
        data = load_data(tmp_path, layout="classes")
        assert data.classes == ["test", "train"]
        assert len(data.split_rows()) == 6

    def test_a_folder_one_level_too_high(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("x/dataset/a", 2), *photos("x/dataset/b", 2), *photos("__MACOSX/a", 2))
        data = load_folder(tmp_path)
        assert data.classes == ["a", "b"]
        assert f"read from {Path('x/dataset')}, the only folder with images in it" in data.notes
        put(tmp_path, *photos("y/train/a", 2), *photos("y/train/b", 2), *photos("y/val/a", 2))
        assert load_folder(tmp_path / "y").val is not None

    def test_classes_in_the_names_of_files(self, tmp_path: Path) -> None:
        put(tmp_path, *(f"{animal}.{i}.jpg" for animal in ("cat", "dog") for i in range(3)))
        data = load_folder(tmp_path)
        assert data.classes == ["cat", "dog"]
        assert 'classes are the beginnings of the names: cat.0.jpg is of "cat"' in data.notes
        # Kaggle's dogs and cats: the images for testing have numbers only.
        put(tmp_path / "k", *(f"train/{animal}_{i}.jpg" for animal in ("cat", "dog") for i in range(3)), "test/1.jpg")
        data = load_folder(tmp_path / "k")
        assert data.classes == ["cat", "dog"]
        assert "test: 1 images whose names tell no class, left out" in data.notes

    def test_names_that_cameras_give_are_no_classes_unless_one_says_so(self, tmp_path: Path) -> None:
        put(tmp_path, *(f"{animal}_{i}.jpg" for animal in ("IMG", "DSC") for i in range(3)))
        with pytest.raises(DataError, match=r"6 images but no class folder.*\(DSC, IMG\), say layout=flat"):
            load_folder(tmp_path)
        assert load_folder(tmp_path, layout="flat").classes == ["DSC", "IMG"]
        with pytest.raises(UsageError, match="expected auto, classes, splits or flat"):
            load_folder(tmp_path, layout="flats")  # type: ignore[arg-type]

    def test_case_and_composed_letters(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("train/cat", 2), *photos("train/dog", 2), *photos("val/Cat", 2), *photos("val/dog", 1))
        with pytest.raises(DataError, match='val has the class "Cat" and train "cat"; only the case'):
            load_folder(tmp_path)
        composed, decomposed = "\u00e9t\u00e9", "e\u0301te\u0301"
        put(tmp_path / "u", *photos(f"train/{composed}", 2), *photos("train/a", 2), *photos(f"val/{decomposed}", 2))
        assert load_folder(tmp_path / "u").classes == ["a", composed]
        put(tmp_path / "c", *photos("Cat", 2), *photos("cat", 2))
        assert any("differ only in the case" in note for note in load_folder(tmp_path / "c").notes)


class TestWalk:
    def test_links_are_followed_once_and_never_in_circles(self, tmp_path: Path) -> None:
        put(tmp_path, *photos("a", 2), *photos("elsewhere", 2))
        (tmp_path / "a" / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "a" / "again").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "a" / "self.png").symlink_to(tmp_path / "a" / "self.png")
        (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nothing.png")
        images = find_images(tmp_path / "a")
        assert [path.relative_to(tmp_path / "a").as_posix() for path in images.paths] == [
            "0.png",
            "1.png",
            "gone.png",
            "self.png",
            "again/0.png",
            "again/1.png",
        ]
        assert [Path(path).name for path in images.ignored.repeated] == ["more", "up"]

    def test_what_is_left_aside_is_said(self, tmp_path: Path) -> None:
        put(tmp_path, "@eaDir/x.png", ".hidden/x.png")
        for name in (".DS_Store", "Thumbs.db", "._1.png", "1.HEIC", "notes.txt"):
            (tmp_path / name).write_bytes(b"x")
        assert find_images(tmp_path).ignored.notes() == [
            "files that are no images, ignored: .heic 1, .txt 1, hidden 3",
            '1 of them may be photos. HEIC photos need a package: pip install "cnnlab[heic]"',
            "hidden and system folders, ignored: .hidden, @eaDir",
        ]
        with pytest.raises(DataError, match=r"no image in the folder.*\.heic 1.*cnnlab\[heic\]"):
            image_files([tmp_path])
        with pytest.raises(DataError, match=r"no class folders with images.*cnnlab\[heic\]"):
            load_folder(tmp_path)
