"""``cs231n.coco_utils``: the captions of COCO with features of VGG-16, in the course's files.

The files are in the archive ``coco_captioning.zip`` of http://cs231n.stanford.edu. Reading them needs h5py, which comes
with the extra ``captions``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.course._arrays import Array
from cnnlab.course.cs231n._datasets import DATASETS, find_dataset
from cnnlab.errors import DataNotFoundError
from cnnlab.generate.captions.coco import CAPTIONS, VOCABULARY, FileRows

__all__ = ["BASE_DIR", "decode_captions", "load_coco_data", "sample_coco_minibatch"]

BASE_DIR = str(DATASETS / "coco_captioning")


def load_coco_data(
    base_dir: str | os.PathLike[str] = BASE_DIR, max_train: int | None = None, pca_features: bool = True
) -> dict[str, Any]:
    """Return captions, features, addresses and vocabulary.

    Args:
        base_dir: folder of the course's files.
        max_train: number of training captions, drawn with replacement from NumPy's global stream; all when None.
        pca_features: whether features have 512 values, reduced by PCA, or all 4096.

    Returns:
        For ``train`` and ``val``: ``train_captions`` (M, T), ``train_image_idxs`` (M,), positions in
        ``train_features`` (N, D) and in ``train_urls`` (N,); and ``idx_to_word``, ``word_to_idx``.

    Raises:
        DataNotFoundError: the folder or a file in it is missing.
        DataError: a file is damaged.
        UsageError: h5py is not installed.
    """
    folder = find_dataset(
        Path(base_dir), "coco_captioning", "It is http://cs231n.stanford.edu/coco_captioning.zip, unpacked."
    )
    data: dict[str, Any] = {}
    ending = "_pca" if pca_features else ""
    for split in ("train", "val"):
        for name in (f"{split}_captions", f"{split}_image_idxs"):
            data[name] = FileRows(folder / CAPTIONS, name)[:]
        data[f"{split}_features"] = FileRows(folder / f"{split}2014_vgg16_fc7{ending}.h5", "features")[:]
        data[f"{split}_urls"] = np.array(_text(folder / f"{split}2014_urls.txt").split())
    vocabulary = json.loads(_text(folder / VOCABULARY))
    data |= {name: vocabulary[name] for name in ("idx_to_word", "word_to_idx")}
    if max_train is not None:
        rows = np.random.randint(len(data["train_captions"]), size=max_train)
        for name in ("train_captions", "train_image_idxs"):
            data[name] = data[name][rows]
    return data


def decode_captions(captions: Array, idx_to_word: Sequence[str] | Mapping[int, str]) -> str | list[str]:
    """Return captions as sentences, from ``<START>`` to ``<END>``, without ``<NULL>``.

    Args:
        captions: words (N, T), or (T,) for one caption.
        idx_to_word: word at every position of the vocabulary.

    Returns:
        A list of N sentences, or one sentence.
    """
    sentences = []
    for caption in np.atleast_2d(captions).tolist():
        words = [idx_to_word[position] for position in caption]
        if "<END>" in words:
            words = words[: words.index("<END>") + 1]
        sentences.append(" ".join(word for word in words if word != "<NULL>"))
    return sentences[0] if np.ndim(captions) == 1 else sentences


def sample_coco_minibatch(
    data: Mapping[str, Any], batch_size: int = 100, split: str = "train"
) -> tuple[Array, Array, Array]:
    """Return captions (n, T), features (n, D) and addresses (n,) of images, drawn from NumPy's global stream.

    Args:
        data: dictionary that :func:`load_coco_data` returned.
        batch_size: number n of captions.
        split: ``"train"`` or ``"val"``.
    """
    captions = data[f"{split}_captions"]
    rows = np.random.choice(len(captions), batch_size)
    images = data[f"{split}_image_idxs"][rows]
    return captions[rows], data[f"{split}_features"][images], data[f"{split}_urls"][images]


def _text(path: Path) -> str:
    if not path.is_file():
        raise DataNotFoundError(f"There is no {path}. Unpack coco_captioning.zip again.")
    return path.read_text(encoding="utf-8")
