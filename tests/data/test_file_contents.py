"""Photos that changed under their names, and photos in two splits, are noticed; a copied folder is the same data."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.data import ArraySplit
from cnnlab.data.file_contents import file_checksum, shared_files, split_checksum
from cnnlab.data.file_split import FileSplit
from cnnlab.errors import OtherDataError
from cnnlab.training import fit, prepare
from cnnlab.training.checkpoint import load_tensors, save_tensors
from cnnlab.training.state import restore_state, save_state
from tests.helpers import tiny_recipe


def photos(root: Path) -> Path:
    """Two classes of uncompressed pictures, so that a changed pixel leaves the size of the file as it is."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for label in ("a", "b"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(folder / f"{number}.bmp")
    return root


def change_a_pixel(path: Path) -> None:
    """Another last pixel, with the date of the file put back."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def split_of(folder: Path) -> FileSplit:
    paths = sorted(folder.rglob("*.bmp"))
    return FileSplit(paths, [0] * len(paths), [str(path.relative_to(folder.parent)) for path in paths])


def test_a_changed_pixel_changes_the_checksum_and_a_copy_does_not(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    before = split_checksum(split_of(root / "train"))
    copied = Path(shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copyfile))
    assert split_checksum(split_of(copied / "train")) == before
    change_a_pixel(copied / "train/a/3.bmp")
    assert split_checksum(split_of(copied / "train")) != before
    assert file_checksum(tmp_path / "missing.bmp") == 0


def test_arrays_are_compared_whole() -> None:
    pixels, labels = torch.zeros(4, 1, 5, 5, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)
    other = pixels.clone()
    other[2, 0, 1, 1] = 1
    assert split_checksum(ArraySplit(pixels, labels)) == split_checksum(ArraySplit(pixels.clone(), labels))
    assert split_checksum(ArraySplit(pixels, labels)) != split_checksum(ArraySplit(other, labels))


def test_photos_in_two_splits_are_listed_and_training_warns(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    train, val = split_of(root / "train"), split_of(root / "val")
    assert shared_files(train, val) == []
    shutil.copyfile(root / "train/b/5.bmp", root / "val/b/again.bmp")
    assert shared_files(train, split_of(root / "val")) == [("val/b/again.bmp", "train/b/5.bmp")]
    session = prepare(tiny_recipe(data=str(root), image_size=16))
    warning = "warning: 1 of the 5 images of val is in train too, such as val/b/again.bmp (there train/b/5.bmp)"
    assert any(note.startswith(warning) for note in session.notes)


def test_photos_that_changed_under_their_names_stop_a_resume(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    recipe, state = tiny_recipe(data=str(root), image_size=16, epochs=1), tmp_path / "state.safetensors"
    *_, finished = fit(recipe)
    save_state(finished.session, state)
    restore_state(prepare(recipe), state)
    tensors, metadata = load_tensors(state)
    change_a_pixel(root / "val/a/1.bmp")
    with pytest.raises(OtherDataError, match=r"The pixels of val in .* are not what they were.*start a new run"):
        restore_state(prepare(recipe), state)
    # A state that was saved by cnnlab 0.1.0 does not say what was in the files.
    metadata["cnnlab"] = metadata["cnnlab"].replace('"contents"', '"unknown"')
    save_tensors(state, tensors, metadata)
    restore_state(prepare(recipe), state)
