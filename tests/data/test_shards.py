"""Tar files of images: the same images as in a folder, shared out without duplicates, and gone on with in an epoch."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.data import Augment, ImageData, Loader, Preprocess, load_data
from cnnlab.data.shard_split import Members, ShardSplit
from cnnlab.errors import DataError, DataNotFoundError
from cnnlab.runs.folder import run_name

PREPROCESS = Preprocess(size=24, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3, resize="crop")


def picture(number: int) -> bytes:
    noise = np.random.default_rng(number).integers(0, 256, (30 + number % 3, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three shards of train with classes in .cls files, one of val; the same images in the folder ``photos``."""
    folder = tmp_path / "shards"
    folder.mkdir()
    number = 0
    for name, images in (("train-0000", 7), ("train-0001", 9), ("train-0002", 5), ("val-0000", 6)):
        members = {}
        for _ in range(images):
            label = "ab"[number % 2]
            members |= {f"{number:06}.png": picture(number), f"{number:06}.cls": label.encode()}
            copy = tmp_path / "photos" / name.partition("-")[0] / label / f"{number:06}.png"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(picture(number))
            number += 1
        write_shard(folder / f"{name}.tar", members)
    return folder


def pictures_of(split, indices=None) -> dict[str, torch.Tensor]:
    rows = range(len(split)) if indices is None else indices
    return {Path(split.names[i]).name: split.image(i, PREPROCESS) for i in rows}


def test_the_images_are_those_of_a_folder(shards: Path) -> None:
    data, folder = load_data(str(shards / "train-{0000..0002}.tar")), load_data(shards.parent / "photos")
    assert (len(data.train), len(data.val or ()), data.test) == (21, 6, None)
    assert data.classes == ["a", "b"]
    assert data.train.channels == 3
    assert data.train.photos
    for ours, theirs in ((data.train, folder.train), (data.val, folder.val)):
        one, two = pictures_of(ours), pictures_of(theirs)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
        labels = [dict(zip(pictures_of(split), split.labels.tolist(), strict=True)) for split in (ours, theirs)]
        assert labels[0] == labels[1]
    crops = Augment(crop_scale=0.3)
    batch = next(iter(Loader(data.train, PREPROCESS, 21, augment=crops).epoch(0)))
    names = [Path(name).name for name in folder.train.names]
    order = [names.index(Path(name).name) for name in data.train.names]
    again = next(iter(Loader(folder.train.subset(order), PREPROCESS, 21, augment=crops).epoch(0)))
    assert torch.equal(batch.images, again.images)


def test_processes_share_an_epoch_without_duplicates_and_go_on_in_its_middle(shards: Path) -> None:
    train = load_data(str(shards / "train-*.tar")).train
    seen: list[int] = []
    for rank in range(3):
        loader = Loader(train, PREPROCESS, 6, shuffle=True, rank=rank, world=3)
        whole = list(loader.epoch(1))
        rest = list(loader.epoch(1, start_step=2))
        assert all(torch.equal(a.images, b.images) for a, b in zip(whole[2:], rest, strict=True))
        seen += [i for batch in whole for i in batch.indices.tolist()]
    assert sorted(seen) == list(range(21))


def test_classes_are_folders_where_there_are_no_class_files(tmp_path: Path) -> None:
    write_shard(tmp_path / "all.tar", {f"{'cat' if i % 2 else 'dog'}/{i}.png": picture(i) for i in range(20)})
    data = load_data(str(tmp_path / "all.tar"))
    assert data.classes == ["cat", "dog"]
    assert (len(data.train), len(data.val or ())) == (16, 4)  # divided as a folder is
    joined = data.train.joined(data.val)  # type: ignore[arg-type]
    assert len(pictures_of(joined)) == 20


def test_what_is_wrong_with_tar_files_is_said(tmp_path: Path, shards: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"no tar file .*train-0003"):
        load_data(str(shards / "train-{0000..0003}.tar"))
    write_shard(tmp_path / "x.tar", {"1.png": picture(1)})
    with pytest.raises(DataError, match=r"1\.png has no class. Add 1\.cls"):
        load_data(str(tmp_path / "x.tar"))
    (tmp_path / "x.tar").write_bytes(b"no tar file")
    with pytest.raises(DataError, match=r"Cannot read .*x\.tar"):
        load_data(str(tmp_path / "x.tar"))
    train = load_data(str(shards / "train-{0000..0002}.tar")).train
    (shards / "train-0001.tar").write_bytes((shards / "train-0001.tar").read_bytes()[:4000])
    with pytest.raises(DataError, match=r"Cannot read the image train-0001\.tar"):
        pictures_of(train)


def test_the_run_of_a_pattern_has_a_plain_name() -> None:
    assert run_name("lenet5", "/x/train-{0000..0009}.tar").startswith("lenet5-train")


def write_numbered(path: Path, *numbers: int) -> None:
    """A shard of images of the classes a and b by turns; a number stands for the same image everywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    members = {}
    for number in numbers:
        members |= {f"{number:03}.png": picture(number), f"{number:03}.cls": b"ab"[number % 2 :][:1]}
    write_shard(path, members)


def numbers_of(data: ImageData) -> dict[str, list[int]]:
    """The numbers of the images of each split."""
    return {name: sorted(int(Path(file).stem) for file in split.names) for name, split in data.splits().items()}


@pytest.mark.parametrize(
    ("files", "pattern"),
    [
        (("train-0.tar", "val-0.tar"), "*.tar"),
        (("train-0.tar", "val-0.tar"), "train-*.tar"),
        (("train-0.tar", "val-0.tar", "test-0.tar"), "*.tar"),
        (("train-0.tar", "validation-0.tar", "testing_0.tar"), "train-{0..0}.tar"),
        (("in1k-train-0.tar", "in1k-validation-0.tar"), "in1k-*.tar"),
        (("in1k-train-0.tar", "in1k-val-0.tar", "in1k-test-0.tar"), "in1k-train-*.tar"),
        (("train/0.tar", "val/0.tar", "test/0.tar"), "*/*.tar"),
    ],
)
def test_every_image_is_in_the_split_that_the_name_of_its_shard_tells(
    tmp_path: Path, files: tuple[str, ...], pattern: str
) -> None:
    parts = [range(8), range(8, 12), range(12, 16)]
    for file, part in zip(files, parts, strict=False):
        write_numbered(tmp_path / file, *part)
    data = load_data(str(tmp_path / pattern))
    expected = dict(zip(("train", "val", "test"), map(list, parts), strict=True))
    assert numbers_of(data) == {split: expected[split] for split in list(expected)[: len(files)]}
    assert not data.divided


def test_shards_beside_those_of_train_are_left_alone_where_the_pattern_names_that_split(tmp_path: Path) -> None:
    for position, file in enumerate(("train-0", "train-1", "val-0", "val-1", "test-1", "cats-val-0")):
        write_numbered(tmp_path / f"{file}.tar", *range(4 * position, 4 * position + 4))
    data = load_data(str(tmp_path / "[tv]*-0.tar"))
    assert numbers_of(data) == {"train": [*range(4)], "val": [*range(8, 12)], "test": [*range(16, 20)]}
    again = load_data(str(tmp_path / "train-{0..1}*.tar"))
    assert numbers_of(again) == {"train": [*range(8)], "val": [*range(8, 16)], "test": [*range(16, 20)]}


def test_a_shard_that_a_pattern_matches_twice_is_read_once(tmp_path: Path) -> None:
    for number in range(1, 11):
        write_numbered(tmp_path / f"part{number}.tar", 2 * number, 2 * number + 1)
    data = load_data(str(tmp_path / "part{1..10}*.tar"))  # part1* stands for part10.tar too
    assert sorted(number for part in numbers_of(data).values() for number in part) == [*range(2, 22)]
    with pytest.raises(DataNotFoundError, match=r"\{10\.\.1\} .*Write the smaller number first"):
        load_data(str(tmp_path / "part{10..1}.tar"))


def test_shards_of_a_single_split_are_a_whole_data_set(tmp_path: Path) -> None:
    write_numbered(tmp_path / "train-0.tar", *range(4))
    write_numbered(tmp_path / "val-0.tar", *range(4, 24))
    write_numbered(tmp_path / "test-0.tar", *range(24, 28))
    data = load_data(str(tmp_path / "val-*.tar"))
    assert data.divided
    assert sorted(number for part in numbers_of(data).values() for number in part) == [*range(4, 24)]
    with pytest.raises(DataError, match="tar files of test and val, but for none of train"):
        load_data(str(tmp_path / "[vt][ae][ls]*-0.tar"))


def test_shards_that_tell_no_split_are_named_where_others_do(tmp_path: Path) -> None:
    for file, first in (("train-0", 0), ("val-0", 4), ("more-0", 8)):
        write_numbered(tmp_path / f"{file}.tar", *range(first, first + 4))
    data = load_data(str(tmp_path / "*.tar"))
    assert numbers_of(data) == {"train": [*range(4), *range(8, 12)], "val": [*range(4, 8)]}
    assert data.notes[-1].endswith(f"read as train: {tmp_path.name}/more-0.tar")


@pytest.mark.parametrize(
    "folders", [("./", "./"), ("", "./"), ("part1.0/", "part1.0/"), ("x/part.1/y/", "x/part.1/y/")]
)
def test_a_key_ends_at_the_first_dot_in_the_name_of_the_file(tmp_path: Path, folders: tuple[str, str]) -> None:
    """The classes are those of the .cls files, as in WebDataset, and the folders do not matter."""
    image, text = folders
    members = {}
    for number in range(10):
        label = ("cat", "dog")[number % 2]
        members |= {f"{image}{number}.rgb.png": picture(number), f"{text}{number}.cls": label.encode()}
    write_shard(tmp_path / "x.tar", members)
    data = load_data(str(tmp_path / "x.tar"))
    assert data.classes == ["cat", "dog"]
    for split in data.splits().values():
        assert [int(Path(name).name[0]) % 2 for name in split.names] == split.labels.tolist()


def test_the_same_key_in_two_folders_is_two_images(tmp_path: Path) -> None:
    members = {}
    for folder, label in (("part1.0", "cat"), ("part2.0", "dog")):
        for number in range(4):
            members |= {f"{folder}/{number}.png": picture(number), f"{folder}/{number}.cls": label.encode()}
    write_shard(tmp_path / "x.tar", members)
    data = load_data(str(tmp_path / "x.tar"))
    for split in data.splits().values():
        expected = ["cat" if "part1" in name else "dog" for name in split.names]
        assert [data.classes[label] for label in split.labels.tolist()] == expected
    assert sum(map(len, data.splits().values())) == 8


def test_names_and_classes_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    """As tar writes them on a system in Latin-1; a run could not write such a name into its files."""
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        for number, folder in enumerate(("käfer", "biene") * 3):
            info = tarfile.TarInfo(f"{folder}/{number}.png")
            info.size = len(picture(number))
            archive.addfile(info, io.BytesIO(picture(number)))
    with pytest.raises(DataError, match=r"The name of x\.tar/k\?fer/0\.png is not valid UTF-8\. Rename it"):
        load_data(str(tmp_path / "x.tar"))
    write_shard(tmp_path / "y.tar", {"0.png": picture(0), "0.cls": "käfer".encode("latin-1")})
    with pytest.raises(DataError, match=r"y\.tar: 0\.cls is not text in UTF-8"):
        load_data(str(tmp_path / "y.tar"))


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_a_tar_file_whose_own_name_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/k\xe4fer.tar")
    write_numbered(Path(path), *range(4))
    with pytest.raises(DataError, match=r"k\?fer\.tar is not valid UTF-8"):
        load_data(path)


def test_images_are_read_where_the_system_has_no_pread(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pread", raising=False)  # as on Windows
    train = load_data(str(shards / "train-{0000..0002}.tar")).train
    assert isinstance(train, ShardSplit)
    image = np.asarray(Image.open(train.source(20)))
    assert np.array_equal(image, np.asarray(Image.open(io.BytesIO(picture(20)))))


def test_a_fault_of_the_program_is_not_blamed_on_an_image(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = load_data(str(shards / "train-{0000..0002}.tar")).train

    def broken(self: Members, index: int) -> bytes:
        raise AttributeError("no such function")

    monkeypatch.setattr(Members, "read", broken)
    with pytest.raises(AttributeError, match="no such function"):
        pictures_of(train)


def test_a_share_for_val_divides_tar_files(tmp_path: Path) -> None:
    write_numbered(tmp_path / "all.tar", *range(40))
    data = load_data(str(tmp_path / "all.tar"), val_fraction=0.1)
    assert (len(data.train), len(data.val or ())) == (36, 4)
