"""The course's files of COCO, written small by the tests, whole and damaged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cnnlab.errors import CnnlabError, DataError, DataNotFoundError, UsageError
from cnnlab.generate.captions import (
    Captioner,
    CaptionsFinished,
    assess_captions,
    fit_captions,
    load_caption_recipe,
    load_captions,
)
from cnnlab.generate.captions.coco import FileRows

h5py = pytest.importorskip("h5py")

WORDS = ["<NULL>", "<START>", "<END>", "<UNK>", "a", "cat", "dog"]
ARRAYS = {
    "train_captions": np.array([[1, 4, 5, 2], [1, 6, 2, 0], [1, 3, 2, 0]], np.int32),
    "train_image_idxs": np.array([2, 0, 2], np.int32),
    "val_captions": np.array([[1, 4, 6, 2]], np.int32),
    "val_image_idxs": np.array([1], np.int32),
}
FEATURES = {"train": np.arange(15, dtype=np.float32).reshape(3, 5), "val": np.ones((2, 5), np.float32)}


def write(path: Path, **arrays: Any) -> None:
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            file[key] = values


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    folder = tmp_path / "coco_captioning"
    folder.mkdir()
    write(folder / "coco2014_captions.h5", **ARRAYS)
    for name, values in FEATURES.items():
        write(folder / f"{name}2014_vgg16_fc7_pca.h5", features=values)
        urls = [f"http://images/{name}{n}.jpg" for n in range(len(values))]
        (folder / f"{name}2014_urls.txt").write_text("\n".join(urls) + "\n")
    positions = {word: n for n, word in enumerate(WORDS)}
    (folder / "coco2014_vocab.json").write_text(json.dumps({"idx_to_word": WORDS, "word_to_idx": positions}))
    return folder


def test_the_files_of_the_course_are_read(coco: Path) -> None:
    data = load_captions(coco)
    assert data.name == "coco"
    assert data.vocabulary.words == tuple(WORDS)
    assert (len(data.train), len(data.val), data.test, data.held_out) == (3, 2, None, None)
    assert data.train.references(2) == ["a cat", "<UNK>"]
    assert data.train.references(1) == []
    assert data.val.references(1) == ["a dog"]
    assert data.train.captions.dtype == torch.int64
    assert data.train.urls == ["http://images/train0.jpg", "http://images/train1.jpg", "http://images/train2.jpg"]
    assert data.train.images is None
    rows = data.train.fetch_features(torch.tensor([2, 0, 2]))
    np.testing.assert_array_equal(rows.numpy(), FEATURES["train"][[2, 0, 2]])
    assert data.notes[0] == "train: 3 captions of 3 images, 5 features each"


def test_features_are_read_lazily(coco: Path) -> None:
    rows = FileRows(coco / "train2014_vgg16_fc7_pca.h5", "features")
    assert (len(rows), rows.shape) == (3, (3, 5))
    write(coco / "train2014_vgg16_fc7_pca.h5", features=FEATURES["train"] + 1)
    np.testing.assert_array_equal(rows[1:], FEATURES["train"][1:] + 1)


def test_a_subset_of_the_files_is_in_memory(coco: Path) -> None:
    part = load_captions(coco).train.subset([2])
    assert isinstance(part.features, torch.Tensor)
    assert part.references(0) == ["a cat", "<UNK>"]


def test_coco_is_found_by_name(coco: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(load_captions("coco", coco).train) == 3
    assert len(load_captions("coco", coco.parent).train) == 3
    monkeypatch.setenv("CNNLAB_DATA", str(coco.parent))
    assert len(load_captions("coco").train) == 3
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataNotFoundError, match=r"coco_captioning.zip.*Looked in"):
        load_captions("coco")
    with pytest.raises(DataError, match=r"data folder .* is not there"):
        load_captions("coco", tmp_path / "none")


def test_whole_features_are_read_where_the_reduced_are_missing(coco: Path) -> None:
    for name in ("train", "val"):
        (coco / f"{name}2014_vgg16_fc7_pca.h5").rename(coco / f"{name}2014_vgg16_fc7.h5")
        (coco / f"{name}2014_urls.txt").unlink()
    data = load_captions(coco)
    assert data.train.urls is None
    assert data.train.fetch_features(torch.tensor([1])).tolist() == [[5, 6, 7, 8, 9]]


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def captions(**changes: Any) -> Callable[[Path], object]:
    arrays = {key: value for key, value in (ARRAYS | changes).items() if value is not None}
    return lambda folder: write(folder / "coco2014_captions.h5", **arrays)


def features(**arrays: Any) -> Callable[[Path], object]:
    return lambda folder: write(folder / "train2014_vgg16_fc7_pca.h5", **arrays)


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def cut(folder: Path) -> None:
    path = folder / "train2014_vgg16_fc7_pca.h5"
    path.write_bytes(path.read_bytes()[:1500])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("coco2014_vocab.json"), "no file coco2014_vocab.json"),
        (remove("val2014_vgg16_fc7_pca.h5"), "no file val2014_vgg16_fc7_pca.h5 or val2014_vgg16_fc7.h5"),
        (captions(val_captions=None), "no array val_captions; it has train_captions, train_image_idxs, val_image_idxs"),
        (captions(train_image_idxs=None), "no array train_image_idxs"),
        (captions(train_image_idxs=np.array([2, 0])), r"train_captions of shape \(3, 4\) and .* of shape \(2,\)"),
        (captions(train_captions=np.array([1, 2, 3])), r"train_captions of shape \(3,\)"),
        (captions(train_image_idxs=np.array([2, 0, 3])), r"images 0\.\.3, and there are 3 images"),
        (captions(train_captions=ARRAYS["train_captions"] + 0.5), "train_captions of .* is of type float64"),
        (captions(train_captions=np.array([[1, 7, 2]] * 3)), r"positions 1\.\.7, and the vocabulary has 7 words"),
        (captions(val_captions=np.array([[4, 5, 6, 2]])), "val_captions of .* do not begin with <START>"),
        (features(feature=FEATURES["train"]), "no array features; it has feature"),
        (features(), "no array features; it has none"),
        (features(features=np.ones(3)), r"features of .* has shape \(3,\); expected \(N, D\)"),
        (
            features(features=np.ones((2, 5))),
            r"train_captions .*images 0\.\.2, and there are 2 images|2 images have 3 urls",
        ),
        (features(features=np.ones((3, 4))), "images of train have 4 features and those of val 5"),
        (text("train2014_urls.txt", "http://one\n"), r"train2014_urls\.txt.*3 images have 1 urls"),
        (text("train2014_vgg16_fc7_pca.h5", ""), "it is an empty file"),
        (text("coco2014_captions.h5", "<html>not found"), "it is an HTML page"),
        (cut, "it is an HDF5 file, perhaps cut off"),
        (text("coco2014_vocab.json", json.dumps({"idx_to_word": WORDS[:6]})), r"positions 0\.\.6, and .* has 6 words"),
        (text("coco2014_vocab.json", json.dumps({"idx_to_word": ["<NULL>", "a", *WORDS[1:4]]})), "do not begin with"),
    ],
)
def test_every_damage_is_named(coco: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(coco)
    with pytest.raises(DataError, match=message) as error:
        load_captions(coco)
    assert str(coco) in str(error.value)
    assert "coco_captioning.zip" in str(error.value)


def test_without_h5py_the_extra_is_named(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"pip install \"cnnlab\[captions\]\""):
        load_captions(coco)


def test_rows_that_cannot_be_read_any_more_are_an_error(coco: Path) -> None:
    data = load_captions(coco)
    remove("train2014_vgg16_fc7_pca.h5")(coco)
    with pytest.raises(CnnlabError, match="it is missing"):
        data.train.fetch_features(torch.tensor([0]))


def test_the_recipe_for_coco_trains_on_them_and_describes_them(coco: Path) -> None:
    """An image without a caption is neither trained on nor judged."""
    recipe = load_caption_recipe("coco-lstm").with_overrides(data=str(coco), epochs=1, hidden_size=8, device="cpu")
    *_, last = fit_captions(recipe)
    assert isinstance(last, CaptionsFinished)
    session: Any = last.session
    assert session.train_loader.epoch(0).__next__().indices.sort().values.tolist() == [0, 2]
    captioner = Captioner("run", session.network, session.preprocess, session.max_length)
    score = assess_captions(captioner, session.data)["val"]
    assert score.images == [1]
    assert set(score.sentences[0].split()) <= {"a", "cat", "dog"}
