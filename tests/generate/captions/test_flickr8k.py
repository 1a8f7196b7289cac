"""Photos with captions in a text file: both editions of Flickr8k, and folders of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from cnnlab.data import Preprocess
from cnnlab.errors import DataError
from cnnlab.generate.captions import Captioner, fit_captions, load_caption_recipe, load_captions
from cnnlab.generate.captions.encoder import zoo_encoder
from cnnlab.generate.captions.evaluation import plain_references

PHOTOS = ("10_a.jpg", "20_b.jpg", "30_c.jpg", "40_d.jpg")


def write_photos(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (40, 30), (60 * number, 0, 0)).save(folder / name)


def original_edition(folder: Path) -> Path:
    write_photos(folder / "Flicker8k_Dataset", *PHOTOS)
    texts = folder / "Flickr8k_text"
    texts.mkdir()
    lines = [f"{photo}#{n}\tA dog runs {word} ." for photo in PHOTOS for n, word in enumerate(("left", "right"))]
    # The original file has captions of one photo that does not exist.
    lines.append("2258277193_586949ec62.jpg.1#0\tPeople wait .")
    (texts / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    for part, photos in (("train", PHOTOS[:2]), ("dev", PHOTOS[2:3]), ("test", PHOTOS[3:])):
        (texts / f"Flickr_8k.{part}Images.txt").write_text("\n".join(photos) + "\n")
    return folder


def test_the_original_edition_is_read_with_its_splits(tmp_path: Path) -> None:
    data = load_captions(original_edition(tmp_path), min_count=1)
    assert data.name == "flickr8k"
    assert {name: len(part) for name, part in data.splits().items()} == {"train": 2, "val": 1, "test": 1}
    assert data.train.references(1) == ["A dog runs left .", "A dog runs right ."]
    assert data.vocabulary.decode(data.train.captions) == ["a dog runs left", "a dog runs right"] * 2
    assert data.train.image_of.tolist() == [0, 0, 1, 1]
    assert data.train.images is not None
    pixels = data.train.images.fetch(torch.tensor([1]), Preprocess(8, 3, (0.0,) * 3, (1.0,) * 3))
    assert abs(int(pixels[0, 0].float().mean()) - 60) <= 2
    assert "1 captioned photos are missing and left out, such as 2258277193_586949ec62.jpg.1" in data.notes


def test_rare_words_of_train_are_unknown(tmp_path: Path) -> None:
    data = load_captions(original_edition(tmp_path), min_count=3)
    assert data.vocabulary.decode(data.train.captions[:1]) == ["a dog runs <UNK>"]


def test_the_edition_of_kaggle_is_read_and_divided_by_the_seed(tmp_path: Path) -> None:
    names = [f"{n}.jpg" for n in range(20)]
    write_photos(tmp_path / "Images", *names)
    rows = [f'{name},"A cat , and a {n} ."' if n % 2 else f"{name},A cat , and a {n} ." for n, name in enumerate(names)]
    (tmp_path / "captions.txt").write_text("\n".join(["image,caption", *rows]) + "\n")
    data = load_captions(tmp_path, min_count=1)
    assert {name: len(part) for name, part in data.splits().items()} == {"train": 16, "val": 2, "test": 2}
    parts = [part.images.names for part in data.splits().values() if part.images is not None]
    assert sorted(name for part in parts for name in part or ()) == sorted(names)
    assert data.train.references(0)[0].startswith("A cat , and a")
    same, other = load_captions(tmp_path, min_count=1), load_captions(tmp_path, min_count=1, seed=1)
    assert same.val.fingerprint() == data.val.fingerprint()
    assert other.val.fingerprint() != data.val.fingerprint()


def test_photos_that_cannot_be_read_are_left_out_and_listed(tmp_path: Path) -> None:
    original_edition(tmp_path)
    (tmp_path / "Flicker8k_Dataset" / PHOTOS[0]).write_bytes(b"")
    data = load_captions(tmp_path, min_count=1)
    assert len(data.train) == 1
    assert any(note.startswith(f"{PHOTOS[0]} is left out: the file is empty") for note in data.notes)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file Flickr8k.token.txt, captions.txt or captions.csv"):
        load_captions(tmp_path)
    table = tmp_path / "captions.txt"
    table.write_text("file,text\n")
    with pytest.raises(DataError, match="line 1: expected the header image,caption, got file,text"):
        load_captions(tmp_path)
    table.write_text("image,caption\n1.jpg\n")
    with pytest.raises(DataError, match=r"line 2: expected a photo, a comma and a caption, got '1.jpg'"):
        load_captions(tmp_path)
    table.write_text("image,caption\n1.jpg,a cat\n")
    with pytest.raises(DataError, match=r"0 readable photos with captions.*1 captioned photos are missing"):
        load_captions(tmp_path)
    table.write_bytes(b"image,caption\n1.jpg,caf\xe9\n")
    with pytest.raises(DataError, match="as UTF-8"):
        load_captions(tmp_path)


def test_damaged_files_of_the_original_edition_are_refused(tmp_path: Path) -> None:
    texts = original_edition(tmp_path) / "Flickr8k_text"
    (texts / "Flickr_8k.devImages.txt").write_text(f"{PHOTOS[0]}\n")
    with pytest.raises(DataError, match=f"{PHOTOS[0]} is in the list of train and in another one"):
        load_captions(tmp_path)
    (texts / "Flickr_8k.devImages.txt").write_text("none.jpg\n")
    with pytest.raises(DataError, match="lists no photo that has captions"):
        load_captions(tmp_path)
    (texts / "Flickr8k.token.txt").write_text("10_a.jpg A dog\n")
    with pytest.raises(DataError, match=r"line 1: expected photo.jpg#0, a tab and a caption, got '10_a.jpg A dog'"):
        load_captions(tmp_path)


def test_the_recipe_for_flickr8k_trains_on_them_and_describes_a_photo(tmp_path: Path) -> None:
    """Its frozen network is replaced by a small one. Case and punctuation of the references do not count."""
    changes = {"encoder": "lenet5", "weights": None, "layer": "s2", "image_size": 32, "hidden_size": 8, "epochs": 1}
    folder = original_edition(tmp_path)
    recipe = load_caption_recipe("flickr8k-attention").with_overrides(data=str(folder), device="cpu", **changes)
    recipe = recipe.with_overrides(["data_options.min_count=1"])
    *_, last = fit_captions(recipe)
    session: Any = last.session
    assert plain_references(session.data.val, 0) == ["a dog runs left", "a dog runs right"]
    captioner = Captioner("run", session.network, session.preprocess, session.max_length)
    described = captioner.describe_photos([folder / "Flicker8k_Dataset" / PHOTOS[0]])
    assert set(described.sentences[0].split()) <= {"a", "dog", "runs", "left", "right"}
    assert described.decoded.attention is not None
    assert described.decoded.attention.shape[2:] == (14, 14)


def test_the_frozen_network_of_the_recipe_has_its_layer() -> None:
    recipe = load_caption_recipe("flickr8k-attention")
    encoder, _ = zoo_encoder(recipe.encoder, recipe.layer, None, 64)
    assert encoder.feature_shape[0] == 320
