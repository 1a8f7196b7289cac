"""Loading captioned images by name or by path."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import numpy as np
import torch

from cnnlab.data import ArraySplit
from cnnlab.data.named_sets import data_folders
from cnnlab.errors import DataError, DataNotFoundError, UnknownNameError
from cnnlab.files import cache_dir
from cnnlab.generate.captions.coco import is_coco_folder, read_coco
from cnnlab.generate.captions.data import CaptionData, CaptionSplit, split_of_sentences
from cnnlab.generate.captions.flickr8k import read_captioned_photos
from cnnlab.generate.captions.scenes import LONGEST_CAPTION, WORDS, Pairs, make_scenes
from cnnlab.generate.captions.vocabulary import SPECIAL, Vocabulary

#: Names of the data that :func:`load_captions` knows.
NAMES = ("coco", "scenes")
_COCO_FOLDERS = ("", "coco_captioning", "coco", "cs231n/datasets/coco_captioning")


def load_captions(
    name_or_path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    count: int = 8000,
    size: int = 64,
    min_count: int = 5,
    seed: int = 0,
    progress: bool | None = None,
) -> CaptionData:
    """Load captioned images.

    Args:
        name_or_path: ``"scenes"``, which are drawn; ``"coco"``, the files of the assignments of CS231n; or the path of
            a folder with such files, of Flickr8k, or of photos with a CSV file ``captions.txt``.
        data_dir: folder in which the files of ``"coco"`` are looked for first, before those of ``$CNNLAB_DATA``.
        count: number of drawn training scenes; a fourth as many, and at most 1,000, are drawn for each other split.
        size: height and width of drawn scenes in pixels.
        min_count: smallest number of occurrences of a word, in the training captions of photos, for a position in the
            vocabulary; rarer words become ``<UNK>``.
        seed: seed of drawn scenes, and of the division of photos that have no lists of the splits.
        progress: whether a progress bar is shown while photos are checked; ``None`` shows it on a terminal.

    Raises:
        UnknownNameError: ``name_or_path`` is neither a name nor a path.
        DataNotFoundError: the folder does not exist, or the files of ``"coco"`` are not on this machine.
        DataError: the data cannot be used; the message says why and what to do.
        UsageError: h5py is needed and not installed, or ``count``, ``size`` or ``min_count`` is too small.
    """
    text = os.fspath(name_or_path)
    if text == "scenes":
        return load_scenes(count, size, seed)
    if text == "coco":
        return read_coco(_find_coco(data_dir))
    folder = Path(text).expanduser()
    if folder.is_dir():
        if is_coco_folder(folder):
            return read_coco(folder)
        progress = sys.stderr.isatty() if progress is None else progress
        return read_captioned_photos(folder, seed=seed, min_count=min_count, progress=progress)
    if os.sep in text or "/" in text or not isinstance(name_or_path, str):
        raise DataNotFoundError(f"There is no folder {folder}. Check the path; it is relative to {Path.cwd()}.")
    raise UnknownNameError("captioned data set", text, NAMES, "A path to a folder works too.")


def _find_coco(data_dir: str | os.PathLike[str] | None) -> Path:
    if data_dir is not None and not Path(data_dir).expanduser().is_dir():
        raise DataError(f'The data folder "{data_dir}" is not there. Name an existing folder with --data-dir.')
    roots = [*map(Path, data_folders(data_dir)), cache_dir() / "data"]
    folders = [root.expanduser() / inner for root in roots for inner in _COCO_FOLDERS]
    for folder in folders:
        if is_coco_folder(folder):
            return folder
    raise DataNotFoundError(
        "The captions of COCO are not on this machine. Fetch http://cs231n.stanford.edu/coco_captioning.zip (1 GB), "
        "unpack it, and name its folder with --data-dir or in CNNLAB_DATA. "
        f"Looked in: {', '.join(map(str, folders))}."
    )


@functools.lru_cache(maxsize=2)  # drawing 8,000 scenes takes seconds
def load_scenes(count: int = 8000, size: int = 64, seed: int = 0) -> CaptionData:
    """Return captioned scenes that are drawn from a seed.

    Scenes of ``train``, ``val`` and ``test`` have the same pairs of colour and shape. Those of ``held_out`` have only
    pairs that these splits lack (:data:`cnnlab.generate.captions.scenes.UNSEEN_PAIRS`).

    Args:
        count: number of training scenes; a fourth as many, and at most 1,000, are drawn for each other split.
        size: height and width of a picture in pixels.
        seed: seed of the scenes.

    Raises:
        UsageError: the count or the size is too small.
    """
    fewer = max(1, min(1000, count // 4))
    parts: list[tuple[int, Pairs]] = [(count, "seen"), (fewer, "seen"), (fewer, "seen"), (fewer, "unseen")]
    drawn = [make_scenes(number, size, (seed, part), pairs) for part, (number, pairs) in enumerate(parts)]
    vocabulary = Vocabulary([*SPECIAL, *WORDS])

    def split(part: int) -> CaptionSplit:
        pictures, scenes = drawn[part]
        return split_of_sentences(
            vocabulary,
            (scene.captions() for scene in scenes),
            LONGEST_CAPTION + 2,  # <START> and <END>
            images=ArraySplit(torch.from_numpy(pictures), np.zeros(len(pictures), np.int64)),
            scenes=scenes,
        )

    train, val, test, held_out = (split(part) for part in range(4))
    notes = [f"{count} scenes of {size}x{size} pixels to learn from, {fewer} for val, test and held-out pairs"]
    return CaptionData("scenes", vocabulary, train, val, test, held_out, "drawn scenes", notes)
