"""Small made-up data sets in the course's own files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import h5py
import numpy as np

WORDS = ["<NULL>", "<START>", "<END>", "<UNK>", "a", "cat", "dog", "sits", "runs"]
SENTENCES = ["a cat sits", "a dog runs", "a cat runs", "a dog sits"]


def write_cifar10(folder: Path, per_batch: int = 200) -> Path:
    """Write ``cifar-10-batches-py``: noise with a bright square, whose place and colour are the class's."""
    rng = np.random.default_rng(0)
    path = folder / "cifar-10-batches-py"
    path.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        labels = rng.integers(10, size=per_batch)
        images = rng.integers(0, 60, (per_batch, 3, 32, 32), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = 16 * (label % 2), 16 * (label // 2 % 2)
            image[label % 3, row : row + 16, column : column + 16] += np.uint8(100 + 8 * label)
        batch = {b"data": images.reshape(per_batch, -1), b"labels": labels.tolist()}
        (path / name).write_bytes(pickle.dumps(batch, protocol=2))
    return path


def write_coco(folder: Path, images: int = 20) -> Path:
    """Write ``coco_captioning``: four sentences, and features that say which of them is right."""
    rng = np.random.default_rng(0)
    path = folder / "coco_captioning"
    path.mkdir(parents=True)
    position = {word: number for number, word in enumerate(WORDS)}
    (path / "coco2014_vocab.json").write_text(json.dumps({"idx_to_word": WORDS, "word_to_idx": position}))
    captions = np.zeros((4, 7), np.int32)
    for caption, sentence in zip(captions, SENTENCES, strict=True):
        words = ["<START>", *sentence.split(), "<END>"]
        caption[: len(words)] = [position[word] for word in words]
    with h5py.File(path / "coco2014_captions.h5", "w") as file:
        for split in ("train", "val"):
            of = np.arange(2 * images, dtype=np.int32) % images  # two captions for each image
            file[f"{split}_captions"], file[f"{split}_image_idxs"] = captions[of % 4], of
    for split in ("train", "val"):
        kinds = np.arange(images) % 4
        for ending, width in (("", 32), ("_pca", 16)):
            features = rng.normal(0, 0.1, (images, width)).astype(np.float32) + np.eye(width, dtype=np.float32)[kinds]
            with h5py.File(path / f"{split}2014_vgg16_fc7{ending}.h5", "w") as file:
                file["features"] = features
        urls = [f"http://127.0.0.1:9/{split}{number}.jpg" for number in range(images)]
        (path / f"{split}2014_urls.txt").write_text("\n".join(urls) + "\n")
    return path


def write_imagenet_val(folder: Path, count: int = 5, size: int = 224) -> Path:
    """Write ``imagenet_val_25.npz`` with the course's keys; its names of classes are pickled there."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    path = folder / "imagenet_val_25.npz"
    X = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    np.savez(path, X=X, y=np.arange(count), label_map=np.array({0: "tench"}, dtype=object))
    return path
