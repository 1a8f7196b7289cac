"""What a file is, by its first bytes."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.errors import RunError
from cnnlab.files import finite_values, free_path, kind_of_file, write_text


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"it is a folder\. Add the name of a file"):
        write_text(tmp_path, "text")


def test_a_free_path_is_numbered_when_names_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    assert free_path(path) == path
    path.touch()
    (tmp_path / "notes.txt-2").symlink_to("nowhere")
    assert free_path(path) == tmp_path / "notes.txt-3"


@pytest.mark.parametrize(
    ("format", "kind"),
    [
        ("PNG", "a PNG image"),
        ("JPEG", "a JPEG image"),
        ("GIF", "a GIF image"),
        ("TIFF", "a TIFF image"),
        ("BMP", "a BMP image"),
        ("WEBP", "a WebP image"),
    ],
)
def test_images_are_told_by_what_pillow_writes(tmp_path: Path, format: str, kind: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "x.dat", format=format)
    assert kind_of_file(tmp_path / "x.dat") == kind


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a", "b")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz"):
        pass
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    kinds = {
        b"": "an empty file (0 bytes)",
        bytes(2000): "a file of zero bytes only, as an interrupted copy leaves it",
        b"\n<!DOCTYPE html><html>404": "an HTML page, as a failed download leaves it",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n": "a pointer of Git LFS, without the file itself "
        "(run `git lfs pull`)",
        b"<svg xmlns=''/>": "an SVG drawing",
        b"<?xml version='1.0'?><a/>": "an XML document",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic": "a HEIC photo",
        b"\0\0\0\x18ftypavif\0\0\0\0": "an AVIF image",
        b"\0\0\0\x18ftypisom\0\0\0\0": "a video",
        archive.getvalue(): "a ZIP archive",
        packed.getvalue(): "a gzip archive",
        array.getvalue(): "a NumPy array (.npy)",
        pickle.dumps([1]): "a Python pickle",
        json.dumps({"a": 1}).encode(): "a JSON text",
        ("é" * 600).encode()[:1023]: "a text file",  # cut inside a character
        b"\x01\x02\x03\xfe\xff": "",
    }
    for content, kind in kinds.items():
        path.write_bytes(content)
        assert kind_of_file(path) == kind


def test_numbers_that_json_cannot_hold_become_none_at_any_depth() -> None:
    values = {"a": float("nan"), "b": [1.5, float("inf"), {"c": (float("-inf"), "x", 2)}], "d": True}
    assert finite_values(values) == {"a": None, "b": [1.5, None, {"c": [None, "x", 2]}], "d": True}


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is no folder .*absent\. Make it"):
        write_text(tmp_path / "absent" / "a.txt", "a")


def test_names_that_are_not_utf_8_are_written_as_escapes(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", os.fsdecode(b"caf\xe9, \xc3\xa9"))
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "caf\\udce9, é"
