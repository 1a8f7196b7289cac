"""Tar files of images: the same images as in a folder, shared out without duplicates, and gone on with in an epoch."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.data import Augment, Loader, Preprocess, load_data
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
