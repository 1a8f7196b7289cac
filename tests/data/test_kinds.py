"""Photos are told from small images, splits have fingerprints, and files that would break a run are left out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.data import ArraySplit, FileSplit, class_counts, load_data, scanning
from cnnlab.training import prepare
from tests.helpers import tiny_recipe


def write(root: Path, size: tuple[int, int], n: int = 6, suffix: str = "png") -> None:
    rng = np.random.default_rng(0)
    for c, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 80, (size[1], size[0], 3), dtype=np.uint8)
            pixels[..., c] += 150
            Image.fromarray(pixels).save(root / name / f"{i}.{suffix}")


@pytest.mark.parametrize(
    ("size", "photos", "network"), [((160, 120), True, 32), ((128, 128), True, 32), ((20, 20), False, 20)]
)
def test_photos_of_one_size_are_cropped_and_small_squares_are_used_whole(
    tmp_path: Path, size: tuple[int, int], photos: bool, network: int
) -> None:
    write(tmp_path, size)
    data = load_data(tmp_path)
    assert data.train.photos is photos
    session = prepare(tiny_recipe(crop_fraction=0.875), data)
    assert session.preprocess.size == network  # the usual size of convnet, or the images' own
    assert session.preprocess.resize == ("crop" if photos else "stretch")
    assert session.preprocess.crop_fraction == (0.875 if photos else 1.0)


def test_a_fingerprint_tells_images_and_order() -> None:
    pixels = torch.arange(4 * 9, dtype=torch.uint8).reshape(4, 1, 3, 3)
    split = ArraySplit(pixels, [0, 1, 0, 1])
    assert split.fingerprint() == ArraySplit(pixels.clone(), [0, 1, 0, 1]).fingerprint()
    assert split.fingerprint() != ArraySplit(pixels, [1, 1, 0, 1]).fingerprint()
    assert split.fingerprint() != split.subset([2, 1, 0, 3]).fingerprint()  # the same labels
    assert FileSplit(["a", "b"], [0, 1]).fingerprint() != FileSplit(["b", "a"], [0, 1]).fingerprint()


def test_joined_holds_the_first_and_then_the_second(tmp_path: Path) -> None:
    pixels = torch.arange(4 * 9, dtype=torch.uint8).reshape(4, 1, 3, 3)
    split = ArraySplit(pixels, [0, 1, 2, 3])
    both = split.subset([2, 3]).joined(split.subset([0]))
    assert both.labels.tolist() == [2, 3, 0]
    assert torch.equal(both.pixels, pixels[[2, 3, 0]])
    write(tmp_path, (20, 20))
    data = load_data(tmp_path)
    assert data.divided
    assert data.val is not None
    joined = data.train.joined(data.val)
    assert joined.names is not None
    assert sorted(joined.names) == sorted(f"{c}/{i}.png" for c in ("cat", "dog") for i in range(6))


def test_a_truncated_jpeg_is_found_in_a_large_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, (120, 100), suffix="jpg")
    broken = tmp_path / "cat" / "2.jpg"
    broken.write_bytes(broken.read_bytes()[:-400])
    monkeypatch.setattr(scanning, "FULL_SCAN_FILES", 3)
    assert [name for name, _ in load_data(tmp_path).skipped] == ["cat/2.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
def test_a_name_that_is_not_utf8_is_left_out_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, (20, 20))
    os.rename(os.fsencode(tmp_path / "cat" / "0.png"), os.fsencode(tmp_path / "cat") + b"/\xe9.png")
    data = load_data(tmp_path)
    assert [reason for _, reason in data.skipped] == ["its name is not valid UTF-8: rename it"]
    "".join(name for name, _ in data.skipped).encode()


@pytest.mark.parametrize(("fraction", "val"), [(0.0, 20), (0.1, 10), (0.5, 50)])
def test_val_fraction_is_the_share_held_out_of_images_without_splits(tmp_path: Path, fraction: float, val: int) -> None:
    write(tmp_path / "photos", (20, 20), n=50)
    data = prepare(tiny_recipe(data=str(tmp_path / "photos"), val_fraction=fraction)).data
    assert data.val is not None
    assert class_counts(data.train, data.classes).tolist() == [50 - val // 2] * 2
    assert class_counts(data.val, data.classes).tolist() == [val // 2] * 2
    assert f"divided here into train {100 - val} and val {val}, by class, seed 0" in data.notes


def test_it_is_said_that_val_fraction_is_not_used_where_there_is_a_val(tmp_path: Path) -> None:
    write(tmp_path / "train", (20, 20))
    write(tmp_path / "val", (20, 20), n=2)
    said = f"val_fraction is not used: {tmp_path.name} comes with a validation split"
    for fraction in (0.0, 0.5):
        session = prepare(tiny_recipe(data=str(tmp_path), val_fraction=fraction))
        assert session.data.val is not None
        assert (len(session.data.train), len(session.data.val)) == (12, 4)
        assert (said in session.notes) is (fraction > 0)
